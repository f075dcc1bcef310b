package cli

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// What a task has used of models is shown, and a report of it is no empty line to who
// follows the task.
func TestWhatATaskHasUsedIsShown(t *testing.T) {
	m := newMesh(t)
	m.Work(meshtest.Named("spends", func(_ context.Context, job *agent.Job) (any, error) {
		job.Used(task.Usage{ModelCalls: 2, ToolCalls: 1, InputTokens: 30, OutputTokens: 4, Cost: 1500, Currency: "EUR", Estimated: true}, "tokens")
		return 1, nil
	}))
	srv, _ := m.Serve()
	_, out, errs := cli(t, "task", "run", "--agent", "spends", "x", "--follow", "--gateway", srv.URL)
	for _, want := range []string{"usage       2 model calls, 1 tool calls, 30 tokens in, 4 out (estimated), 0.0015 EUR\n", "stopped by  tokens\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s%s", want, out, errs)
		}
	}
	var shown bytes.Buffer
	newFollower(&shown).state(client.Event{Type: "progress", Task: &client.Task{}})
	if shown.Len() > 0 {
		t.Errorf("%q", &shown)
	}
}
