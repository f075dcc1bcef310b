package worker_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// Acknowledgements that are lost, as while a leader changes, leave messages with the
// consumer that nobody works on. They hold no place for longer than a lease, and
// nothing runs twice.
func TestLostAcksHoldNoPlaceForLongerThanALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var runs atomic.Int32
		a := meshtest.Named("a", func(_ context.Context, job *agent.Job) (any, error) { runs.Add(1); return "done", nil })
		a.Concurrency, a.MaxInFlight = 4, 4
		m.Work(a)
		synctest.Wait()
		account := m.Server.GlobalAccount()
		if err := account.AddMapping("$JS.ACK.>", "lost.>"); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			if got := m.End(m.Create(`{"agent":"a","input":1}`)); got.Status != string(task.Completed) {
				t.Errorf("%+v", got)
			}
		}
		time.Sleep(time.Second)
		if n := m.Queued(); n != 4 {
			t.Fatalf("%d messages are in the queue, want the 4 whose acknowledgement was lost", n)
		}
		account.RemoveMapping("$JS.ACK.>")
		began := time.Now()
		if got := m.End(m.Create(`{"agent":"a","input":2}`)); got.Status != string(task.Completed) || time.Since(began) > 45*time.Second {
			t.Errorf("the next task: %+v after %v", got, time.Since(began))
		}
		time.Sleep(time.Minute)
		if n := m.Queued(); n != 0 || runs.Load() != 5 {
			t.Errorf("%d messages are left after %d runs of 5 tasks", n, runs.Load())
		}
	})
}
