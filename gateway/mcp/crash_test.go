package mcp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

const both = `{"elicitation":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}`

// A worker that dies while its question is open, in place or with its task let go of,
// loses neither the question nor the answer.
func TestAQuestionOutlivesItsWorker(t *testing.T) {
	for name, after := range map[string]time.Duration{"in place": time.Second, "suspended": time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := meshtest.New(t)
				gate := &meshtest.Gate{Server: m.Server}
				m.WorkWith(worker.Default(), m.StoreThrough(gate), asker())
				id, _ := call(t, m, "asker", both, `{"instruction":"x"}`).Result["taskId"].(string)
				get := func() answer { return post(t, m, "/mcp", "tasks/get", id, both, `"taskId":"`+id+`"`) }
				time.Sleep(after)
				gate.Freeze()
				defer gate.Thaw()
				m.Work(asker())
				if got := get(); got.Result["status"] != "input_required" || got.Result["inputRequests"].(map[string]any)["sure-0"] == nil {
					t.Fatalf("the question is gone: %+v", got)
				}
				got := post(t, m, "/mcp", "tasks/update", id, both, `"taskId":"`+id+`","inputResponses":{"sure-0":{"action":"accept","content":{"yes":true}}}`)
				if got.Error != nil {
					t.Fatalf("%+v", got.Error)
				}
				time.Sleep(2 * time.Minute)
				got = get()
				res, _ := got.Result["result"].(map[string]any)
				if got.Result["status"] != "completed" || fmt.Sprint(res["structuredContent"]) != "map[heard:map[yes:true]]" {
					t.Errorf("the end: %+v", got)
				}
			})
		})
	}
}

// Of answers by three faces at once exactly one counts.
func TestOneOfManyAnswersCounts(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Named("asks-who", func(ctx context.Context, j *agent.Job) (any, error) {
		v, err := agent.Ask[map[string]string](ctx, j, "who", agent.Question{Schema: json.RawMessage(`{"type":"object","properties":{"by":{"type":"string"}}}`)})
		return v["by"], err
	}))
	id, _ := call(t, m, "asks_who", both, `{"instruction":"x"}`).Result["taskId"].(string)
	get := func() answer { return post(t, m, "/mcp", "tasks/get", id, both, `"taskId":"`+id+`"`) }
	natstest.Until(t, "the question", func() bool { return get().Result["status"] == "input_required" })
	var all sync.WaitGroup
	var http int
	var a2a string
	all.Go(func() {
		post(t, m, "/mcp", "tasks/update", id, both, `"taskId":"`+id+`","inputResponses":{"who-0":{"action":"accept","content":{"by":"mcp"}}}`)
	})
	all.Go(func() { http = m.Do("POST", "/tasks/"+id+"/input", `{"name":"who","value":{"by":"http"}}`).Code })
	all.Go(func() {
		a2a = m.Do("POST", "/agents/asks-who/a2a/rpc", `{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"configuration":{"returnImmediately":true},"message":{"messageId":"m","taskId":"`+id+`","role":"ROLE_USER","parts":[{"data":{"by":"a2a"}}]}}}`, "A2A-Version", "1.0").Body.String()
	})
	all.Wait()
	natstest.Until(t, "the end", func() bool { return get().Result["status"] == "completed" })
	res, _ := get().Result["result"].(map[string]any)
	by := said(answer{Result: res})
	if (by == "http") != (http < 300) || (by == "a2a") == strings.Contains(a2a, `"error"`) || by != "http" && by != "a2a" && by != "mcp" {
		t.Errorf("%s counted, HTTP was told %d, A2A %s", by, http, a2a)
	}
}
