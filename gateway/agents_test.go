package gateway_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/worker/agent"
)

func TestAnAgentGoesAwayWhenNobodyServesItAnyMore(t *testing.T) {
	m := meshtest.New(t)
	stop := m.Work(meshtest.Named("old", meshtest.Says("x")))
	m.Work(meshtest.Named("new", meshtest.Says("y")))
	m.End(m.Create(`{"agent":"old","instruction":"x"}`))
	if w := m.Do("DELETE", "/agents/old", ""); w.Code != 409 || meshtest.Code(t, w) != "agent_served" {
		t.Errorf("while it is served: %d %s", w.Code, w.Body)
	}
	stop()
	m.End(m.Create(`{"agent":"new","instruction":"x"}`))
	other := m.NewGateway(m.Store) // it must know, too
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = other.Run(ctx) }()
	natstest.Until(t, "the other gateway knows the agent", func() bool {
		return meshtest.Call(other.Handler(), "POST", "/tasks", `{"agent":"old","delay":"9h","instruction":"x"}`).Code == 202
	})
	counted := func() bool {
		c, err := m.Store.Census(t.Context())
		return err != nil || slices.ContainsFunc(c.Agents, func(q store.AgentQueue) bool { return q.Agent == "old" })
	}
	if !counted() {
		t.Error("it had no consumer")
	}
	if w := m.Do("DELETE", "/agents/old", ""); w.Code != 204 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if counted() {
		t.Error("its consumers are left behind")
	}
	if list := meshtest.Decode[api.AgentList](t, m.Do("GET", "/agents", "").Body); len(list.Agents) != 1 || list.Agents[0].Name != "new" {
		t.Errorf("agents are %+v", list.Agents)
	}
	natstest.Until(t, "the other gateway has forgotten it", func() bool {
		return meshtest.Call(other.Handler(), "POST", "/tasks", `{"agent":"old","instruction":"x"}`).Code == 404
	})
	for _, req := range [][2]string{{"POST", "/tasks"}, {"GET", "/agents/old"}, {"DELETE", "/agents/old"}, {"DELETE", "/agents/Not-a-Name"}, {"POST", "/sessions"}} {
		if w := m.Do(req[0], req[1], `{"agent":"old","instruction":"x"}`, "Prefer", "handling=lenient"); w.Code != 404 || meshtest.Code(t, w) != "agent_not_found" {
			t.Errorf("%s %s = %d %s", req[0], req[1], w.Code, w.Body)
		}
	}
	m.Work(meshtest.Named("old", meshtest.Says("again")))
	var w *httptest.ResponseRecorder
	natstest.Until(t, "it is back", func() bool {
		w = m.Do("POST", "/tasks", `{"agent":"old","instruction":"x"}`)
		return w.Code == 202
	})
	if v := m.End(meshtest.Decode[client.Task](t, w.Body).TaskID); string(v.Result) != `"again"` {
		t.Errorf("it came back as %+v", v)
	}
}

// A task that waits for a removed agent stays in the queue, says why it waits,
// and runs when somebody serves the name again.
func TestRemovingAnAgentLosesNothingThatWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		fails := meshtest.Named("a", func(context.Context, *agent.Job) (any, error) { return nil, agent.Permanent(context.Canceled) })
		stop := m.Work(fails)
		failed := m.Create(`{"agent":"a","instruction":"x"}`)
		m.End(failed)
		session := meshtest.Decode[client.Session](t, m.Do("POST", "/sessions", `{"agent":"a"}`).Body).SessionID
		stop()
		ids := []string{m.Create(`{"agent":"a","instruction":"1"}`), m.Create(`{"agent":"a","instruction":"2"}`), m.Create(`{"agent":"a","delay":"1h","instruction":"3"}`)}
		turn := meshtest.Decode[client.Turn](t, m.Do("POST", "/sessions/"+session+"/messages", `{"text":"hello"}`, "Prefer", "respond-async").Body).TurnID
		w := m.Do("DELETE", "/agents/a", "")
		if left := meshtest.Decode[api.RemovedAgent](t, w.Body); w.Code != 200 || left.Waiting != 3 || !strings.Contains(left.Warning, "go on waiting") {
			t.Errorf("DELETE = %d %+v", w.Code, left)
		}
		if w := m.Do("POST", "/tasks/"+failed+"/retry", ""); w.Code != 404 || meshtest.Code(t, w) != "agent_not_found" {
			t.Errorf("a retry for nobody: %d %s", w.Code, w.Body)
		}
		time.Sleep(2 * time.Hour)
		for _, id := range ids {
			if v := m.Get(id); v.Status != "pending" || v.Waiting == nil || v.Waiting.Reason != "no_live_worker" {
				t.Errorf("%s is %s, waiting %+v", id, v.Status, v.Waiting)
			}
		}
		m.Work(meshtest.Named("a", meshtest.Says("done")))
		for _, id := range append(ids, turn) {
			if v := m.End(id); v.Status != "completed" {
				t.Errorf("%s is %+v", id, v)
			}
		}
	})
}

// A scheduled task whose agent is removed with nothing in the queue comes due
// without a consumer; it waits like any other.
func TestAScheduledTaskOutlivesItsAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("a", meshtest.Says("x")))()
		id := m.Create(`{"agent":"a","delay":"1h","instruction":"x"}`)
		if w := m.Do("DELETE", "/agents/a", ""); w.Code != 204 {
			t.Fatalf("DELETE = %d %s", w.Code, w.Body)
		}
		time.Sleep(2 * time.Hour)
		if v := m.Get(id); v.Waiting == nil || v.Waiting.Reason != "no_live_worker" {
			t.Errorf("it waits because of %+v", v.Waiting)
		}
		m.Work(meshtest.Named("a", meshtest.Says("late")))
		if v := m.End(id); string(v.Result) != `"late"` {
			t.Errorf("it came to %+v", v)
		}
	})
}

func TestATaskForAnAgentUnservedForADayComesWithAWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		stop := m.Work(meshtest.Named("a", meshtest.Says("x")))
		accept := func(path, body string) client.Task {
			w := m.Do("POST", path, body)
			if w.Code != 202 {
				t.Fatalf("POST %s = %d %s", path, w.Code, w.Body)
			}
			return meshtest.Decode[client.Task](t, w.Body)
		}
		body := `{"agent":"a","instruction":"x","callback_url":"http://127.0.0.1:1/"}`
		time.Sleep(3 * time.Hour)
		stop()
		time.Sleep(23 * time.Hour)
		for _, path := range []string{"/tasks", "/actions"} {
			if v := accept(path, body); v.Warning != "" {
				t.Errorf("POST %s after 23 h: %q", path, v.Warning)
			}
		}
		time.Sleep(3 * time.Hour)
		for _, path := range []string{"/tasks", "/actions"} {
			if v := accept(path, body); !strings.Contains(v.Warning, "No worker has served the agent a since") {
				t.Errorf("POST %s after 26 h: %q", path, v.Warning)
			}
		}
		session := meshtest.Decode[client.Session](t, m.Do("POST", "/sessions", `{"agent":"a"}`).Body).SessionID
		w := m.Do("POST", "/sessions/"+session+"/messages", `{"text":"hello"}`, "Prefer", "respond-async")
		if turn := meshtest.Decode[api.AcceptedTurn](t, w.Body); w.Code != 202 || turn.Warning == "" {
			t.Errorf("a turn: %d, %q", w.Code, turn.Warning)
		}
		m.Work(meshtest.Named("a", meshtest.Says("x")))
		time.Sleep(2 * time.Second)
		if v := accept("/tasks", body); v.Warning != "" {
			t.Errorf("served again: %q", v.Warning)
		}
	})
}

// A request whose gateway died before the task was queued was not accepted: when its agent
// has gone since, a repeat has no task to answer with.
func TestARequestThatDiedIsNotRepeatedWhenItsAgentHasGone(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Counter())()
	st, hangUp, err := m.StoreOver(&meshtest.Wire{Server: m.Server.Server, Cut: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hangUp)
	dies := m.NewGateway(st).Handler()
	body, key := `{"agent":"counter","instruction":"x"}`, []string{"Idempotency-Key", "k"}
	if w := meshtest.Call(dies, "POST", "/tasks", body, key...); w.Code != http.StatusServiceUnavailable {
		t.Fatalf("first: %d %s", w.Code, w.Body)
	}
	if w := m.Do("DELETE", "/agents/counter", ""); w.Code != http.StatusNoContent {
		t.Fatalf("DELETE: %d %s", w.Code, w.Body)
	}
	if w := m.Do("POST", "/tasks", body, key...); w.Code != http.StatusNotFound {
		t.Errorf("repeat: %d %s", w.Code, w.Body)
	}
}
