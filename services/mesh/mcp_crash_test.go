package main

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
)

// toolAnswer is an answer of MCP, as far as these tests look.
type toolAnswer struct {
	Result struct {
		ResultType, TaskID, Status string
		StructuredContent          struct{ Attempt int }
		Result                     struct {
			StructuredContent struct{ Attempt int }
		}
	}
	Error *struct{ Message string }
}

// overMCP posts a method; without an answer it is not ok.
func overMCP(gateway, method, name, capabilities, params, key string) (a toolAnswer, ok bool) {
	body := `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{` + params + `,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":` + capabilities + `}}}`
	req, err := http.NewRequest(http.MethodPost, gateway+"/mcp", strings.NewReader(body))
	if err != nil {
		return a, false
	}
	for k, v := range map[string]string{
		"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28",
		"Mcp-Method": method, "Mcp-Name": name, "Idempotency-Key": key,
	} {
		if v != "" {
			req.Header.Set(k, v)
		}
	}
	req.Close = true
	req.GetBody = nil // the client of the test repeats, not its transport
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return a, false
	}
	defer resp.Body.Close()
	read := func(data string) { ok = json.Unmarshal([]byte(data), &a) == nil }
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return a, json.NewDecoder(resp.Body).Decode(&a) == nil
	}
	meshtest.ScanEvents(resp.Body, func(_, _, data string) { read(data) })
	return a, ok
}

// A gateway is killed while it holds a call, and while a call goes on as a task. With
// the same key another one has the same task, and who knows the id reads it there.
func TestMCPSurvivesTheKillOfAGateway(t *testing.T) {
	t.Parallel() // it waits for processes
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	up := startUp(t, filepath.Join(t.TempDir(), "data"))
	w := spawnWorker(t, up, "slow")
	defer w.Kill()
	g := startGateway(t, up)
	natstest.Until(t, "the agent is known", func() bool { status, _ := g.Ask(t, time.Minute, "GET", "/agents/slow", ""); return status == 200 })
	const arguments, tasks = `"name":"slow","arguments":{"instruction":"x"}`, `{"extensions":{"io.modelcontextprotocol/tasks":{}}}`
	held := make(chan bool)
	go func() {
		_, ok := overMCP(g.Gateway, "tools/call", "slow", "{}", arguments, "k1")
		held <- ok
	}()
	begun, ok := overMCP(g.Gateway, "tools/call", "slow", tasks, arguments, "k2")
	id := begun.Result.TaskID
	if !ok || begun.Result.ResultType != "task" || id == "" {
		t.Fatalf("no task: %+v", begun)
	}
	count := func(p *meshtest.Process) int {
		_, body := p.Ask(t, time.Minute, "GET", "/tasks?agent=slow", "")
		return strings.Count(body, `"task_id"`)
	}
	natstest.Until(t, "both are accepted", func() bool { return count(up) == 2 })
	g.Kill()
	if <-held {
		t.Log("the held call was over before the kill")
	}
	g = startGateway(t, up)
	again, ok := overMCP(g.Gateway, "tools/call", "slow", "{}", arguments, "k1")
	if !ok || again.Error != nil || again.Result.StructuredContent.Attempt != 1 {
		t.Errorf("the held call, repeated: %+v", again)
	}
	natstest.Until(t, "the task has ended", func() bool {
		got, ok := overMCP(g.Gateway, "tasks/get", id, tasks, `"taskId":"`+id+`"`, "")
		return ok && got.Result.Status == "completed" && got.Result.Result.StructuredContent.Attempt == 1
	})
	same, ok := overMCP(g.Gateway, "tools/call", "slow", tasks, arguments, "k2")
	if !ok || same.Result.ResultType != "complete" || count(g) != 2 {
		t.Errorf("the task's call, repeated: %+v, %d tasks", same, count(g))
	}
}
