package gateway_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
)

// A child that is retried is a child again: in its parent's trace, with its
// deadline, and canceled with it. So is one that its parent retries by its own
// request.
func TestARetriedChildStaysWithItsParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var runs atomic.Int32
		children := make(chan string, 3)
		m.Work(meshtest.Named("parent", func(ctx context.Context, job *agent.Job) (any, error) {
			old := m.Create(`{"agent":"child","instruction":"fail"}`, "Mesh-Parent-Task", job.TaskID)
			m.End(old)
			children <- old
			for range 2 { // an equal request is another retry
				w := m.Do("POST", "/tasks/"+old+"/retry", "", "Mesh-Parent-Task", job.TaskID)
				if w.Code != http.StatusAccepted {
					t.Errorf("retry under the parent = %d %s", w.Code, w.Body)
				}
				children <- meshtest.Decode[client.Task](t, w.Body).TaskID
			}
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}), meshtest.Named("child", func(ctx context.Context, job *agent.Job) (any, error) {
			if runs.Add(1) > 1 {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}
			return nil, agent.Permanent(errors.New("it fails"))
		}))
		deadline := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		parent := m.Create(`{"agent":"parent","instruction":"x","deadline":"` + deadline + `"}`)
		old, first, second := <-children, <-children, <-children
		if first == second || first == old {
			t.Errorf("the retries of %s are %s and %s", old, first, second)
		}
		byHand := meshtest.Decode[client.Task](t, m.Do("POST", "/tasks/"+old+"/retry", "", "Idempotency-Key", "again").Body).TaskID
		if again := meshtest.Decode[client.Task](t, m.Do("POST", "/tasks/"+old+"/retry", "", "Idempotency-Key", "again").Body).TaskID; again != byHand {
			t.Errorf("a repeat is %s, not %s", again, byHand)
		}
		want := m.Get(parent)
		for _, id := range []string{first, second, byHand} {
			for m.Get(id).Status == "pending" { // its claim is on its way
				time.Sleep(time.Millisecond)
			}
			v, rec := m.Get(id), m.Record(id)
			if v.ParentID != parent || v.TraceID != want.TraceID || rec.Deadline.IsZero() || v.RetriedFrom != old || len(rec.Callers) != 1 {
				t.Errorf("%+v with deadline %v and callers %v", v, rec.Deadline, rec.Callers)
			}
		}
		m.Do("POST", "/tasks/"+parent+"/cancel", "")
		for _, id := range []string{first, second, byHand} {
			if v := m.End(id); v.Status != "canceled" {
				t.Errorf("after its parent's cancel: %+v", v)
			}
		}
		// Under a canceled parent nothing runs: a retry then stands alone.
		alone := meshtest.Decode[client.Task](t, m.Do("POST", "/tasks/"+old+"/retry", "").Body).TaskID
		if v := m.Get(alone); v.ParentID != "" {
			t.Errorf("under a canceled parent: %+v", v)
		}
	})
}
