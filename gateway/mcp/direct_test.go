package mcp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// A call that asks for progress goes through the SDK, another one does not: nobody can
// tell by the answer.
func TestBothWaysOfACallAnswerAlike(t *testing.T) {
	m := meshtest.New(t)
	waits, free := blocked(t)
	defer free()
	required := meshtest.Named("required", meshtest.Says("x"))
	required.AsTool.Tasks = task.TasksRequired
	m.Work(waits, required, asker(), greeter(),
		meshtest.Named("image", func(context.Context, *agent.Job) (any, error) {
			return json.RawMessage(`{"content":[` + pixel + `]}`), nil
		}),
		meshtest.Named("value", func(context.Context, *agent.Job) (any, error) { return []any{1, "<&>"}, nil }),
		meshtest.Named("fails", func(context.Context, *agent.Job) (any, error) {
			return nil, &agent.Error{Code: "no_luck", Message: "no", Permanent: true}
		}),
		meshtest.Named("breaks", func(context.Context, *agent.Job) (any, error) {
			return nil, &agent.Error{Code: "protocol_error", Message: "no", Permanent: true}
		}))
	const plain = `{"instruction":"x"}`
	for _, tt := range []struct{ tool, capabilities, arguments string }{
		{"greet_one", "{}", `{"name":"Ada"}`}, {"greet_one", "{}", `{"name":7}`}, {"image", "{}", plain}, {"value", "{}", plain}, {"fails", "{}", plain}, {"breaks", "{}", plain},
		{"required", "{}", plain}, {"blocked", declared, plain}, {"asker", `{"elicitation":{}}`, plain}, {"asker", "{}", plain}, {"nobody", "{}", plain}, {"value", "{}", "null"}, {"value", "{}", "[]"},
	} {
		body := func(token string) answer {
			return send(t, m, "/mcp", "tools/call", tt.tool, `"name":"`+tt.tool+`","arguments":`+tt.arguments+`,"_meta":{"io.modelcontextprotocol/protocolVersion":"`+modern+`","io.modelcontextprotocol/clientCapabilities":`+tt.capabilities+token+`}`)
		}
		direct, streamed := shape(body(``)), shape(body(`,"progressToken":"p"`))
		if direct != streamed {
			t.Errorf("%+v:\n%s\nand with progress\n%s", tt, direct, streamed)
		}
	}
}

// shape is an answer without what differs from one task to the next.
func shape(a answer) string {
	for _, name := range []string{"taskId", "createdAt", "lastUpdatedAt", "requestState"} {
		if a.Result[name] != nil {
			a.Result[name] = true
		}
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(a.Result)) {
		v, _ := json.Marshal(a.Result[name])
		fmt.Fprintf(&b, "%s: %s\n", name, v)
	}
	fmt.Fprintf(&b, "%d", a.Status)
	if a.Error != nil {
		message, _, _ := strings.Cut(a.Error.Message, "The task tsk_")
		fmt.Fprintf(&b, " %d %s %v", a.Error.Code, message, a.Error.Data)
	}
	return b.String()
}
