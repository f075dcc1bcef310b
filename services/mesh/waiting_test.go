package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/task"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// A pending task says why it does not run.
func TestWhyATaskWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		open := make(chan struct{})
		limited := named("limited", func(ctx context.Context, _ *agent.Job) (any, error) {
			select {
			case <-open:
			case <-ctx.Done():
			}
			return nil, nil
		})
		limited.MaxInFlight, limited.Concurrency = 2, 1
		flaky := named("flaky", func(context.Context, *agent.Job) (any, error) { return nil, errors.New("not today") })
		flaky.Retry = agent.Retry{Backoff: task.Duration(time.Hour), MaxBackoff: task.Duration(time.Hour)}
		stop := m.work(limited, flaky)

		reason := func(id string) client.Waiting {
			t.Helper()
			time.Sleep(1500 * time.Millisecond) // what the gateway keeps of the line is a second old at most
			v := m.get(id)
			if v.Waiting == nil {
				t.Fatalf("task %s is %s and does not say why it waits", id, v.Status)
			}
			return *v.Waiting
		}
		var held []string
		for range 5 {
			held = append(held, m.create(`{"agent":"limited","instruction":"x"}`))
		}
		// One slot: one runs, and four are in line.
		if w := reason(held[3]); w.Reason != "queued" || w.Position != 3 || w.LiveWorkers != 1 || w.Limit != 2 {
			t.Errorf("behind others: %+v", w)
		}
		if v := m.get(held[0]); v.Waiting != nil || v.Status != "processing" {
			t.Errorf("the one that runs: %s %+v", v.Status, v.Waiting)
		}
		second := m.workWith(worker.Default(), m.st, limited)
		if w := reason(held[3]); w.Reason != "mesh_limit" || w.Position != 2 || w.Limit != 2 || w.LiveWorkers != 2 {
			t.Errorf("at the limit: %+v", w)
		}
		later := m.create(`{"agent":"limited","instruction":"x","delay":"1h"}`)
		if w := reason(later); w.Reason != "scheduled" || time.Until(w.NextAttempt) > time.Hour || time.Until(w.NextAttempt) < 50*time.Minute {
			t.Errorf("scheduled: %+v", w)
		}
		fails := m.create(`{"agent":"flaky","instruction":"x"}`)
		if w := reason(fails); w.Reason != "retrying" || w.NextAttempt.IsZero() {
			t.Errorf("retrying: %+v", w)
		}
		if v := m.get(fails); len(v.Attempts) != 1 || v.Attempts[0].Outcome != "retried" || v.Attempts[0].Error == nil || v.Attempts[0].Error.Message != "not today" || v.Attempts[0].StartedAt.IsZero() {
			t.Errorf("attempts: %+v", v.Attempts)
		}
		close(open)
		for _, id := range held {
			m.end(id)
		}
		second()
		stop()
		orphan := m.create(`{"agent":"limited","instruction":"x"}`)
		if w := reason(orphan); w.Reason != "no_live_worker" || w.LiveWorkers != 0 || w.Position != 1 {
			t.Errorf("nobody serves it: %+v", w)
		}
	})
}

// What is shown is what the server counts, for one task and for the whole mesh.
func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		open := make(chan struct{})
		a := named("slow", func(ctx context.Context, _ *agent.Job) (any, error) {
			select {
			case <-open:
			case <-ctx.Done():
			}
			return nil, nil
		})
		a.Concurrency = 2
		m.work(a)
		for range 5 {
			m.create(`{"agent":"slow","instruction":"x"}`)
		}
		m.create(`{"agent":"slow","instruction":"x","delay":"1h"}`)
		time.Sleep(80 * time.Second)
		w := m.do("GET", "/stats", "")
		if w.Code != http.StatusOK {
			t.Fatalf("GET /stats = %d %s", w.Code, w.Body)
		}
		s := decode[client.Stats](t, w.Body)
		if len(s.Agents) != 1 || s.Scheduled != 1 || len(s.Workers) != 1 || s.Workers[0].Slots != 2 || s.Storage.Used == 0 {
			t.Fatalf("%+v", s)
		}
		if got := s.Agents[0]; got.Waiting != 3 || got.InFlight != 2 || got.OldestAge < 79 || got.OldestAge > 85 || got.LiveWorkers != 1 || got.Slots != 2 || got.Limit != 1000 {
			t.Errorf("%+v", got)
		}
		close(open)
	})
}

// The waterfall tells waits, attempts with their errors, children and
// deliveries, from the record alone.
func TestTaskTraceCommand(t *testing.T) {
	m := newMesh(t)
	m.work(named("child", func(context.Context, *agent.Job) (any, error) { return 1, nil }),
		withRetry(named("parent", func(ctx context.Context, job *agent.Job) (any, error) {
			if job.Attempt == 1 {
				return nil, errors.New("the first time")
			}
			if err := job.Milestone(ctx, "half", "way there", nil); err != nil {
				return nil, err
			}
			return job.Call(ctx, "child", nil)
		})))
	srv, c := m.serve()
	done, err := c.Create(t.Context(), client.Request{Agent: "parent", Instruction: "x"}, client.CreateOptions{Wait: 20 * time.Second})
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

func withRetry(a agent.Agent) agent.Agent {
	a.Retry = agent.Retry{Backoff: task.Duration(time.Millisecond), MaxBackoff: task.Duration(time.Millisecond)}
	return a
}

func TestTopCommand(t *testing.T) {
	m := newMesh(t)
	m.work(named("one", func(context.Context, *agent.Job) (any, error) { return 1, nil }))
	srv, _ := m.serve()
	code, out, errs := cli(t, "top", "--once", "--gateway", srv.URL)
	for _, want := range []string{"tasks ", "deliveries ", "storage ", "AGENT", "one ", "WORKER", "wrk_"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("no %q in %d %s %s", want, code, out, errs)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("escapes without a terminal: %q", out)
	}
	if code, _, errs := cli(t, "top", "--once", "--gateway", "http://127.0.0.1:1"); code != 1 || !strings.Contains(errs, "read the state of the mesh") {
		t.Errorf("no gateway: %d %s", code, errs)
	}
	if code, _, errs := cli(t, "top", "--interval", "1ms", "--gateway", srv.URL); code != 2 || !strings.Contains(errs, "interval") {
		t.Errorf("interval: %d %s", code, errs)
	}
	// Ctrl-C ends it, whatever it does.
	ctx, cancel := context.WithCancel(t.Context())
	var live strings.Builder
	done := make(chan int, 1)
	go func() { done <- run(ctx, []string{"top", "--interval", "100ms", "--gateway", srv.URL}, &live, &live) }()
	time.AfterFunc(350*time.Millisecond, cancel)
	if code := <-done; code != 0 || strings.Count(live.String(), "AGENT") < 2 {
		t.Errorf("%d %s", code, live.String())
	}
}
