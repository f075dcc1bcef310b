package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
	"agentmesh/shared/store"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

func says(text string) agent.Handler {
	return func(context.Context, *agent.Job) (any, error) { return text, nil }
}

// code of a problem.
func code(t *testing.T, w interface{ Result() *http.Response }) string {
	t.Helper()
	return decode[client.Problem](t, w.Result().Body).Code
}

func TestAnAgentGoesAwayWhenNobodyServesItAnyMore(t *testing.T) {
	m := newMesh(t)
	stop := m.work(named("old", says("x")))
	m.work(named("new", says("y")))
	m.end(m.create(`{"agent":"old","instruction":"x"}`))
	if w := m.do("DELETE", "/agents/old", ""); w.Code != 409 || code(t, w) != "agent_served" {
		t.Errorf("while it is served: %d %s", w.Code, w.Body)
	}
	stop()
	m.end(m.create(`{"agent":"new","instruction":"x"}`))
	other := m.newGateway(m.st) // it must know, too
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = other.Run(ctx) }()
	eventually(t, 5*time.Second, "the other gateway knows the agent", func() bool {
		return call(other.Handler(), "POST", "/tasks", `{"agent":"old","delay":"9h","instruction":"x"}`).Code == 202
	})
	counted := func() bool {
		c, err := m.st.Census(t.Context())
		return err != nil || slices.ContainsFunc(c.Agents, func(q store.AgentQueue) bool { return q.Agent == "old" })
	}
	if !counted() {
		t.Error("it had no consumer")
	}
	if w := m.do("DELETE", "/agents/old", ""); w.Code != 204 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if counted() {
		t.Error("its consumers are left behind")
	}
	if list := decode[api.AgentList](t, m.do("GET", "/agents", "").Body); len(list.Agents) != 1 || list.Agents[0].Name != "new" {
		t.Errorf("agents are %+v", list.Agents)
	}
	eventually(t, 5*time.Second, "the other gateway has forgotten it", func() bool {
		return call(other.Handler(), "POST", "/tasks", `{"agent":"old","instruction":"x"}`).Code == 404
	})
	for _, req := range [][2]string{{"POST", "/tasks"}, {"GET", "/agents/old"}, {"DELETE", "/agents/old"}, {"DELETE", "/agents/Not-a-Name"}, {"POST", "/sessions"}} {
		if w := m.do(req[0], req[1], `{"agent":"old","instruction":"x"}`, "Prefer", "handling=lenient"); w.Code != 404 || code(t, w) != "agent_not_found" {
			t.Errorf("%s %s = %d %s", req[0], req[1], w.Code, w.Body)
		}
	}
	m.work(named("old", says("again")))
	var w *httptest.ResponseRecorder
	eventually(t, 5*time.Second, "it is back", func() bool {
		w = m.do("POST", "/tasks", `{"agent":"old","instruction":"x"}`)
		return w.Code == 202
	})
	if v := m.end(decode[client.Task](t, w.Body).TaskID); string(v.Result) != `"again"` {
		t.Errorf("it came back as %+v", v)
	}
}

// A task that waits for a removed agent stays in the queue, says why it waits,
// and runs when somebody serves the name again.
func TestRemovingAnAgentLosesNothingThatWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		fails := named("a", func(context.Context, *agent.Job) (any, error) { return nil, agent.Permanent(context.Canceled) })
		stop := m.work(fails)
		failed := m.create(`{"agent":"a","instruction":"x"}`)
		m.end(failed)
		session := decode[client.Session](t, m.do("POST", "/sessions", `{"agent":"a"}`).Body).SessionID
		stop()
		ids := []string{m.create(`{"agent":"a","instruction":"1"}`), m.create(`{"agent":"a","instruction":"2"}`), m.create(`{"agent":"a","delay":"1h","instruction":"3"}`)}
		turn := decode[client.Turn](t, m.do("POST", "/sessions/"+session+"/messages", `{"text":"hello"}`, "Prefer", "respond-async").Body).TurnID
		w := m.do("DELETE", "/agents/a", "")
		if left := decode[api.RemovedAgent](t, w.Body); w.Code != 200 || left.Waiting != 3 || !strings.Contains(left.Warning, "go on waiting") {
			t.Errorf("DELETE = %d %+v", w.Code, left)
		}
		if w := m.do("POST", "/tasks/"+failed+"/retry", ""); w.Code != 404 || code(t, w) != "agent_not_found" {
			t.Errorf("a retry for nobody: %d %s", w.Code, w.Body)
		}
		time.Sleep(2 * time.Hour)
		for _, id := range ids {
			if v := m.get(id); v.Status != "pending" || v.Waiting == nil || v.Waiting.Reason != "no_live_worker" {
				t.Errorf("%s is %s, waiting %+v", id, v.Status, v.Waiting)
			}
		}
		m.work(named("a", says("done")))
		for _, id := range append(ids, turn) {
			if v := m.end(id); v.Status != "completed" {
				t.Errorf("%s is %+v", id, v)
			}
		}
	})
}

// A scheduled task whose agent is removed with nothing in the queue comes due
// without a consumer; it waits like any other.
func TestAScheduledTaskOutlivesItsAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(named("a", says("x")))()
		id := m.create(`{"agent":"a","delay":"1h","instruction":"x"}`)
		if w := m.do("DELETE", "/agents/a", ""); w.Code != 204 {
			t.Fatalf("DELETE = %d %s", w.Code, w.Body)
		}
		time.Sleep(2 * time.Hour)
		if v := m.get(id); v.Waiting == nil || v.Waiting.Reason != "no_live_worker" {
			t.Errorf("it waits because of %+v", v.Waiting)
		}
		m.work(named("a", says("late")))
		if v := m.end(id); string(v.Result) != `"late"` {
			t.Errorf("it came to %+v", v)
		}
	})
}

func TestATaskForAnAgentUnservedForADayComesWithAWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		stop := m.work(named("a", says("x")))
		accept := func(path, body string) client.Task {
			w := m.do("POST", path, body)
			if w.Code != 202 {
				t.Fatalf("POST %s = %d %s", path, w.Code, w.Body)
			}
			return decode[client.Task](t, w.Body)
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
		session := decode[client.Session](t, m.do("POST", "/sessions", `{"agent":"a"}`).Body).SessionID
		w := m.do("POST", "/sessions/"+session+"/messages", `{"text":"hello"}`, "Prefer", "respond-async")
		if turn := decode[api.AcceptedTurn](t, w.Body); w.Code != 202 || turn.Warning == "" {
			t.Errorf("a turn: %d, %q", w.Code, turn.Warning)
		}
		m.work(named("a", says("x")))
		time.Sleep(2 * time.Second)
		if v := accept("/tasks", body); v.Warning != "" {
			t.Errorf("served again: %q", v.Warning)
		}
	})
}

// Two workers that serve different definitions by one name, without versions:
// both say so, and the definition does not change to and fro.
func TestTwoDefinitionsOfOneAgentAreAConflictInBothLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		start := func(schema string) (log *transcript, stop func()) {
			a := named("a", says("x"))
			a.InputSchema = json.RawMessage(schema)
			log = &transcript{}
			ctx, cancel := context.WithCancel(t.Context())
			w, err := worker.New(ctx, worker.Default(), m.st, []agent.Agent{a}, slog.New(slog.NewTextHandler(log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- w.Run(ctx) }()
			synctest.Wait()
			return log, func() { cancel(); <-done }
		}
		known := func() api.Agent { return decode[api.Agent](t, m.do("GET", "/agents/a", "").Body) }
		schemaNow := func() string {
			return string(decode[api.AgentList](t, m.do("GET", "/agents", "").Body).Agents[0].InputSchema)
		}
		first, stopFirst := start(`{"type":"object"}`)
		if known().Conflict {
			t.Error("one worker is a conflict")
		}
		second, stopSecond := start(`{"type":"string"}`)
		defer stopSecond()
		_, stopThird := start(`{"type":"object"}`)
		stopThird()
		for range 5 { // within the age limit of a presence, see natstest
			time.Sleep(10 * time.Second)
			if v := known(); !v.Conflict || v.LiveWorkers != 2 {
				t.Fatalf("it is %+v", v)
			}
			if s := schemaNow(); s != `{"type":"object"}` {
				t.Fatalf("the schema changed to %s", s)
			}
		}
		const said = "another worker serves a different definition"
		for name, log := range map[string]*transcript{"first": first, "second": second} {
			if n := strings.Count(log.String(), said); n != 1 {
				t.Errorf("the %s worker said it %d times:\n%s", name, n, log)
			}
		}
		stopFirst()
		time.Sleep(31 * time.Second)
		if v := known(); v.Conflict || schemaNow() != `{"type":"string"}` {
			t.Errorf("when the first is gone: %+v", v)
		}
	})
}
