package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

func answer(t *testing.T, m *meshtest.Mesh, id, name, value string) error {
	t.Helper()
	core := mesh.New(m.Store, mesh.Options{Log: meshtest.Quiet()})
	defer core.Close()
	_, err := core.Tasks.Answer(t.Context(), auth.Local(), task.ID(id), mesh.AnswerRequest{Name: name, Value: json.RawMessage(value)})
	return err
}

// record waits until the record of a task is as ok says.
func record(t *testing.T, m *meshtest.Mesh, id string, ok func(*task.Task) bool) *task.Task {
	t.Helper()
	for range 1000 {
		if rec, err := m.Store.Tasks.Get(t.Context(), "default", task.ID(id)); err == nil && ok(rec) {
			return rec
		}
		time.Sleep(50 * time.Millisecond)
	}
	rec, err := m.Store.Tasks.Get(t.Context(), "default", task.ID(id))
	t.Fatalf("the record never became so: %+v %v", rec, err)
	return nil
}

// A question holds neither a slot nor a message, and its answer goes on with the same
// attempt.
func TestAQuestionHoldsNothingAndItsAnswerGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		runs := 0
		a := meshtest.Named("ask", func(ctx context.Context, job *agent.Job) (any, error) {
			runs++
			return agent.Ask[bool](ctx, job, "approve", agent.Question{Prompt: "Refund?"})
		})
		a.Concurrency, a.MaxInFlight = 1, 1
		m.Work(a)
		first, second := m.Create(`{"agent":"ask","input":1}`), m.Create(`{"agent":"ask","input":1}`)
		for _, id := range []string{first, second} {
			rec := record(t, m, id, func(r *task.Task) bool { return r.Status == task.InputRequired })
			if q := rec.Questions(); len(q) != 1 || q[0].Prompt != "Refund?" || rec.Attempt != 1 || !rec.Suspended {
				t.Errorf("%+v", rec)
			}
		}
		for _, id := range []string{second, first} {
			if err := answer(t, m, id, "approve", "true"); err != nil {
				t.Fatal(err)
			}
			if v := m.End(id); v.Status != "completed" || string(v.Result) != "true" || v.Attempt != 1 {
				t.Errorf("%+v %+v", v, v.Error)
			}
		}
		time.Sleep(10 * time.Second) // a schedule that an answer has overtaken fires a second later, and finds nothing to do
		if n, err := m.Store.Tasks.Queued(t.Context()); err != nil || n != 0 || runs != 4 {
			t.Errorf("%d messages are left, %v; %d runs", n, err, runs)
		}
	})
}

// A sleep outlives its slot and is not shorter.
func TestASleepHoldsNothingAndIsNotShorter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var began []time.Time
		m.Work(meshtest.Named("sleep", func(ctx context.Context, job *agent.Job) (any, error) {
			began = append(began, time.Now())
			return "slept", job.Sleep(ctx, 10*time.Minute)
		}))
		id := m.Create(`{"agent":"sleep","input":1}`)
		start := time.Now()
		if v := m.End(id); v.Status != "completed" || v.Attempt != 1 {
			t.Errorf("%+v %+v", v, v.Error)
		}
		if len(began) != 2 || began[1].Sub(start) < 10*time.Minute || began[1].Sub(start) > 10*time.Minute+time.Second {
			t.Errorf("began at %v, %v", start, began)
		}
	})
}

// An agent of which one task may run in the mesh calls itself.
func TestAnAgentOfWhichOneMayRunCallsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(chain(1, 1))
		v := m.End(m.Create(`{"agent":"chain","input":5}`))
		if v.Status != "completed" || string(v.Result) != `"5 4 3 2 1 end"` || v.Attempt != 1 {
			t.Errorf("%+v %+v", v, v.Error)
		}
	})
}

// What earlier waits came to is known to every later run; two questions may be open at
// once, and the task is asked for each.
func TestEachWaitIsWaitedForOnceHoweverOftenTheHandlerRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("waits", func(ctx context.Context, job *agent.Job) (any, error) {
			first, err := agent.Ask[int](ctx, job, "amount", agent.Question{Timeout: time.Hour})
			if err != nil {
				return nil, err
			}
			if err := job.Sleep(ctx, 10*time.Minute); err != nil {
				return nil, err
			}
			var a, b int
			var errA, errB error
			var both sync.WaitGroup
			both.Go(func() { a, errA = agent.Ask[int](ctx, job, "a", agent.Question{}) })
			both.Go(func() { b, errB = agent.Ask[int](ctx, job, "b", agent.Question{}) })
			both.Wait()
			if err := errors.Join(errA, errB); err != nil {
				return nil, err
			}
			again, err := agent.WaitEvent[int](ctx, job, "amount", time.Hour)
			return []int{first, a, b, again}, err
		}))
		id, began := m.Create(`{"agent":"waits","input":1}`), time.Now()
		waits := func(names ...string) {
			t.Helper()
			record(t, m, id, func(r *task.Task) bool {
				return r.Suspended && len(r.Waits) == len(names) && !r.NotBefore.IsZero() && !slices.ContainsFunc(r.Waits, func(w task.Wait) bool { return !slices.Contains(names, w.Name) })
			})
		}
		say := func(name, value string) {
			t.Helper()
			if err := answer(t, m, id, name, value); err != nil {
				t.Fatal(err)
			}
		}
		waits("amount")
		say("", "1")
		waits("sleep")
		time.Sleep(10 * time.Minute)
		waits("a", "b")
		if len(m.Get(id).Questions) != 2 || time.Since(began) < 10*time.Minute {
			t.Errorf("after %v: %+v", time.Since(began), m.Get(id).Questions)
		}
		if err := answer(t, m, id, "", "0"); err == nil {
			t.Error("an answer without a name was taken for one of two")
		}
		say("b", "3")
		waits("a")
		say("a", "2")
		waits("amount")
		say("amount", "4")
		if v := m.End(id); string(v.Result) != "[1,2,3,4]" || v.Attempt != 1 {
			t.Errorf("%+v %+v", v, v.Error)
		}
		time.Sleep(10 * time.Second) // a schedule that an answer has overtaken fires a second later, and finds nothing to do
		if n, err := m.Store.Tasks.Queued(t.Context()); err != nil || n != 0 {
			t.Errorf("%d messages are left, %v", n, err)
		}
	})
}
