package synadia_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/gateway/synadia"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

var taskID = regexp.MustCompile(`tsk_[0-9a-f]{32}`)

// face is what a client of one protocol does: each returns what it is answered.
type face struct {
	name                        string
	create                      func() string
	see, follow, cancel         func(id string) string
	running, canceled, finished string // how that is said of a task
}

// facesOf are all faces of a mesh.
func facesOf(t *testing.T, m *meshtest.Mesh, nc *nats.Conn) []face {
	do := func(method, path, body string, headers ...string) string {
		return m.Do(method, path, body, headers...).Body.String()
	}
	a2a := func(method, params string) string {
		return do("POST", "/agents/holds/a2a/rpc", `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":`+params+`}`, "A2A-Version", "1.0")
	}
	tool := func(name, arguments string) string {
		return do("POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+name+`","arguments":`+arguments+
			`,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}}}`,
			"Accept", "application/json, text/event-stream", "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", name)
	}
	return []face{{
		name:    "HTTP",
		create:  func() string { return do("POST", "/tasks", `{"agent":"holds","instruction":"x"}`) },
		see:     func(id string) string { return do("GET", "/tasks/"+id, "") },
		follow:  func(id string) string { return do("GET", "/tasks/"+id+"/events", "") },
		cancel:  func(id string) string { return do("POST", "/tasks/"+id+"/cancel", "") },
		running: `"processing"`, canceled: `"canceled"`, finished: "task_finished",
	}, {
		name: "A2A",
		create: func() string {
			return a2a("SendMessage", `{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}]},"configuration":{"returnImmediately":true}}`)
		},
		see:     func(id string) string { return a2a("GetTask", `{"id":"`+id+`"}`) },
		follow:  func(id string) string { return a2a("SubscribeToTask", `{"id":"`+id+`"}`) },
		cancel:  func(id string) string { return a2a("CancelTask", `{"id":"`+id+`"}`) },
		running: "TASK_STATE_WORKING", canceled: "TASK_STATE_CANCELED", finished: "-32002",
	}, {
		name:    "MCP",
		create:  func() string { return tool("holds", `{"instruction":"x"}`) },
		see:     func(id string) string { return tool("mesh_task_status", `{"task_id":"`+id+`"}`) },
		follow:  func(id string) string { return tool("mesh_task_status", `{"task_id":"`+id+`","wait_seconds":50}`) },
		cancel:  func(id string) string { return tool("mesh_task_cancel", `{"task_id":"`+id+`"}`) },
		running: "processing", canceled: "canceled", finished: "canceled",
	}, {
		name:    "Synadia",
		create:  func() string { return send(t, nc, "holds", "x").task() },
		see:     func(id string) string { return send(t, nc, "holds", "/task "+id).task() },
		follow:  func(id string) string { return send(t, nc, "holds", "/task "+id).all() },
		cancel:  func(id string) string { return send(t, nc, "holds", "/cancel "+id).all() },
		running: "tsk_", canceled: "409", finished: "canceled",
	}}
}

func TestATaskOfOneFaceIsSeenFollowedAndCanceledByEveryOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("holds", func(ctx context.Context, _ *agent.Job) (any, error) { <-ctx.Done(); return nil, ctx.Err() }))
		bridge(t, m, synadia.Entry{}, 9*time.Minute)
		all := facesOf(t, m, m.Server.Connect(t))
		for _, maker := range all {
			for _, ends := range all {
				what := maker.name + ", canceled over " + ends.name
				id := taskID.FindString(maker.create())
				if id == "" {
					t.Fatalf("%s: no task is made", what)
				}
				for rec, err := m.Store.Tasks.Get(t.Context(), "default", task.ID(id)); err != nil || rec.Status != task.Processing; rec, err = m.Store.Tasks.Get(t.Context(), "default", task.ID(id)) {
					time.Sleep(time.Millisecond)
				}
				for _, f := range all {
					if got := f.see(id); !strings.Contains(got, f.running) {
						t.Errorf("%s, seen over %s: %s", what, f.name, got)
					}
				}
				told := make(chan string)
				for _, f := range all {
					go func() {
						got := f.follow(id)
						if !strings.Contains(got, f.canceled) {
							told <- fmt.Sprintf("%s, followed over %s: %s", what, f.name, got)
							return
						}
						told <- ""
					}()
				}
				synctest.Wait()
				ends.cancel(id)
				for range all {
					if fault := <-told; fault != "" {
						t.Error(fault)
					}
				}
				for _, f := range all {
					if got := f.cancel(id); !strings.Contains(got, f.finished) && !strings.Contains(got, f.canceled) {
						t.Errorf("%s, canceled again over %s: %s", what, f.name, got)
					}
				}
			}
		}
	})
}
