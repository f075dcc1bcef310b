package mcp_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
)

// Names are exact: what one reader takes for a member, the other must, too.
func TestNamesOfOtherCaseOpenNothing(t *testing.T) {
	m := meshtest.New(t)
	m.Work(greeter())
	m.Asks = meshtest.Callers{"reader": {Tenant: "acme", Scopes: []auth.Scope{auth.TasksRead}}, "writer": {Tenant: "acme", Scopes: []auth.Scope{auth.All}}}
	m.Gateway = m.NewGateway(m.Store)
	const arguments = `"arguments":{"name":"x"}`
	for _, body := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","METHOD":"ping","params":{"name":"greet_one",` + arguments + `}}`,
		`{"jsonrpc":"2.0","id":1,"METHOD":"ping","method":"tools/call","params":{"name":"greet_one",` + arguments + `}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"greet_one","NAME":"mesh_task_status",` + arguments + `}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"NAME":"mesh_task_status","name":"greet_one",` + arguments + `}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"greet_one",` + arguments + `},"Params":{"name":"mesh_task_status"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"greet_one","name":"mesh_task_status",` + arguments + `}}`,
		`[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"greet_one",` + arguments + `}}]`,
	} {
		w := meshtest.Call(m.Gateway.Handler(), "POST", "/mcp", body, append([]string{"Accept", accept}, meshtest.As("reader")...)...)
		if w.Code < 400 {
			t.Errorf("%s = %d %s", body, w.Code, w.Body)
		}
	}
	list := meshtest.Decode[struct{ Tasks []any }](t, m.Do("GET", "/tasks", "", meshtest.As("writer")...).Body)
	if len(list.Tasks) != 0 {
		t.Errorf("%d tasks of a caller who may not write any", len(list.Tasks))
	}
}

func TestATaskAndAStateAreOfTheirCallerOnly(t *testing.T) {
	m := meshtest.New(t)
	a, free := blocked(t)
	defer free()
	m.Work(a, asker())
	all := []auth.Scope{auth.All}
	m.Asks = meshtest.Callers{"ada": {Tenant: "acme", Subject: "ada", Scopes: all}, "bob": {Tenant: "acme", Subject: "bob", Scopes: all}, "eve": {Tenant: "other", Subject: "eve", Scopes: all}}
	m.Gateway = m.NewGateway(m.Store)
	id, _ := call(t, m, "blocked", declared, `{"instruction":"x"}`, meshtest.As("ada")...).Result["taskId"].(string)
	for _, method := range []string{"tasks/get", "tasks/update", "tasks/cancel"} {
		if got := post(t, m, "/mcp", method, id, declared, `"taskId":"`+id+`"`, meshtest.As("eve")...); got.Error == nil || got.Error.Code != -32602 {
			t.Errorf("%s of another tenant: %+v", method, got)
		}
		if got := post(t, m, "/agents/asker/mcp", method, id, declared, `"taskId":"`+id+`"`, meshtest.As("ada")...); got.Error == nil || got.Error.Code != -32602 {
			t.Errorf("%s at another agent: %+v", method, got)
		}
	}
	state, _ := call(t, m, "asker", `{"elicitation":{}}`, `{"instruction":"x"}`, meshtest.As("ada")...).Result["requestState"].(string)
	for _, who := range []string{"bob", "eve"} {
		got := post(t, m, "/mcp", "tools/call", "asker", `{"elicitation":{}}`, `"name":"asker","arguments":{"instruction":"x"},"requestState":"`+state+`","inputResponses":{"sure":{"action":"accept","content":{"yes":true}}}`, meshtest.As(who)...)
		if got.Error == nil || got.Error.Code != -32602 {
			t.Errorf("the state of another, shown by %s: %+v", who, got)
		}
	}
}

// What a client sends for an id is a text of anybody: it is the id of a task, or unknown.
func TestHostileIDsAreUnknownOnes(t *testing.T) {
	m := meshtest.New(t)
	m.Work(greeter())
	if a := call(t, m, "greet_one", "{}", `{"name":"x"}`); a.Error != nil {
		t.Fatal(a.Error)
	}
	for _, id := range []string{
		"", "*", ">", "tsk_*", "default.>", "a.b", "../keys", "tsk_\u0000", "tsk_ 1", "\u202etsk", strings.Repeat("a", 100_000), "tsk_01a21a54c5197ef7b5531d46b5a7f6cf\r\nX: y", "$KV.keys.>", "=?base64?!!?=",
	} {
		raw, err := json.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		inHeader := "=?base64?" + base64.StdEncoding.EncodeToString([]byte(id)) + "?="
		for _, method := range []string{"tasks/get", "tasks/update", "tasks/cancel"} {
			if got := post(t, m, "/mcp", method, inHeader, declared, `"taskId":`+string(raw)); got.Error == nil || got.Error.Code != -32602 && got.Error.Code != -32020 || got.Status >= 500 {
				t.Errorf("%s of %.40q: %d %+v", method, id, got.Status, got.Error)
			}
		}
		for tool, arguments := range map[string]string{"mesh_task_status": `{"task_id":` + string(raw) + `}`, "mesh_task_cancel": `{"task_id":` + string(raw) + `}`, "mesh_task_answer": `{"task_id":` + string(raw) + `,"answer":1}`} {
			if got := call(t, m, tool, "{}", arguments); got.Error == nil || got.Error.Code != -32602 || got.Status >= 500 {
				t.Errorf("%s of %.40q: %d %+v", tool, id, got.Status, got.Error)
			}
		}
		uri, _ := json.Marshal("mesh://tasks/" + id + "/result")
		got := legacy(t, m, "resources/read", `{"uri":`+string(uri)+`}`)
		if got.Error == nil || got.Status >= 500 {
			t.Errorf("resources/read of %.40q: %d %+v", id, got.Status, got.Error)
		}
	}
}
