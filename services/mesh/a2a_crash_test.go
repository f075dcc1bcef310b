package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
)

// startGateway runs a gateway of its own beside a mesh.
func startGateway(t *testing.T, up *meshtest.Process, settings ...string) *meshtest.Process {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	p, output := meshtest.Spawn(t, append(up.Beside(), "MESH_TEST_MAIN=1"), append([]string{"gateway", "--http", address, "--admin", "off", "--replicas", "1", "--log-level", "warn",
		"--secret-key-file", filepath.Join(up.Data, "secret.key")}, settings...)...)
	p.Gateway = "http://" + address
	go p.Drain(output)
	natstest.Until(t, "the gateway is ready", func() bool { status, _ := p.Ask(t, time.Minute, "GET", "/readyz", ""); return status == 200 })
	return p
}

// overA2A posts a method to an agent; nil: nobody answers.
func overA2A(gateway, agent, method, params, key string) *http.Response {
	body := `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params + `}`
	req, err := http.NewRequest(http.MethodPost, gateway+"/agents/"+agent+"/a2a/rpc", strings.NewReader(body))
	if err != nil {
		return nil
	}
	req.Header.Set("A2A-Version", "1.0")
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	req.Close = true
	req.GetBody = nil // the client of the test repeats, not its transport
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	return resp
}

const crashMessage = `{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}]}}`

// A gateway is killed while it holds a message and while it streams. With the same key
// another one has the same task, and who knows the id follows it there.
func TestA2ASurvivesTheKillOfAGateway(t *testing.T) {
	t.Parallel() // it waits for processes
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	up := startUp(t, filepath.Join(t.TempDir(), "data"))
	w := spawnWorker(t, up, "slow")
	defer w.Kill()
	g := startGateway(t, up)
	natstest.Until(t, "the agent is known", func() bool { status, _ := g.Ask(t, time.Minute, "GET", "/agents/slow", ""); return status == 200 })
	held := make(chan struct{})
	go func() {
		defer close(held)
		if resp := overA2A(g.Gateway, "slow", "SendMessage", crashMessage, "k1"); resp != nil {
			_ = resp.Body.Close()
		}
	}()
	stream := overA2A(g.Gateway, "slow", "SendStreamingMessage", crashMessage, "k2")
	if stream == nil {
		t.Fatal("no stream")
	}
	line, err := bufio.NewReader(stream.Body).ReadString('\n')
	var first struct {
		Result struct{ Task struct{ ID string } }
	}
	if data, ok := strings.CutPrefix(line, "data: "); err != nil || !ok || json.Unmarshal([]byte(data), &first) != nil || first.Result.Task.ID == "" {
		t.Fatalf("first event %q: %v", line, err)
	}
	count := func(p *meshtest.Process) int {
		_, body := p.Ask(t, time.Minute, "GET", "/tasks?agent=slow", "")
		return strings.Count(body, `"task_id"`)
	}
	natstest.Until(t, "both are accepted", func() bool { return count(g) == 2 })
	g.Kill()
	<-held
	_ = stream.Body.Close()
	g = startGateway(t, up)
	var ids []string
	for i, key := range []string{"k1", "k2", "k1"} {
		method, params := "SendMessage", crashMessage
		if i == 1 { // who knows the id reads it
			method, params, key = "GetTask", fmt.Sprintf(`{"id":%q}`, first.Result.Task.ID), ""
		}
		resp := overA2A(g.Gateway, "slow", method, params, key)
		if resp == nil {
			t.Fatal("the other gateway does not answer")
		}
		var a struct {
			Result struct {
				ID   string
				Task struct {
					ID     string
					Status struct{ State string }
				}
			}
		}
		err := json.NewDecoder(resp.Body).Decode(&a)
		_ = resp.Body.Close()
		if err != nil || i != 1 && a.Result.Task.Status.State != "TASK_STATE_COMPLETED" || i == 1 && a.Result.ID != first.Result.Task.ID {
			t.Errorf("%s: %+v %v", key, a, err)
		}
		if i != 1 {
			ids = append(ids, a.Result.Task.ID)
		}
	}
	sub := overA2A(g.Gateway, "slow", "SubscribeToTask", fmt.Sprintf(`{"id":%q}`, first.Result.Task.ID), "")
	if sub == nil {
		t.Fatal("no subscription")
	}
	_ = sub.Body.Close()
	if ids[0] != ids[1] || count(g) != 2 {
		t.Errorf("tasks %v, %d are there, want the two that were sent", ids, count(g))
	}
	natstest.Until(t, "the streamed one has ended", func() bool {
		_, body := g.Ask(t, time.Minute, "GET", "/tasks/"+first.Result.Task.ID, "")
		return strings.Contains(body, `"status":"completed"`)
	})
}

// A worker is killed while its question is open: another one goes on with the answer,
// which counts once.
func TestAQuestionOverA2ASurvivesTheKillOfItsWorker(t *testing.T) {
	t.Parallel() // it waits for starts
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	up := startUp(t, filepath.Join(t.TempDir(), "data"))
	w := spawnWorker(t, up, "asks")
	natstest.Until(t, "the agent is known", func() bool { status, _ := up.Ask(t, time.Minute, "GET", "/agents/asks", ""); return status == 200 })
	send := func(params string) (id, state string, code int) {
		resp := overA2A(up.Gateway, "asks", "SendMessage", params, "")
		if resp == nil {
			t.Fatal("the gateway does not answer")
		}
		defer func() { _ = resp.Body.Close() }()
		var a struct {
			Result struct {
				Task struct {
					ID     string
					Status struct{ State string }
				}
			}
			Error struct{ Code int }
		}
		if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
			t.Fatal(err)
		}
		return a.Result.Task.ID, a.Result.Task.Status.State, a.Error.Code
	}
	id, state, _ := send(crashMessage)
	w.Kill()
	if state != "TASK_STATE_INPUT_REQUIRED" {
		t.Fatalf("%s is %s", id, state)
	}
	answer := fmt.Sprintf(`{"message":{"messageId":"a","taskId":%q,"role":"ROLE_USER","parts":[{"text":"yes"}]},"configuration":{"returnImmediately":true}}`, id)
	if _, state, _ := send(answer); state != "TASK_STATE_WORKING" {
		t.Errorf("after the answer it is %s", state)
	}
	if _, _, code := send(answer); code != -32004 {
		t.Errorf("a second answer = %d", code)
	}
	heir := spawnWorker(t, up, "asks")
	defer heir.Kill()
	natstest.Until(t, "another worker goes on", func() bool {
		_, body := up.Ask(t, time.Minute, "GET", "/tasks/"+id, "")
		return strings.Contains(body, `"status":"completed"`) && strings.Contains(body, `"result":"yes"`)
	})
}
