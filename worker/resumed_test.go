package worker_test

import (
	"context"
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
