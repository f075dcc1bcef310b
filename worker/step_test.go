package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
		if n := strings.Count(string(text), "\n"); n != 2 {
			t.Errorf("%d lines: %s", n, text)
		}
		left, err := m.Store.Steps.Journals(t.Context())
		if err != nil || len(left) != 0 {
			t.Errorf("%v, %v are left", left, err)
		}
	})
}

// Row 9: cancel while asleep. Nobody is started, and the journal is archived.
func TestTheJournalOfATaskThatIsCanceledAsleepIsArchived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var r ran
		m.Work(meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			if _, err := r.step(ctx, job, "one"); err != nil {
				return nil, err
			}
			return nil, job.Sleep(ctx, time.Hour)
		}))
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		record(t, m, id, func(rec *task.Task) bool { return rec.Suspended })
		m.Do("POST", "/tasks/"+id+"/cancel", "")
		time.Sleep(time.Second)
		rec := m.Record(id)
		left, err := m.Store.Steps.Journals(t.Context())
		if rec.Status != task.Canceled || rec.Steps == nil || rec.Steps.Count != 1 || err != nil || len(left) != 0 {
			t.Errorf("%s, %+v; %d journals are left, %v", rec.Status, rec.Steps, len(left), err)
		}
	})
}

// Rows 18 and 19: new code renames a step and asks for another one no more. A failure
// for good is remembered; a step in a step and one of the same name at once are told.
func TestStepsOfNewCodeRunAndOldOnesAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var r ran
		var nested *agent.Error
		m.Work(meshtest.WithRetry(meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			if job.Attempt == 1 {
				_, _ = r.step(ctx, job, "old")
				_, _ = r.step(ctx, job, "kept")
			} else {
				_, _ = r.step(ctx, job, "kept")
				_, _ = r.step(ctx, job, "new")
			}
			_, err := agent.Step(ctx, job, "outer", func(ctx context.Context, s agent.StepInfo) (string, error) {
				r.count(s)
				return r.step(ctx, job, "inner")
			})
			errors.As(err, &nested)
			v, err := agent.Step(ctx, job, "large", func(_ context.Context, s agent.StepInfo) (string, error) {
				r.count(s)
				return strings.Repeat("x", 1<<20), nil
			})
			if err != nil || len(v) != 1<<20 {
				return nil, agent.Permanent(fmt.Errorf("large: %d bytes, %w", len(v), err))
			}
			if job.Attempt == 1 {
				return nil, errors.New("once more")
			}
			return nil, nil
		})))
		v := m.End(m.Create(`{"agent":"a","instruction":"x"}`))
		if v.Status != "completed" || r.String() != "map[kept:1 large:1 new:1 old:1 outer:1]" {
			t.Errorf("%s: %v, %+v", v.Status, &r, v.Error)
		}
		if nested == nil || nested.Code != task.CodeStepNested || !nested.Permanent {
			t.Errorf("a step in a step: %+v", nested)
		}
	})
}
