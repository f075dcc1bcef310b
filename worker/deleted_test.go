package worker_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// A task that was canceled may be deleted while its agent still stops. Nobody waits for
// its message any more: kept for the rest of a lease, it would hold max_in_flight, and
// the worker would take its lease for lost.
func TestTheMessageOfADeletedTaskIsLetGo(t *testing.T) {
	cancel := func(m *meshtest.Mesh, id string) {
		if w := m.Do("POST", "/tasks/"+id+"/cancel", ""); w.Code != http.StatusOK {
			m.T.Errorf("cancel = %d %s", w.Code, w.Body)
		}
	}
	unheard := func(m *meshtest.Mesh, id string) { // a signal is sent at most once
		rec := m.Record(id)
		if err := rec.To(task.Canceled, time.Now()); err != nil {
			m.T.Fatal(err)
		}
		if err := m.Store.Tasks.Save(m.T.Context(), rec); err != nil {
			m.T.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		cancel func(*meshtest.Mesh, string)
		ends   time.Duration // after the deletion: what the agent makes of its end
		looks  bool          // it ends when its worker has looked at its record
	}{
		{"while its agent stops", cancel, 2 * time.Second, true},
		{"before its worker hears of the cancel", unheard, 0, true},
		{"before its agent completes", unheard, 2 * time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := meshtest.New(t)
				deleted := make(chan struct{})
				a := meshtest.Named("long", func(ctx context.Context, job *agent.Job) (any, error) {
					if job.Instruction == "next" {
						return "done", nil
					}
					if c.looks {
						<-ctx.Done()
					}
					<-deleted
					time.Sleep(c.ends)
					return "late", context.Cause(ctx)
				})
				a.Concurrency, a.MaxInFlight = 2, 1
				m.Work(a)
				id := m.Create(`{"agent":"long","instruction":"x"}`)
				time.Sleep(time.Second) // it is claimed
				c.cancel(m, id)
				if w := m.Do("DELETE", "/tasks/"+id, ""); w.Code != http.StatusNoContent {
					t.Fatalf("delete = %d %s", w.Code, w.Body)
				}
				close(deleted)
				next := m.Create(`{"agent":"long","instruction":"next"}`)
				time.Sleep(12 * time.Second) // a worker looks at a record after a third of a lease
				if got := m.Get(next); got.Status != "completed" {
					t.Errorf("the next task is %s", got.Status)
				}
				if n := m.Queued(); n != 0 {
					t.Errorf("%d messages in the queue", n)
				}
				if w := m.Do("GET", "/tasks/"+id, ""); w.Code != http.StatusNotFound {
					t.Errorf("the deleted task = %d %s", w.Code, w.Body)
				}
			})
		})
	}
}
