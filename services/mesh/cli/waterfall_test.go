package cli

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
)

// The waterfall tells waits, attempts with their errors, children and
// deliveries, from the record alone.
func TestTaskTraceCommand(t *testing.T) {
	m := newMesh(t)
	m.Work(meshtest.Named("child", func(context.Context, *agent.Job) (any, error) { return 1, nil }),
		meshtest.WithRetry(meshtest.Named("parent", func(ctx context.Context, job *agent.Job) (any, error) {
			if job.Attempt == 1 {
				return nil, errors.New("the first time")
			}
			if err := job.Milestone(ctx, "half", "way there", nil); err != nil {
				return nil, err
			}
			return job.Call(ctx, "child", nil)
		})))
	srv, c := m.Serve()
	done, err := c.Tasks.Create(t.Context(), client.Request{Agent: "parent", Instruction: "x"}, client.CreateOptions{Wait: 20 * time.Second})
	if err != nil || done.Status != "completed" {
		t.Fatalf("%+v, %v", done, err)
	}
	code, out, errs := cli(t, "task", "trace", done.TaskID, "--gateway", srv.URL)
	if code != 0 {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	for _, want := range []string{"accepted", "attempt 1 retried", "agent_error: the first time", "waited for attempt 2", "attempt 2 completed", "milestone half", "child child", "  attempt 1 completed", "completed", "█"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	code, out, _ = cli(t, "task", "trace", done.TaskID, "--gateway", srv.URL, "-o", "json")
	var story struct {
		Attempts []client.Attempt
		Children []client.Task `json:"child_tasks"`
	}
	if err := json.Unmarshal([]byte(out), &story); code != 0 || err != nil || len(story.Attempts) != 2 || len(story.Children) != 1 {
		t.Errorf("%d %s %v", code, out, err)
	}
	if code, _, errs := cli(t, "task", "trace", "tsk_01a20cd9e03b7276be6a181888e33e52", "--gateway", srv.URL); code != 1 || !strings.Contains(errs, "task_not_found") {
		t.Errorf("unknown task: %d %s", code, errs)
	}
}

// The steps of a task are drawn over time, with their values where they are asked for.
func TestTaskStepsCommand(t *testing.T) {
	m := newMesh(t)
	m.Work(meshtest.Named("notes", func(ctx context.Context, job *agent.Job) (any, error) {
		_, err := agent.Step(ctx, job, "charge", func(context.Context, agent.StepInfo) (int, error) { return 70077, nil })
		_, _ = agent.Step(ctx, job, "refund", func(context.Context, agent.StepInfo) (int, error) {
			return 0, agent.Permanent(errors.New("no such account"))
		})
		return 1, err
	}))
	srv, c := m.Serve()
	done, err := c.Tasks.Create(t.Context(), client.Request{Agent: "notes", Instruction: "x"}, client.CreateOptions{Wait: 20 * time.Second})
	if err != nil || done.Status != "completed" {
		t.Fatalf("%+v, %v", done, err)
	}
	code, out, errs := cli(t, "task", "trace", done.TaskID, "--gateway", srv.URL)
	if code != 0 || !strings.Contains(out, "\n  charge ") || strings.Index(out, "attempt 1") > strings.Index(out, "charge") || !strings.Contains(out, "no such account") {
		t.Errorf("trace: %d %s %s", code, out, errs)
	}
	code, out, errs = cli(t, "task", "steps", done.TaskID, "--gateway", srv.URL)
	if code != 0 || !strings.Contains(out, "charge") || !strings.Contains(out, "no such account") || strings.Contains(out, "70077") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if code, out, _ = cli(t, "task", "steps", done.TaskID, "--gateway", srv.URL, "--values"); code != 0 || !strings.Contains(out, "70077") {
		t.Errorf("%d %s", code, out)
	}
	code, out, _ = cli(t, "task", "steps", done.TaskID, "--gateway", srv.URL, "-o", "json")
	var steps []client.Step
	if err := json.Unmarshal([]byte(out), &steps); code != 0 || err != nil || len(steps) != 2 || steps[1].Error == nil {
		t.Errorf("%d %s %v", code, out, err)
	}
}

// Who follows a task sees its steps as they end.
func TestAFollowerSeesSteps(t *testing.T) {
	var out strings.Builder
	err := newFollower(&out).follow(func(yield func(client.Event, error) bool) {
		_ = yield(client.Event{Type: "step", Step: &client.Step{Kind: "step", Name: "charge", N: 1, MS: 1500}}, nil) &&
			yield(client.Event{Type: "step", Step: &client.Step{Kind: "answer", Name: "approve", Error: &api.Error{Code: "input_timeout", Message: "no answer"}}}, nil)
	})
	if want := "step       charge #1 1.5s\nstep       answer approve input_timeout: no answer\n"; err != nil || out.String() != want {
		t.Errorf("%v\n%q, want\n%q", err, out.String(), want)
	}
}
