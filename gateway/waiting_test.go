package gateway_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// A pending task says why it does not run.
func TestAPendingTaskSaysWhyItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		open := make(chan struct{})
		limited := meshtest.Named("limited", func(ctx context.Context, _ *agent.Job) (any, error) {
			select {
			case <-open:
			case <-ctx.Done():
			}
			return nil, nil
		})
		limited.MaxInFlight, limited.Concurrency = 2, 1
		flaky := meshtest.Named("flaky", func(context.Context, *agent.Job) (any, error) { return nil, errors.New("not today") })
		flaky.Retry = agent.Retry{Backoff: task.Duration(time.Hour), MaxBackoff: task.Duration(time.Hour)}
		stop := m.Work(limited, flaky)

		reason := func(id string) client.Waiting {
			t.Helper()
			time.Sleep(1500 * time.Millisecond) // the gateway's count of the line is a second old at most
			v := m.Get(id)
			if v.Waiting == nil {
				t.Fatalf("task %s is %s and does not say why it waits", id, v.Status)
			}
			return *v.Waiting
		}
		var held []string
		for range 5 {
			held = append(held, m.Create(`{"agent":"limited","instruction":"x"}`))
		}
		// One slot: one runs, and four are in line.
		if w := reason(held[3]); w.Reason != "queued" || w.Position != 3 || *w.LiveWorkers != 1 || w.Limit != 2 {
			t.Errorf("behind others: %+v", w)
		}
		if v := m.Get(held[0]); v.Waiting != nil || v.Status != "processing" {
			t.Errorf("the one that runs: %s %+v", v.Status, v.Waiting)
		}
		second := m.WorkWith(worker.Default(), m.Store, limited)
		if w := reason(held[3]); w.Reason != "mesh_limit" || w.Position != 2 || w.Limit != 2 || *w.LiveWorkers != 2 {
			t.Errorf("at the limit: %+v", w)
		}
		later := m.Create(`{"agent":"limited","instruction":"x","delay":"1h"}`)
		if w := reason(later); w.Reason != "scheduled" || time.Until(w.NextAttempt) > time.Hour || time.Until(w.NextAttempt) < 50*time.Minute {
			t.Errorf("scheduled: %+v", w)
		}
		fails := m.Create(`{"agent":"flaky","instruction":"x"}`)
		if w := reason(fails); w.Reason != "retrying" || w.NextAttempt.IsZero() {
			t.Errorf("retrying: %+v", w)
		}
		if v := m.Get(fails); len(v.Attempts) != 1 || v.Attempts[0].Outcome != "retried" || v.Attempts[0].Error == nil || v.Attempts[0].Error.Message != "not today" || v.Attempts[0].StartedAt.IsZero() {
			t.Errorf("attempts: %+v", v.Attempts)
		}
		close(open)
		for _, id := range held {
			m.End(id)
		}
		second()
		stop()
		orphan := m.Create(`{"agent":"limited","instruction":"x"}`)
		if w := reason(orphan); w.Reason != "no_live_worker" || *w.LiveWorkers != 0 || w.Position != 1 {
			t.Errorf("nobody serves it: %+v", w)
		}
	})
}

// The numbers shown are the server's, for one task and for the whole mesh.
func TestStatsAreWhatTheServerCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		open := make(chan struct{})
		a := meshtest.Named("slow", func(ctx context.Context, _ *agent.Job) (any, error) {
			select {
			case <-open:
			case <-ctx.Done():
			}
			return nil, nil
		})
		a.Concurrency = 2
		m.Work(a)
		for range 5 {
			m.Create(`{"agent":"slow","instruction":"x"}`)
		}
		m.Create(`{"agent":"slow","instruction":"x","delay":"1h"}`)
		time.Sleep(80 * time.Second)
		w := m.Do("GET", "/stats", "")
		if w.Code != http.StatusOK {
			t.Fatalf("GET /stats = %d %s", w.Code, w.Body)
		}
		s := meshtest.Decode[client.Stats](t, w.Body)
		if len(s.Agents) != 1 || s.Scheduled != 1 || len(s.Workers) != 1 || s.Workers[0].Slots != 2 || s.Storage.Used == 0 {
			t.Fatalf("%+v", s)
		}
		if seen := s.At.Sub(s.Workers[0].SeenAt); seen < 0 || seen > 31*time.Second {
			t.Errorf("the worker was seen %v before", seen)
		}
		if got := s.Agents[0]; got.Waiting != 3 || got.InFlight != 2 || got.OldestAge < 79 || got.OldestAge > 85 || got.LiveWorkers != 1 || got.Slots != 2 || got.Limit != 1000 {
			t.Errorf("%+v", got)
		}
		close(open)
	})
}
