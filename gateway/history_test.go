package gateway_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

func history(m *meshtest.Mesh, query string) api.StatsHistory {
	m.T.Helper()
	w := m.Do("GET", "/stats/history"+query, "")
	if w.Code != 200 {
		m.T.Fatalf("GET /stats/history%s = %d %s", query, w.Code, w.Body)
	}
	return meshtest.Decode[api.StatsHistory](m.T, w.Body)
}

func total(h api.StatsHistory) (all api.HistoryCounts) {
	for _, p := range h.Points {
		all.Accepted, all.Completed, all.Failed, all.Canceled = all.Accepted+p.Accepted, all.Completed+p.Completed, all.Failed+p.Failed, all.Canceled+p.Canceled
	}
	return all
}

// The first who looks sees the minutes before, and then what happens: each task once,
// also one that began before and ends after; and who called whom.
func TestTheHistoryCountsEachTaskOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		release := make(chan struct{})
		m.Work(
			meshtest.Named("slow", func(context.Context, *agent.Job) (any, error) { time.Sleep(3 * time.Second); return "ok", nil }),
			meshtest.Named("holds", func(context.Context, *agent.Job) (any, error) { <-release; return "ok", nil }),
			meshtest.Named("fails", func(context.Context, *agent.Job) (any, error) { return nil, agent.Permanent(errors.New("no")) }),
			meshtest.Named("calls", func(ctx context.Context, job *agent.Job) (any, error) {
				_, err := job.Call(ctx, "slow", 1)
				_, _ = job.Call(ctx, "fails", 1)
				return "ok", err
			}))
		for range 4 {
			m.Create(`{"agent":"slow","instruction":"x"}`)
		}
		m.Create(`{"agent":"holds","instruction":"x"}`)
		m.Create(`{"agent":"calls","instruction":"x"}`)
		time.Sleep(2 * time.Minute)
		before := history(m, "")
		if all := total(before); all.Accepted != 8 || all.Completed != 6 || all.Failed != 1 || all.Canceled != 0 || before.Filling || len(before.Points) != 90 {
			t.Errorf("before anybody looked: %+v, filling %v, %d points", all, before.Filling, len(before.Points))
		}
		if len(before.Calls) != 2 || before.Calls[0] != (api.HistoryCalls{Caller: "calls", Callee: "fails", Calls: 1, Failed: 1}) || before.Calls[1].Callee != "slow" || before.Calls[1].Failed != 0 {
			t.Errorf("calls %+v", before.Calls)
		}
		close(release)
		gone := m.Create(`{"agent":"slow","instruction":"x","delay":"1h"}`)
		m.Do("POST", "/tasks/"+gone+"/cancel", "")
		m.Create(`{"agent":"fails","instruction":"x"}`)
		time.Sleep(time.Minute)
		after := history(m, "?since=5m&step=1m")
		if all := total(after); all.Accepted != 10 || all.Completed != 7 || all.Failed != 2 || all.Canceled != 1 || len(after.Points) != 5 || after.Step != 60 {
			t.Errorf("while somebody looks: %+v, %d points", all, len(after.Points))
		}
		if now := after.Points[4].Now; now == nil || now.Waiting != 0 || after.Points[0].Now != nil {
			t.Errorf("what waits: %+v, and before anybody looked %+v", now, after.Points[0].Now)
		}
		if one := history(m, "?agent=slow"); len(one.Agents) != 1 || one.Agents[0].Completed != 5 || one.Agents[0].P50 < 2700 || one.Agents[0].P95 > 3300 {
			t.Errorf("one agent: %+v", one.Agents)
		}
		time.Sleep(11 * time.Minute) // it ends, since nobody looks
		m.Create(`{"agent":"slow","instruction":"x"}`)
		time.Sleep(10 * time.Second)
		if all := total(history(m, "?since=1m")); all.Accepted != 1 || all.Completed != 1 {
			t.Errorf("when it begins again: %+v", all)
		}
		for _, query := range []string{"?since=1s", "?since=2h", "?step=7s", "?step=1h", "?since=soon", "?agent=A"} {
			if w := m.Do("GET", "/stats/history"+query, ""); w.Code != 400 || meshtest.Problem(t, w).Code != "bad_query" {
				t.Errorf("%s = %d %s", query, w.Code, w.Body)
			}
		}
	})
}

// What was changed often counts once, and what is older than the minutes not at all.
func TestTheHistoryReadsBackwardsWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		put(m, func(t *task.Task) { t.CreatedAt = t.CreatedAt.Add(-time.Hour) }) // it was made before
		time.Sleep(20 * time.Minute)
		r := put(m, func(t *task.Task) { t.Status = task.Processing })
		for range 20 {
			r.Message += "x"
			if err := m.Store.Tasks.Save(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		if all := total(history(m, "?since=30m")); all.Accepted != 1 || all.Completed != 0 {
			t.Errorf("%+v", all)
		}
	})
}
