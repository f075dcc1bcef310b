package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/gateway/client"
	"agentmesh/shared/task"
	"agentmesh/worker"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/echo"
)

func TestInitiateAndPoll(t *testing.T) {
	m := newMesh(t)
	m.work(echo.Agent())
	w := m.do("POST", "/tasks", `{"agent":"echo","input":{"a":"<b>&"},"labels":{"team":"search"}}`)
	if w.Code != http.StatusAccepted {
		t.Fatalf("POST /tasks = %d %s", w.Code, w.Body)
	}
	got := decode[client.Task](t, w.Body)
	if loc := w.Header().Get("Location"); loc != "/tasks/"+got.TaskID || got.StatusURL != loc || got.Status != "pending" || got.TraceID == "" {
		t.Errorf("202 = %+v with Location %q", got, loc)
	}
	done := m.end(got.TaskID)
	if done.Status != "completed" || string(done.Result) != `{"a":"<b>&"}` || done.Progress != "100%" || done.TraceID != got.TraceID {
		t.Errorf("task = %+v", done)
	}
	// The acknowledgement comes after the record.
	eventually(t, 5*time.Second, "the queue is empty", func() bool { return m.queued() == 0 })
}

// A task that its agent fails is retried by the policy, in fake time, and each
// pause stays within its ceiling.
func TestRetriesFollowThePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		var mu sync.Mutex
		var began, ended []time.Time
		a := named("flaky", func(_ context.Context, job *agent.Job) (any, error) {
			mu.Lock()
			defer mu.Unlock()
			began = append(began, time.Now())
			defer func() { ended = append(ended, time.Now()) }()
			if job.Attempt < 5 {
				return nil, fmt.Errorf("attempt %d fails", job.Attempt)
			}
			return "done", nil
		})
		a.Retry = agent.Retry{MaxAttempts: 5, Backoff: task.Duration(10 * time.Second), MaxBackoff: task.Duration(30 * time.Second)}
		m.work(a)
		got := m.end(m.create(`{"agent":"flaky","instruction":"x"}`))
		if got.Status != "completed" || got.Attempt != 5 || len(began) != 5 {
			t.Fatalf("task = %+v after %d runs", got, len(began))
		}
		for n := 1; n < 5; n++ {
			pause, ceiling := began[n].Sub(ended[n-1]), a.Retry.Ceiling(n)
			if pause < 0 || pause > ceiling+1500*time.Millisecond { // the schedule's wheel ticks once a second
				t.Errorf("pause after attempt %d = %v, ceiling %v", n, pause, ceiling)
			}
		}
	})
}

func TestFailuresAndTheirCodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		a := named("fails", func(ctx context.Context, job *agent.Job) (any, error) {
			switch job.Instruction {
			case "permanent":
				return nil, agent.Permanent(errors.New("no such city"))
			case "panic":
				panic("boom")
			case "hang":
				<-ctx.Done()
				return nil, ctx.Err()
			case "ignore":
				time.Sleep(time.Hour)
			case "output":
				return make(chan int), nil
			case "coded":
				return nil, &agent.Error{Code: "quota", Message: "try later", RetryAfter: time.Minute}
			}
			return nil, errors.New("plain")
		})
		a.Timeout, a.Concurrency = task.Duration(time.Minute), 20
		a.Retry.MaxAttempts = 2
		m.work(a)
		for _, tt := range []struct {
			instruction, code string
			attempts          int
		}{
			{"permanent", "agent_error", 1},
			{"panic", "agent_panicked", 2},
			{"hang", "agent_timeout", 2},
			{"ignore", "agent_timeout", 2},
			{"output", "agent_bad_output", 1},
			{"coded", "quota", 2},
			{"plain", "agent_error", 2},
		} {
			got := m.end(m.create(`{"agent":"fails","instruction":"` + tt.instruction + `"}`))
			if got.Status != "failed" || got.Error == nil || got.Error.Code != tt.code || got.Attempt != tt.attempts {
				t.Errorf("%s: %s, error %+v in attempt %d; want %s in attempt %d", tt.instruction, got.Status, got.Error, got.Attempt, tt.code, tt.attempts)
				continue
			}
			// Clients do not see what it panicked with.
			if tt.instruction == "panic" && (got.Error.Message != "the agent panicked" || got.Error.Detail != "panic: boom") {
				t.Errorf("panic: %+v", got.Error)
			}
		}
		time.Sleep(2 * time.Hour) // the one that ignores its context returns
	})
}

func TestDeadlineEndsATaskWhereverItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		stop := m.work(named("slow", func(ctx context.Context, _ *agent.Job) (any, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}))
		in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
		running := m.end(m.create(`{"agent":"slow","instruction":"x","timeout":"1h","deadline":"` + in(time.Minute) + `"}`))
		if running.Error == nil || running.Error.Code != "deadline_exceeded" || running.Attempt != 1 {
			t.Errorf("running task: %+v %+v", running, running.Error)
		}
		stop()
		waiting := m.create(`{"agent":"slow","instruction":"x","deadline":"` + in(time.Minute) + `"}`)
		time.Sleep(2 * time.Minute)
		m.work(named("slow", func(context.Context, *agent.Job) (any, error) { t.Error("ran past its deadline"); return nil, nil }))
		if got := m.end(waiting); got.Error == nil || got.Error.Code != "deadline_exceeded" || got.Attempt != 0 {
			t.Errorf("waiting task: %+v %+v", got, got.Error)
		}
	})
}

// A retry that comes due while everything is down happens after the restart.
func TestRetryDueWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		m := newMeshIn(t, dir)
		fail := func(context.Context, *agent.Job) (any, error) {
			return nil, &agent.Error{Message: "later", RetryAfter: time.Minute}
		}
		stop := m.work(named("a", fail))
		id := m.create(`{"agent":"a","instruction":"x"}`)
		time.Sleep(time.Second)
		if got := m.get(id); got.Status != "pending" || got.NotBefore.IsZero() || got.Error == nil {
			t.Fatalf("before the restart: %+v", got)
		}
		stop()
		m.nc.Close()
		m.srv.Stop()
		time.Sleep(time.Hour)
		m = newMeshIn(t, dir)
		m.work(named("a", func(_ context.Context, job *agent.Job) (any, error) { return job.Attempt, nil }))
		if got := m.end(id); got.Status != "completed" || string(got.Result) != "2" {
			t.Errorf("after the restart: %+v", got)
		}
	})
}

func TestDelaySurvivesARestartAcrossTheDueTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		m := newMeshIn(t, dir)
		m.work(echo.Agent())()
		id := m.create(`{"agent":"echo","input":1,"delay":"10m"}`)
		if got := m.get(id); got.Status != "pending" || got.NotBefore.IsZero() {
			t.Fatalf("scheduled task: %+v", got)
		}
		m.nc.Close()
		m.srv.Stop()
		time.Sleep(time.Hour)
		m = newMeshIn(t, dir)
		m.work(echo.Agent())
		if got := m.end(id); got.Status != "completed" {
			t.Errorf("after the restart: %+v", got)
		}
	})
}

func TestDelayIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(echo.Agent())
		due := time.Now().Add(10 * time.Minute)
		got := m.end(m.create(`{"agent":"echo","input":1,"run_at":"` + due.UTC().Format(time.RFC3339Nano) + `"}`))
		if late := got.StartedAt.Sub(due); late < -time.Millisecond || late > 2*time.Second {
			t.Errorf("started %v after its time", late)
		}
	})
}

// A task whose agent has no live worker waits, and runs when one appears.
func TestWaitsForAWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(echo.Agent())() // registers the agent and leaves
		id := m.create(`{"agent":"echo","input":"x"}`)
		time.Sleep(24 * time.Hour)
		if got := m.get(id); got.Status != "pending" {
			t.Fatalf("without a worker: %+v", got)
		}
		m.work(echo.Agent())
		if got := m.end(id); got.Status != "completed" {
			t.Errorf("with a worker: %+v", got)
		}
	})
}

// TestW2_FrozenWorker: one worker is frozen past its lease and then resumed.
// The heir's result stands and the frozen one's write is refused (I15).
func TestW2_FrozenWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		finish := make(chan struct{})
		frozenGate := &gate{srv: m.srv.Server}
		stA, _ := m.openStore(nats.InProcessServer(frozenGate))
		started, lost := make(chan struct{}, 1), make(chan error, 1)
		m.workWith(worker.Default(), stA, named("a", func(ctx context.Context, _ *agent.Job) (any, error) {
			started <- struct{}{}
			<-finish
			<-ctx.Done()
			lost <- context.Cause(ctx)
			return "zombie", nil
		}))
		id := m.create(`{"agent":"a","instruction":"x"}`)
		<-started
		synctest.Wait()
		frozenGate.freeze()
		m.work(named("a", func(_ context.Context, job *agent.Job) (any, error) {
			return fmt.Sprintf("heir in attempt %d", job.Attempt), nil
		}))
		got := m.end(id)
		if string(got.Result) != `"heir in attempt 2"` {
			t.Fatalf("heir: %+v", got)
		}
		rev := m.record(id).Rev
		frozenGate.thaw()
		close(finish)
		if cause := <-lost; !errors.Is(cause, agent.ErrLeaseLost) {
			t.Errorf("the frozen worker's context ended with %v, want %v", cause, agent.ErrLeaseLost)
		}
		time.Sleep(time.Minute)
		if rec := m.record(id); rec.Rev != rev || string(rec.Result.Inline) != `"heir in attempt 2"` {
			t.Errorf("the frozen worker wrote: revision %d after %d, result %s", rec.Rev, rev, rec.Result.Inline)
		}
	})
}

// TestW9_CancelRacesCompletion: exactly one wins, and status never goes
// backwards (I1, I10).
func TestW9_CancelRacesCompletion(t *testing.T) {
	m := newMesh(t)
	a := named("brief", func(ctx context.Context, job *agent.Job) (any, error) {
		select { // ends before, while or after the cancel comes
		case <-time.After(rand.N(30 * time.Millisecond)):
			return job.Input, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	})
	a.Concurrency = 64
	m.work(a)
	var canceled, completed atomic.Int32
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i := range 1000 {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			id := m.create(`{"agent":"brief","input":1}`)
			for range i % 4 { // spread the cancels over the task's life
				m.get(id)
			}
			w := m.do("POST", "/tasks/"+id+"/cancel", "")
			seen := m.end(id)
			switch {
			case w.Code == http.StatusOK && seen.Status == "canceled":
				canceled.Add(1)
			case w.Code == http.StatusConflict && seen.Status == "completed" && strings.Contains(w.Body.String(), "task_finished"):
				completed.Add(1)
			default:
				t.Errorf("cancel = %d %s, task = %+v", w.Code, w.Body, seen)
			}
			rec := m.record(id)
			terminal := 0
			for _, tr := range rec.Transitions {
				if tr.Status.Terminal() {
					terminal++
				}
			}
			if terminal != 1 || rec.Transitions[len(rec.Transitions)-1].Status != rec.Status {
				t.Errorf("transitions of %s: %+v", id, rec.Transitions)
			}
		})
	}
	wg.Wait()
	t.Logf("%d canceled, %d completed", canceled.Load(), completed.Load())
	if canceled.Load() == 0 || completed.Load() == 0 {
		t.Errorf("no race: %d canceled, %d completed", canceled.Load(), completed.Load())
	}
	eventually(t, 5*time.Second, "the queue is empty", func() bool { return m.queued() == 0 })
}

func TestCancelStopsTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		ended := make(chan time.Time, 1)
		started := make(chan struct{}, 1)
		stop := m.work(named("long", func(ctx context.Context, _ *agent.Job) (any, error) {
			started <- struct{}{}
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), agent.ErrCanceled) {
				t.Errorf("cause = %v", context.Cause(ctx))
			}
			ended <- time.Now()
			time.Sleep(2 * time.Second) // it has something to put away
			return nil, ctx.Err()
		}))
		id := m.create(`{"agent":"long","instruction":"x"}`)
		<-started
		time.Sleep(time.Minute)
		before := time.Now()
		if w := m.do("POST", "/tasks/"+id+"/cancel", ""); w.Code != http.StatusOK || decode[client.Task](t, w.Body).Status != "canceled" {
			t.Fatalf("cancel = %d", w.Code)
		}
		if took := (<-ended).Sub(before); took > time.Second {
			t.Errorf("the agent's context ended after %v", took)
		}
		if got := m.get(id); !got.StoppedAt.IsZero() {
			t.Errorf("stopped_at %v while the agent still runs", got.StoppedAt)
		}
		time.Sleep(5 * time.Second)
		got := m.get(id)
		if stopped := got.StoppedAt.Sub(got.FinishedAt); got.Status != "canceled" || stopped < 2*time.Second || stopped > 3*time.Second {
			t.Errorf("after the agent ended: %+v", got)
		}
		if w := m.do("POST", "/tasks/"+id+"/cancel", ""); w.Code != http.StatusOK {
			t.Errorf("second cancel = %d %s", w.Code, w.Body)
		}
		stop()
		// One that waits and one that is scheduled never run.
		ids := []string{m.create(`{"agent":"long","instruction":"x"}`), m.create(`{"agent":"long","instruction":"x","delay":"5m"}`)}
		for _, id := range ids {
			if w := m.do("POST", "/tasks/"+id+"/cancel", ""); w.Code != http.StatusOK {
				t.Errorf("cancel = %d %s", w.Code, w.Body)
			}
		}
		if n := m.queued(); n != 0 {
			t.Errorf("%d messages of canceled tasks in the queue", n)
		}
		m.work(named("long", func(context.Context, *agent.Job) (any, error) { t.Error("a canceled task ran"); return nil, nil }))
		time.Sleep(time.Hour)
		for _, id := range ids {
			if got := m.get(id); got.Status != "canceled" {
				t.Errorf("canceled task became %s", got.Status)
			}
		}
	})
}

// A draining worker hands its tasks back at once and without counting the
// attempt.
func TestDrainHandsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		started := make(chan struct{}, 1)
		cfg := worker.Default()
		cfg.Drain = 10 * time.Second
		stop := m.workWith(cfg, m.st, named("a", func(ctx context.Context, _ *agent.Job) (any, error) {
			started <- struct{}{}
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}))
		id := m.create(`{"agent":"a","instruction":"x","max_attempts":1}`)
		<-started
		time.Sleep(time.Second)
		begin := time.Now()
		stop()
		if took := time.Since(begin); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("drain took %v", took)
		}
		if got := m.get(id); got.Status != "pending" || got.Attempt != 0 {
			t.Errorf("handed back: %+v", got)
		}
		m.work(named("a", func(_ context.Context, job *agent.Job) (any, error) { return job.Attempt, nil }))
		begin = time.Now()
		if got := m.end(id); got.Status != "completed" || string(got.Result) != "1" || time.Since(begin) > time.Second {
			t.Errorf("after %v: %+v", time.Since(begin), got)
		}
	})
}

// max_in_flight holds for the whole mesh, whatever the workers' slots.
func TestMaxInFlightHoldsForTheMesh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		var now, most atomic.Int32
		a := named("a", func(context.Context, *agent.Job) (any, error) {
			n := now.Add(1)
			defer now.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			time.Sleep(time.Second)
			return nil, nil
		})
		a.Concurrency, a.MaxInFlight = 8, 5
		m.work(a)
		st, _ := m.openStore()
		m.workWith(worker.Default(), st, a)
		var ids []string
		for range 40 {
			ids = append(ids, m.create(`{"agent":"a","instruction":"x"}`))
		}
		for _, id := range ids {
			m.end(id)
		}
		if most.Load() != 5 {
			t.Errorf("%d ran at once, max_in_flight is 5", most.Load())
		}
	})
}

// A worker never holds more messages than it has slots: the rest is free for
// another worker that comes later.
func TestHoldsNoMoreThanItsSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		var first, second atomic.Int32
		block := make(chan struct{})
		a := named("a", func(context.Context, *agent.Job) (any, error) { first.Add(1); <-block; return nil, nil })
		a.Concurrency = 3
		m.work(a)
		var ids []string
		for range 10 {
			ids = append(ids, m.create(`{"agent":"a","instruction":"x"}`))
		}
		synctest.Wait()
		st, _ := m.openStore()
		a.Handler = func(context.Context, *agent.Job) (any, error) { second.Add(1); return nil, nil }
		m.workWith(worker.Default(), st, a)
		for i := 0; i < 7; i++ {
			m.end(ids[i+3])
		}
		if first.Load() != 3 || second.Load() != 7 {
			t.Errorf("the first ran %d, the second %d; want 3 and 7", first.Load(), second.Load())
		}
		close(block)
		for _, id := range ids {
			m.end(id)
		}
	})
}

func TestRetryMakesANewTask(t *testing.T) {
	m := newMesh(t)
	m.work(echo.Agent())
	old := m.end(m.create(`{"agent":"echo","input":{"echo_fail_permanent":"no"},"labels":{"k":"v"}}`))
	w := m.do("POST", "/tasks/"+old.TaskID+"/retry", "")
	fresh := decode[client.Task](t, w.Body)
	if w.Code != http.StatusAccepted || fresh.RetriedFrom != old.TaskID || fresh.TaskID == old.TaskID {
		t.Fatalf("retry = %d %+v", w.Code, fresh)
	}
	got := m.end(fresh.TaskID)
	if got.Status != "failed" || got.RetriedFrom != old.TaskID || got.Labels["k"] != "v" {
		t.Errorf("retried task: %+v", got)
	}
	if again := m.get(old.TaskID); !again.UpdatedAt.Equal(old.UpdatedAt) {
		t.Error("the old task has changed")
	}
	good := m.end(m.create(`{"agent":"echo","input":1}`))
	if w := m.do("POST", "/tasks/"+good.TaskID+"/retry", ""); w.Code != http.StatusConflict {
		t.Errorf("retry of a completed task = %d", w.Code)
	}
}

func TestProgressReachesTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			for i := 1; i <= 100; i++ {
				job.Progress(i, fmt.Sprintf("step %d", i))
				time.Sleep(100 * time.Millisecond)
			}
			return json.RawMessage(`{"ok":true}`), nil
		}))
		id := m.create(`{"agent":"a","instruction":"x"}`)
		time.Sleep(5 * time.Second)
		got := m.get(id)
		if got.Percent == nil || *got.Percent < 45 || *got.Percent > 51 || got.Message == "" {
			t.Errorf("after half the time: %+v", got)
		}
		m.end(id)
		if writes := m.record(id).Rev; writes > 50 {
			t.Errorf("%d writes for 100 reports in 10 s", writes)
		}
	})
}
