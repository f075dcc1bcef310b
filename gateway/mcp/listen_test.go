package mcp_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
)

// told is a message of a stream.
type told struct {
	ID     json.RawMessage
	Method string
	Params struct {
		Meta          map[string]any `json:"_meta"`
		Notifications struct{ TaskIDs []string }
		TaskID        string
		Status        string
		ResultType    string
		Result        map[string]any
		InputRequests map[string]any
	}
	Result map[string]any
}

// listen opens a stream and returns what it tells.
func listen(t *testing.T, base, capabilities, notifications string, headers ...string) (int, <-chan told) {
	t.Helper()
	body := `{"jsonrpc":"2.0","id":"s1","method":"subscriptions/listen","params":{"notifications":` + notifications + `,"_meta":{"io.modelcontextprotocol/protocolVersion":"` + modern + `","io.modelcontextprotocol/clientCapabilities":` + capabilities + `}}}`
	r, err := http.NewRequestWithContext(t.Context(), "POST", base+"/mcp", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	headers = append([]string{"Content-Type", "application/json", "Accept", accept, "MCP-Protocol-Version", modern, "Mcp-Method", "subscriptions/listen"}, headers...)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	all := make(chan told, 100)
	go func() {
		defer close(all)
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var m told
				if err := json.Unmarshal([]byte(data), &m); err != nil {
					t.Errorf("%s: %v", data, err)
				}
				all <- m
			}
		}
	}()
	return resp.StatusCode, all
}

func TestChangesOfTasksAreTold(t *testing.T) {
	m := meshtest.New(t)
	a, free := blocked(t)
	m.Work(a, asker())
	srv, _ := m.Serve()
	id, _ := call(t, m, "blocked", both, `{"instruction":"x"}`).Result["taskId"].(string)
	asks, _ := call(t, m, "asker", both, `{"instruction":"x"}`).Result["taskId"].(string)
	_, stream := listen(t, srv.URL, both, fmt.Sprintf(`{"taskIds":[%q,%q,%q,"tsk_unknown"]}`, id, asks, id))
	first := <-stream
	if got := first.Params.Notifications.TaskIDs; first.Method != "notifications/subscriptions/acknowledged" || len(got) != 2 || got[0] != id {
		t.Fatalf("%+v", first)
	}
	var states []string
	answered := false
	for m2 := range stream {
		if m2.Method == "" { // the end
			if string(m2.ID) != `"s1"` || m2.Result["resultType"] != "complete" || m2.Result["_meta"].(map[string]any)["io.modelcontextprotocol/subscriptionId"] != "s1" {
				t.Errorf("the end: %+v", m2)
			}
			states = append(states, "end")
			continue
		}
		p := m2.Params
		if m2.Method != "notifications/tasks" || p.Meta["io.modelcontextprotocol/subscriptionId"] != "s1" || p.ResultType != "" {
			t.Errorf("%+v", m2)
		}
		if p.TaskID == id {
			states = append(states, p.Status)
			free()
		}
		if p.TaskID == asks && p.Status == "input_required" && !answered {
			answered = true
			if p.InputRequests["sure-0"] == nil {
				t.Errorf("%+v", p)
			}
			post(t, m, "/mcp", "tasks/update", asks, both, `"taskId":"`+asks+`","inputResponses":{"sure-0":{"action":"accept","content":{"yes":true}}}`)
		}
		if p.TaskID == asks && p.Status == "completed" && p.Result["isError"] == true {
			t.Errorf("%+v", p)
		}
	}
	if got := strings.Join(states, " "); got != "working completed end" || !answered {
		t.Errorf("%s, answered %v", got, answered)
	}
}

func TestOnlyTheOwnTasksAreTold(t *testing.T) {
	m := meshtest.New(t)
	a, free := blocked(t)
	defer free()
	m.Work(a)
	all := []auth.Scope{auth.All}
	m.Asks = meshtest.Callers{"ada": {Tenant: "acme", Scopes: all}, "eve": {Tenant: "other", Scopes: all}, "lists": {Tenant: "acme", Scopes: []auth.Scope{auth.AgentsRead}}}
	m.Gateway = m.NewGateway(m.Store)
	srv, _ := m.Serve()
	id, _ := call(t, m, "blocked", declared, `{"instruction":"x"}`, meshtest.As("ada")...).Result["taskId"].(string)
	_, stream := listen(t, srv.URL, declared, `{"taskIds":["`+id+`"]}`, meshtest.As("eve")...)
	if first := <-stream; len(first.Params.Notifications.TaskIDs) != 0 || first.Params.Notifications.TaskIDs == nil {
		t.Errorf("agreed for another tenant: %+v", first)
	}
	if end := <-stream; end.Result == nil {
		t.Errorf("no end: %+v", end)
	}
	if status, _ := listen(t, srv.URL, declared, `{"taskIds":["`+id+`"]}`, meshtest.As("lists")...); status != 403 {
		t.Errorf("without tasks:read: %d", status)
	}
	if status, _ := listen(t, srv.URL, `{}`, `{"taskIds":["`+id+`"]}`, meshtest.As("ada")...); status != 400 {
		t.Errorf("undeclared: %d", status)
	}
	many := `{"taskIds":["` + strings.Repeat(id+`","`, 64) + `x"]}`
	if status, _ := listen(t, srv.URL, declared, many, meshtest.As("ada")...); status != 400 {
		t.Errorf("65 tasks: %d", status)
	}
	if status, _ := listen(t, srv.URL, declared, `{"taskIds":["`+id+`"]}`, append(meshtest.As("ada"), "Mcp-Method", "tools/call")...); status != 400 {
		t.Errorf("another Mcp-Method: %d", status)
	}
}

func TestAStreamOfChangesEndsWithItsGateway(t *testing.T) {
	m := meshtest.New(t)
	a, free := blocked(t)
	defer free()
	m.Work(a)
	srv, _ := m.Serve()
	id, _ := call(t, m, "blocked", declared, `{"instruction":"x"}`).Result["taskId"].(string)
	_, stream := listen(t, srv.URL, declared, `{"taskIds":["`+id+`"],"toolsListChanged":true}`)
	<-stream
	m.Work(meshtest.Named("newcomer", meshtest.Says("x")))
	for m2 := range stream {
		if m2.Method == "notifications/tools/list_changed" {
			m.Gateway.Close()
		}
		if m2.Method == "" {
			if m2.Result["resultType"] != "complete" {
				t.Errorf("%+v", m2)
			}
			if m.Record(id).Status != task.Processing {
				t.Error("the task ended with the stream")
			}
			return
		}
	}
	t.Error("the stream ended without a result")
}
