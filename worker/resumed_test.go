package worker_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// A task that was suspended goes on with the attempt that it has: where it does not run
// again, because its parent was canceled meanwhile, it has had that one.
func TestASuspendedTaskUnderACanceledParentHasHadItsAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("sleep", func(ctx context.Context, job *agent.Job) (any, error) {
			return "slept", job.Sleep(ctx, 10*time.Minute)
		}))
		parent := m.Create(`{"agent":"sleep","input":1}`)
		record(t, m, parent, func(r *task.Task) bool { return r.Suspended })
		m.Do("POST", "/tasks/"+parent+"/cancel", "")
		id := m.Create(`{"agent":"sleep","input":1}`)
		rec := record(t, m, id, func(r *task.Task) bool { return r.Suspended })
		rec.ParentID = task.ID(parent) // the cancel did not know of it yet
		if err := m.Store.Tasks.Save(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		if v := m.End(id); v.Status != "canceled" || v.Attempt != 1 {
			t.Errorf("%s in attempt %d", v.Status, v.Attempt)
		}
	})
}

// An attempt that went on after a wait and is handed back at shutdown goes on once more,
// and takes no further one.
func TestAnAttemptHandedBackAfterAWaitGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		runs := 0
		a := meshtest.Named("sleep", func(ctx context.Context, job *agent.Job) (any, error) {
			runs++
			if err := job.Sleep(ctx, 10*time.Minute); err != nil {
				return nil, err
			}
			if runs == 2 { // while it works, it asks a question
				go func() { _, _ = agent.Ask[bool](ctx, job, "sure", agent.Question{}) }()
				_, _ = agent.Step(ctx, job, "work", func(ctx context.Context, _ agent.StepInfo) (any, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				})
				return nil, context.Cause(ctx)
			}
			return runs, nil
		})
		a.Retry.MaxAttempts = 1
		stop := m.Work(a)
		id := m.Create(`{"agent":"sleep","input":1}`)
		time.Sleep(10*time.Minute + time.Second)
		record(t, m, id, func(r *task.Task) bool { return r.Status == task.Processing && len(r.Questions()) == 1 })
		stop()
		if rec := m.Record(id); rec.Attempt != 1 || rec.Status != task.Pending {
			t.Errorf("handed back as %s in attempt %d", rec.Status, rec.Attempt)
		}
		began := time.Now()
		m.Work(a)
		v := m.End(id)
		if v.Status != "completed" || string(v.Result) != "3" || v.Attempt != 1 || time.Since(began) > time.Minute {
			t.Errorf("%s %s in attempt %d after %v: %+v", v.Status, v.Result, v.Attempt, time.Since(began), v.Error)
		}
		var outcomes []string
		for _, a := range v.Attempts {
			outcomes = append(outcomes, a.Outcome)
		}
		if want := []string{"suspended", "handed_back", "completed"}; !slices.Equal(outcomes, want) {
			t.Errorf("the runs were %v, want %v", outcomes, want)
		}
		time.Sleep(10 * time.Second)
		if n := m.Queued(); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}
