package worker_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
)

// An attempt that is so quick that it is not claimed first is retried like any
// other, and not only when its lease has lapsed.
func TestQuickFailureIsRetriedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.WithRetry(meshtest.Named("quick", func(_ context.Context, job *agent.Job) (any, error) {
			if job.Instruction == "fail" && job.Attempt == 1 {
				return nil, errors.New("once")
			}
			return "done", nil
		})))
		for range 10 { // it earns the shortcut
			m.End(m.Create(`{"agent":"quick","instruction":"x"}`))
		}
		began := time.Now()
		v := m.End(m.Create(`{"agent":"quick","instruction":"fail"}`))
		if took := time.Since(began); v.Status != "completed" || v.Attempt != 2 || took > time.Second {
			t.Errorf("%s in attempt %d after %v", v.Status, v.Attempt, took)
		}
		if len(v.Attempts) != 2 || v.Attempts[0].Outcome != "retried" || v.Attempts[0].Error == nil || v.Attempts[0].Error.Message != "once" || v.Attempts[1].Outcome != "completed" {
			t.Errorf("attempts %+v", v.Attempts)
		}
	})
}

// A message that was left over when its task had ended is let go, and the worker
// goes on.
func TestAMessageLeftOverAfterItsTaskIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("any", func(context.Context, *agent.Job) (any, error) { return 1, nil }))
		id := m.Create(`{"agent":"any","instruction":"x"}`)
		m.End(id)
		over := m.Record(id)
		if _, err := m.Store.Tasks.Enqueue(t.Context(), over); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if n := m.Queued(); n != 0 || m.Record(id).Rev != over.Rev {
			t.Errorf("%d messages are left, the record is at %d, was at %d", n, m.Record(id).Rev, over.Rev)
		}
		m.End(m.Create(`{"agent":"any","instruction":"x"}`))
	})
}
