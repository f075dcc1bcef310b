package mcp_test

import (
	"testing"

	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
)

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
