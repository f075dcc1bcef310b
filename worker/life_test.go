package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/worker"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/echo"
)

func TestATaskIsAcceptedAndPolledToItsEnd(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent())
	w := m.Do("POST", "/tasks", `{"agent":"echo","input":{"a":"<b>&"},"labels":{"team":"search"}}`)
	if w.Code != http.StatusAccepted {
		t.Fatalf("POST /tasks = %d %s", w.Code, w.Body)
	}
	got := meshtest.Decode[client.Task](t, w.Body)
	if loc := w.Header().Get("Location"); loc != "/tasks/"+got.TaskID || got.StatusURL != loc || got.Status != "pending" || got.TraceID == "" {
		t.Errorf("202 = %+v with Location %q", got, loc)
	}
	done := m.End(got.TaskID)
	if done.Status != "completed" || string(done.Result) != `{"a":"<b>&"}` || done.Progress != "100%" || done.TraceID != got.TraceID {
		t.Errorf("task = %+v", done)
	}
	// The acknowledgement comes after the record.
	natstest.Until(t, "the queue is empty", func() bool { return m.Queued() == 0 })
}

// A task that its agent fails is retried by the policy, in fake time, and each
// pause stays within its ceiling.
func TestRetriesFollowThePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var mu sync.Mutex
		var began, ended []time.Time
		a := meshtest.Named("flaky", func(_ context.Context, job *agent.Job) (any, error) {
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
		m.Work(a)
		got := m.End(m.Create(`{"agent":"flaky","instruction":"x"}`))
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

func TestEachFailureHasItsCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		a := meshtest.Named("fails", func(ctx context.Context, job *agent.Job) (any, error) {
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
		m.Work(a)
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
			got := m.End(m.Create(`{"agent":"fails","instruction":"` + tt.instruction + `"}`))
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

func TestTheDeadlineEndsATaskWhereverItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		stop := m.Work(meshtest.Named("slow", func(ctx context.Context, _ *agent.Job) (any, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}))
		in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
		running := m.End(m.Create(`{"agent":"slow","instruction":"x","timeout":"1h","deadline":"` + in(time.Minute) + `"}`))
		if running.Error == nil || running.Error.Code != "deadline_exceeded" || running.Attempt != 1 {
			t.Errorf("running task: %+v %+v", running, running.Error)
		}
		stop()
		waiting := m.Create(`{"agent":"slow","instruction":"x","deadline":"` + in(time.Minute) + `"}`)
		time.Sleep(2 * time.Minute)
		m.Work(meshtest.Named("slow", func(context.Context, *agent.Job) (any, error) { t.Error("ran past its deadline"); return nil, nil }))
		if got := m.End(waiting); got.Error == nil || got.Error.Code != "deadline_exceeded" || got.Attempt != 0 {
			t.Errorf("waiting task: %+v %+v", got, got.Error)
		}
	})
}

// A retry that comes due while everything is down happens after the restart.
func TestARetryThatIsDueWhileAllIsDownComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		m := meshtest.NewIn(t, dir)
		fail := func(context.Context, *agent.Job) (any, error) {
			return nil, &agent.Error{Message: "later", RetryAfter: time.Minute}
		}
		stop := m.Work(meshtest.Named("a", fail))
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		time.Sleep(time.Second)
		if got := m.Get(id); got.Status != "pending" || got.NotBefore.IsZero() || got.Error == nil {
			t.Fatalf("before the restart: %+v", got)
		}
		stop()
		m.NC.Close()
		m.Server.Stop()
		time.Sleep(time.Hour)
		m = meshtest.NewIn(t, dir)
		m.Work(meshtest.Named("a", func(_ context.Context, job *agent.Job) (any, error) { return job.Attempt, nil }))
		if got := m.End(id); got.Status != "completed" || string(got.Result) != "2" {
			t.Errorf("after the restart: %+v", got)
		}
	})
}

func TestADelaySurvivesARestartAcrossTheDueTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		m := meshtest.NewIn(t, dir)
		m.Work(echo.Agent())()
		id := m.Create(`{"agent":"echo","input":1,"delay":"10m"}`)
		if got := m.Get(id); got.Status != "pending" || got.NotBefore.IsZero() {
			t.Fatalf("scheduled task: %+v", got)
		}
		m.NC.Close()
		m.Server.Stop()
		time.Sleep(time.Hour)
		m = meshtest.NewIn(t, dir)
		m.Work(echo.Agent())
		if got := m.End(id); got.Status != "completed" {
			t.Errorf("after the restart: %+v", got)
		}
	})
}

func TestATaskDoesNotBeginBeforeItsDelayIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(echo.Agent())
		due := time.Now().Add(10 * time.Minute)
		got := m.End(m.Create(`{"agent":"echo","input":1,"run_at":"` + due.UTC().Format(time.RFC3339Nano) + `"}`))
		if late := got.StartedAt.Sub(due); late < -time.Millisecond || late > 2*time.Second {
			t.Errorf("started %v after its time", late)
		}
	})
}

// A task whose agent has no live worker waits, and runs when one appears.
func TestATaskWaitsForAWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(echo.Agent())() // registers the agent and leaves
		id := m.Create(`{"agent":"echo","input":"x"}`)
		time.Sleep(24 * time.Hour)
		if got := m.Get(id); got.Status != "pending" {
			t.Fatalf("without a worker: %+v", got)
		}
		m.Work(echo.Agent())
		if got := m.End(id); got.Status != "completed" {
			t.Errorf("with a worker: %+v", got)
		}
	})
}

// TestAFrozenWorkersWriteIsRefusedAndItsHeirsStands: one worker is frozen past its lease and then resumed.
// The heir's result stands and the frozen one's write is refused (I15).
func TestAFrozenWorkersWriteIsRefusedAndItsHeirsStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		finish := make(chan struct{})
		frozenGate := &meshtest.Gate{Server: m.Server.Server}
		stA, _ := m.OpenStore(nats.InProcessServer(frozenGate))
		started, lost := make(chan struct{}, 1), make(chan error, 1)
		m.WorkWith(worker.Default(), stA, meshtest.Named("a", func(ctx context.Context, _ *agent.Job) (any, error) {
			started <- struct{}{}
			<-finish
			<-ctx.Done()
			lost <- context.Cause(ctx)
			return "zombie", nil
		}))
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		<-started
		synctest.Wait()
		frozenGate.Freeze()
		m.Work(meshtest.Named("a", func(_ context.Context, job *agent.Job) (any, error) {
			return fmt.Sprintf("heir in attempt %d", job.Attempt), nil
		}))
		got := m.End(id)
		if string(got.Result) != `"heir in attempt 2"` {
			t.Fatalf("heir: %+v", got)
		}
		rev := m.Record(id).Rev
		frozenGate.Thaw()
		close(finish)
		if cause := <-lost; !errors.Is(cause, agent.ErrLeaseLost) {
			t.Errorf("the frozen worker's context ended with %v, want %v", cause, agent.ErrLeaseLost)
		}
		time.Sleep(time.Minute)
		if rec := m.Record(id); rec.Rev != rev || string(rec.Result.Inline) != `"heir in attempt 2"` {
			t.Errorf("the frozen worker wrote: revision %d after %d, result %s", rec.Rev, rev, rec.Result.Inline)
		}
	})
}

// A draining worker hands its tasks back at once and without counting the
// attempt.
func TestADrainHandsTasksBackUncounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		started := make(chan struct{}, 1)
		cfg := worker.Default()
		cfg.Drain = 10 * time.Second
		stop := m.WorkWith(cfg, m.Store, meshtest.Named("a", func(ctx context.Context, _ *agent.Job) (any, error) {
			started <- struct{}{}
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}))
		id := m.Create(`{"agent":"a","instruction":"x","max_attempts":1}`)
		<-started
		time.Sleep(time.Second)
		begin := time.Now()
		stop()
		if took := time.Since(begin); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("drain took %v", took)
		}
		if got := m.Get(id); got.Status != "pending" || got.Attempt != 0 {
			t.Errorf("handed back: %+v", got)
		}
		m.Work(meshtest.Named("a", func(_ context.Context, job *agent.Job) (any, error) { return job.Attempt, nil }))
		begin = time.Now()
		if got := m.End(id); got.Status != "completed" || string(got.Result) != "1" || time.Since(begin) > time.Second {
			t.Errorf("after %v: %+v", time.Since(begin), got)
		}
	})
}

// max_in_flight holds for the whole mesh, whatever the workers' slots.
func TestMaxInFlightHoldsForTheMesh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var now, most atomic.Int32
		a := meshtest.Named("a", func(context.Context, *agent.Job) (any, error) {
			n := now.Add(1)
			defer now.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			time.Sleep(time.Second)
			return nil, nil
		})
		a.Concurrency, a.MaxInFlight = 8, 5
		m.Work(a)
		st, _ := m.OpenStore()
		m.WorkWith(worker.Default(), st, a)
		var ids []string
		for range 40 {
			ids = append(ids, m.Create(`{"agent":"a","instruction":"x"}`))
		}
		for _, id := range ids {
			m.End(id)
		}
		if most.Load() != 5 {
			t.Errorf("%d ran at once, max_in_flight is 5", most.Load())
		}
	})
}

// A worker never holds more messages than it has slots: the rest is free for
// another worker that comes later.
func TestAWorkerHoldsNoMoreThanItsSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var first, second atomic.Int32
		block := make(chan struct{})
		a := meshtest.Named("a", func(context.Context, *agent.Job) (any, error) { first.Add(1); <-block; return nil, nil })
		a.Concurrency = 3
		m.Work(a)
		var ids []string
		for range 10 {
			ids = append(ids, m.Create(`{"agent":"a","instruction":"x"}`))
		}
		synctest.Wait()
		st, _ := m.OpenStore()
		a.Handler = func(context.Context, *agent.Job) (any, error) { second.Add(1); return nil, nil }
		m.WorkWith(worker.Default(), st, a)
		for i := 0; i < 7; i++ {
			m.End(ids[i+3])
		}
		if first.Load() != 3 || second.Load() != 7 {
			t.Errorf("the first ran %d, the second %d; want 3 and 7", first.Load(), second.Load())
		}
		close(block)
		for _, id := range ids {
			m.End(id)
		}
	})
}

func TestRetryMakesANewTask(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent())
	old := m.End(m.Create(`{"agent":"echo","input":{"echo_fail_permanent":"no"},"labels":{"k":"v"}}`))
	w := m.Do("POST", "/tasks/"+old.TaskID+"/retry", "")
	fresh := meshtest.Decode[client.Task](t, w.Body)
	if w.Code != http.StatusAccepted || fresh.RetriedFrom != old.TaskID || fresh.TaskID == old.TaskID {
		t.Fatalf("retry = %d %+v", w.Code, fresh)
	}
	got := m.End(fresh.TaskID)
	if got.Status != "failed" || got.RetriedFrom != old.TaskID || got.Labels["k"] != "v" {
		t.Errorf("retried task: %+v", got)
	}
	if again := m.Get(old.TaskID); !again.UpdatedAt.Equal(old.UpdatedAt) {
		t.Error("the old task has changed")
	}
	good := m.End(m.Create(`{"agent":"echo","input":1}`))
	if w := m.Do("POST", "/tasks/"+good.TaskID+"/retry", ""); w.Code != http.StatusConflict {
		t.Errorf("retry of a completed task = %d", w.Code)
	}
}

// A few reports within a moment are each told; who tells all the time is held back.
func TestAFewQuickReportsAreEachTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		begin := make(chan struct{})
		m.Work(meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			<-begin
			for _, percent := range []int{0, 50, 100} {
				job.Progress(percent, "")
				time.Sleep(50 * time.Millisecond)
			}
			return "x", nil
		}))
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		watch, err := m.Store.Tasks.Watch("default", task.ID(id), false)
		if err != nil {
			t.Fatal(err)
		}
		defer watch.Close()
		close(begin)
		var told []int
		err = watch.Updates(t.Context(), 0, func(u store.Update) bool {
			if p := u.Task.Percent; p != nil && (len(told) == 0 || told[len(told)-1] != *p) {
				told = append(told, *p)
			}
			return !u.Task.Status.Terminal()
		})
		if err != nil || fmt.Sprint(told) != "[0 50 100]" {
			t.Errorf("told %v, %v", told, err)
		}
	})
}

func TestProgressReachesTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			for i := 1; i <= 100; i++ {
				job.Progress(i, fmt.Sprintf("step %d", i))
				time.Sleep(100 * time.Millisecond)
			}
			return json.RawMessage(`{"ok":true}`), nil
		}))
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		time.Sleep(5 * time.Second)
		got := m.Get(id)
		if got.Percent == nil || *got.Percent < 45 || *got.Percent > 51 || got.Message == "" {
			t.Errorf("after half the time: %+v", got)
		}
		m.End(id)
		if writes := m.Record(id).Rev; writes > 50 {
			t.Errorf("%d writes for 100 reports in 10 s", writes)
		}
	})
}
