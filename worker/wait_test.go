package worker_test

import (
	"context"
	"encoding/json"
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
		time.Sleep(time.Second) // the journal ends before the message
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
