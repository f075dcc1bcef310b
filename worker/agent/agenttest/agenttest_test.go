package agenttest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"agentmesh/worker/agent"
	"agentmesh/worker/agent/agenttest"
)

// journal is that of a refund: it waits for an answer no longer.
const journal = `[
	{"kind":"step","name":"check","n":0,"value":"ok"}, {"kind":"step","name":"charge","n":0,"key":"k","value":80}, {"kind":"step","name":"old","n":0,"value":1},
	{"kind":"answer","name":"approve","n":0,"value":true}, {"kind":"started","name":"mail","n":0}, {"kind":"checkpoint","n":0,"value":7}]`

// New code is run over the steps of a task without doing any: what it would do again, what
// nobody asks for, and what it would wait for is told.
func TestReplayTellsWhatNewCodeWouldDoAgain(t *testing.T) {
	var past agenttest.Past
	if err := json.Unmarshal([]byte(journal), &past.Steps); err != nil {
		t.Fatal(err)
	}
	past.TaskID, past.Calls = "tsk_1", []agenttest.Call{{Agent: "price", Input: json.RawMessage(`{"b":1,"a":2}`), Result: json.RawMessage(`5`)}}
	ran := false
	step := func(ctx context.Context, job *agent.Job, name string, opts ...agent.StepOption) error {
		_, err := agent.Step(ctx, job, name, func(context.Context, agent.StepInfo) (any, error) { ran = true; return nil, nil }, opts...)
		return err
	}
	got := agenttest.Replay(t.Context(), func(ctx context.Context, job *agent.Job) (any, error) {
		for _, name := range []string{"check", "charge", "mail", "new"} {
			if err := step(ctx, job, name); err != nil {
				return nil, err
			}
		}
		if ok, err := agent.Ask[bool](ctx, job, "approve", agent.Question{}); err != nil || !ok {
			return nil, fmt.Errorf("%v %w", ok, err)
		}
		if price, err := job.Call(ctx, "price", map[string]int{"a": 2, "b": 1}); err != nil || string(price) != "5" {
			return nil, fmt.Errorf("%s %w", price, err)
		}
		if _, err := job.Call(ctx, "ship", 1); err != nil {
			return nil, err
		}
		return nil, job.Sleep(ctx, time.Hour)
	}, past)
	want := agenttest.Report{
		Kept:  []string{"step check #0", "answer approve #0"},
		Runs:  []string{"step charge #0: its key is another one", "step mail #0: it had begun, and nobody knows its end", "step new #0: the journal does not have it"},
		Waits: []string{"sleep sleep #0"}, Calls: []string{"ship 1"}, Unused: []string{"step old #0"}, Ended: "it waits",
	}
	if ran || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("a function ran: %v\n%+v, want\n%+v", ran, got, want)
	}
	if got := agenttest.Replay(t.Context(), func(context.Context, *agent.Job) (any, error) { panic("no") }, past); got.Ended != "panic: no" || len(got.Unused) != 5 {
		t.Errorf("%+v", got)
	}
}
