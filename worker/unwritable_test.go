package worker_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// A task whose record has no room for its end, when its last attempt was that of a worker
// that died, ends with less in it.
func TestARecordWithoutRoomForItsEndEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.NewOn(t, natstest.StartWith(t, server.Options{StoreDir: t.TempDir(), MaxPayload: 128 << 10}))
		a := agent.Agent{Definition: agent.Definition{Name: "a", Retry: agent.Retry{MaxAttempts: 1}}, Handler: func(context.Context, *agent.Job) (any, error) {
			return nil, errors.New("run again")
		}}
		m.Work(a)()
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		rec, err := m.Store.Tasks.Find(t.Context(), "default", task.ID(id))
		if err != nil {
			t.Fatal(err)
		}
		rec.Attempt, rec.Lease = 1, &task.Lease{Worker: "wrk_dead", Seq: rec.QueueSeq}
		if err := rec.To(task.Processing, time.Now()); err != nil {
			t.Fatal(err)
		}
		for n := 128 << 10; ; n -= 50 { // as much as fits
			rec.Output = strings.Repeat("x", n)
			if err := m.Store.Tasks.Save(t.Context(), rec); err == nil {
				break
			} else if !errors.Is(err, task.ErrTooLarge) {
				t.Fatal(err)
			}
		}
		m.Work(a)
		if got := m.End(id); got.Status != "failed" || got.Error == nil || got.Error.Code != task.CodeWorkerLost || got.Attempt != 1 {
			t.Errorf("%s in attempt %d: %+v", got.Status, got.Attempt, got.Error)
		}
	})
}
