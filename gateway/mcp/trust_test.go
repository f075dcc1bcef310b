package mcp_test

import (
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
