package a2a_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
)

// methods of the protocol, with the scope that each needs and params that it takes.
var methods = map[string]struct {
	scope  auth.Scope
	params func(id string) string
}{
	"SendMessage":                      {auth.TasksWrite, func(string) string { return later("x") }},
	"SendStreamingMessage":             {auth.TasksWrite, func(string) string { return text("x") }},
	"GetTask":                          {auth.TasksRead, byID},
	"ListTasks":                        {auth.TasksRead, func(string) string { return `{}` }},
	"CancelTask":                       {auth.TasksWrite, byID},
	"SubscribeToTask":                  {auth.TasksRead, byID},
	"CreateTaskPushNotificationConfig": {auth.TasksWrite, ofTask},
	"GetTaskPushNotificationConfig":    {auth.TasksRead, ofTask},
	"ListTaskPushNotificationConfigs":  {auth.TasksRead, ofTask},
	"DeleteTaskPushNotificationConfig": {auth.TasksWrite, ofTask},
	"GetExtendedAgentCard":             {auth.Known, func(string) string { return `{}` }},
}

func byID(id string) string { return `{"id":"` + id + `"}` }
func ofTask(id string) string {
	return `{"taskId":"` + id + `","id":"none","url":"http://127.0.0.1:1/"}`
}

const unknownTask = "tsk_01a20cd9e03b7276be6a181888e33e52"

var changing = regexp.MustCompile(`"trace_id":"[0-9a-f]+"|tsk_[0-9a-f]+`)

func TestEachOperationIsForItsScopeOnlyAndKnowsOneTenantFromAnother(t *testing.T) {
	m := meshtest.New(t)
	callers := meshtest.Callers{"ann": {Tenant: "ann", Subject: "ann", Scopes: []auth.Scope{auth.All}}, "bob": {Tenant: "bob", Subject: "bob", Scopes: []auth.Scope{auth.All}}}
	for i, s := range auth.Scopes {
		if s == auth.All {
			continue
		}
		rest := slices.DeleteFunc(slices.Clone(auth.Scopes), func(x auth.Scope) bool { return x == s || x == auth.All })
		callers[fmt.Sprintf("only-%d", i)] = auth.Caller{Tenant: "ann", Subject: "only", Scopes: []auth.Scope{s}}
		callers[fmt.Sprintf("but-%d", i)] = auth.Caller{Tenant: "ann", Subject: "but", Scopes: rest}
	}
	m.Ask(callers)
	m.Work(agents()...)
	done := sent(t, rpc(m, "says", "SendMessage", text("x"), meshtest.As("ann")...))
	for name, op := range methods {
		for token, who := range callers {
			w := rpc(m, "says", name, op.params(unknownTask), meshtest.As(token)...)
			if may := who.May(op.scope); (w.Code == 403) == may || w.Code == 401 || w.Code >= 500 {
				t.Errorf("%s by %s of %v = %d %s", name, token, who.Scopes, w.Code, w.Body)
			}
			if w.Code == 403 && !strings.Contains(w.Body.String(), "scope "+string(op.scope)) {
				t.Errorf("%s says %s", name, w.Body)
			}
		}
		if w := rpc(m, "says", name, op.params(unknownTask)); w.Code != 401 {
			t.Errorf("%s by a stranger = %d", name, w.Code)
		}
		if !strings.Contains(op.params(done.ID), done.ID) {
			continue
		}
		theirs, none := rpc(m, "says", name, op.params(done.ID), meshtest.As("bob")...), rpc(m, "says", name, op.params(unknownTask), meshtest.As("bob")...)
		if a, b := changing.ReplaceAllString(theirs.Body.String(), ""), changing.ReplaceAllString(none.Body.String(), ""); a != b || theirs.Code != none.Code {
			t.Errorf("%s of another tenant's task: %d %s, of none: %d %s", name, theirs.Code, a, none.Code, b)
		}
	}
}
