package worker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// ran counts how often each step's function has run.
type ran struct {
	mu   sync.Mutex
	n    map[string]int
	keys map[string]string
}

// step is a step that returns its name and counts.
func (r *ran) step(ctx context.Context, job *agent.Job, name string, opts ...agent.StepOption) (string, error) {
	return agent.Step(ctx, job, name, func(_ context.Context, s agent.StepInfo) (string, error) {
		r.count(s)
		return name + " done", nil
	}, opts...)
}

func (r *ran) count(s agent.StepInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == nil {
		r.n, r.keys = map[string]int{}, map[string]string{}
	}
	r.n[s.Name]++
	r.keys[s.Name] = s.IdempotencyKey
}

func (r *ran) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprint(r.n)
}

// dies is a mesh with a worker that can be cut off for good, as if it were killed.
func dies(t *testing.T, a agent.Agent) (m *meshtest.Mesh, kill func()) {
	m = meshtest.New(t)
	gate := &meshtest.Gate{Server: m.Server.Server}
	st := m.StoreThrough(gate)
	m.WorkWith(worker.Default(), st, a)
	frozen := false
	t.Cleanup(func() {
		if frozen {
			gate.Thaw()
		}
	})
	return m, func() { frozen = true; gate.Freeze() }
}

func names(entries []*task.Entry) (all []string) {
	for _, e := range task.Noted(entries) {
		all = append(all, fmt.Sprintf("%s %s %d", e.Kind, e.Name, e.N))
	}
	return all
}

// Row 1: kill -9 between steps 2 and 3.
func TestAStepThatHasFinishedIsNotRunAgainAfterAKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r ran
		reached, forever := make(chan struct{}), make(chan struct{})
		handler := func(ctx context.Context, job *agent.Job) (any, error) {
			for _, name := range []string{"one", "two"} {
				if got, err := r.step(ctx, job, name); err != nil || got != name+" done" {
					return nil, fmt.Errorf("%s: %q %w", name, got, err)
				}
			}
			if job.Attempt == 1 {
				close(reached)
				<-forever
			}
			return r.step(ctx, job, "three")
		}
		m, kill := dies(t, meshtest.WithRetry(meshtest.Named("a", handler)))
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		<-reached
		kill()
		m.Work(meshtest.WithRetry(meshtest.Named("a", handler)))
		v := m.End(id)
		if v.Status != "completed" || v.Attempt != 2 || r.String() != "map[one:1 three:1 two:1]" {
			t.Errorf("%s in attempt %d: %v, %+v", v.Status, v.Attempt, &r, v.Error)
		}
		close(forever)
	})
}

func TestStepsAreArchivedAndDroppedWhenTheTaskEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var r ran
		m.Work(meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			_, err := r.step(ctx, job, "one")
			return nil, errors.Join(err, job.Checkpoint(ctx, 7))
		}))
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		m.End(id)
		time.Sleep(time.Second)
		rec := m.Record(id)
		if rec.Steps == nil || rec.Steps.Count != 2 || rec.Steps.Object == "" || rec.Step.Name != "one" || rec.Step.Done != 1 {
			t.Fatalf("%+v %+v", rec.Steps, rec.Step)
		}
		text, err := m.Store.Artifacts.Read(t.Context(), task.Value{Object: rec.Steps.Object, Size: rec.Steps.Size})
		if err != nil {
			t.Error(err)
		}
		t.Logf("%s", text)
		left, err := m.Store.Steps.Journals(t.Context())
		if err != nil || len(left) != 0 {
			t.Errorf("%v, %v are left", left, err)
		}
	})
}
