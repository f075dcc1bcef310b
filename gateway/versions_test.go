package gateway_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"agentmesh/gateway"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/echo"
)

// Whoever has the version of an answer that has one is told so, and only then.
func TestWhoeverHasTheVersionIsToldSo(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent(), meshtest.Counter())
	task := m.Create(`{"agent":"echo","input":{"a":1}}`)
	m.End(task)
	id := m.Session("counter")
	m.Say(http.StatusOK, id, "one")
	for _, path := range []string{"/tasks/" + task, "/tasks/" + task + "/result", "/sessions/" + id, "/sessions/" + id + "/messages"} {
		for _, path := range []string{path, "/v1" + path} {
			first := m.Do("GET", path, "")
			tag := first.Header().Get("ETag")
			if first.Code != http.StatusOK || tag == "" {
				t.Fatalf("GET %s = %d %v", path, first.Code, first.Header())
			}
			for _, known := range []string{tag, "W/" + tag, `"0", ` + tag, "*"} {
				for _, method := range []string{"GET", "HEAD"} {
					w := m.Do(method, path, "", "If-None-Match", known)
					if w.Code != http.StatusNotModified || w.Body.Len() > 0 || w.Header().Get("ETag") != tag {
						t.Errorf("%s %s with If-None-Match %s = %d %v %s", method, path, known, w.Code, w.Header(), w.Body)
					}
				}
			}
			if w := m.Do("GET", path, "", "If-None-Match", `"0"`); w.Code != http.StatusOK || w.Body.String() != first.Body.String() {
				t.Errorf("GET %s with another version = %d %s", path, w.Code, w.Body)
			}
		}
	}
	before := m.Do("GET", "/sessions/"+id, "").Header().Get("ETag")
	m.Say(http.StatusOK, id, "two")
	for _, path := range []string{"/sessions/" + id, "/sessions/" + id + "/messages"} {
		if w := m.Do("GET", path, "", "If-None-Match", before); w.Code != http.StatusOK {
			t.Errorf("GET %s after a turn = %d", path, w.Code)
		}
	}
}

// A turn that opens changes what is shown of a session and not its record: a copy from
// before is no longer that answer, and a write is for the record.
func TestAnOpenTurnIsAnotherAnswerOfTheSameSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		let := make(chan struct{})
		m.Work(meshtest.Named("failing", func(context.Context, *agent.Job) (any, error) {
			<-let
			return nil, agent.Permanent(errors.New("no"))
		}))
		id := m.Session("failing")
		ask := func(known string) (int, string) {
			w := m.Do("GET", "/sessions/"+id, "", "If-None-Match", known)
			return w.Code, w.Header().Get("ETag")
		}
		_, idle := ask(`"0"`)
		m.Say(http.StatusAccepted, id, "one", "Prefer", "respond-async")
		synctest.Wait()
		code, busy := ask(idle)
		if code != http.StatusOK || busy == idle {
			t.Errorf("while a turn is open: %d, %s and %s before", code, busy, idle)
		}
		if code, _ := ask(busy); code != http.StatusNotModified {
			t.Errorf("again: %d", code)
		}
		for _, tag := range []string{busy, idle} {
			w := m.Do("POST", "/sessions/"+id+"/messages", `{"text":"x"}`, "If-Match", tag)
			if p := meshtest.Problem(t, w); p.Code != "session_busy" {
				t.Errorf("a message for %s: %d %s", tag, w.Code, p.Code)
			}
		}
		close(let)
		m.Idle(id)
		if code, _ := ask(busy); code != http.StatusOK {
			t.Errorf("after the turn has failed: %d", code)
		}
		if w := m.Do("DELETE", "/sessions/"+id, "", "If-Match", busy); w.Code != http.StatusPreconditionFailed {
			t.Errorf("DELETE for the record of before = %d %s", w.Code, w.Body)
		}
	})
}

// An answer names every header that it depends on, once: a cache that misses one gives
// the answer of one page, or of one preference, to another.
func TestAnAnswerNamesAllThatItDependsOn(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent())
	id := m.Create(`{"agent":"echo","input":1}`)
	m.End(id)
	pages := with(m, func(c *gateway.Config) { c.CORSOrigins = "https://app.example.com, https://other.example.com" })
	for _, tt := range []struct{ method, path, body, prefer, want string }{
		{"GET", "/tasks/" + id, "", "", "Origin,Prefer"},
		{"POST", "/tasks", `{"agent":"echo","input":1}`, "", "Origin,Prefer"},
		{"GET", "/tasks/" + id + "/events", "", "", "Origin,Accept"},
		{"GET", "/", "", "", "Origin,Accept"},
		{"GET", "/agents", "", "", "Origin"},
		{"GET", "/agents?x=1", "", "handling=lenient", "Origin,Prefer"},
		{"GET", "/tasks/" + id, "", "handling=lenient", "Origin,Prefer"},
	} {
		w := meshtest.Call(pages, tt.method, tt.path, tt.body, "Origin", "https://app.example.com", "Prefer", tt.prefer)
		if got := strings.Join(w.Header()["Vary"], ","); got != tt.want || w.Code >= 300 {
			t.Errorf("%s %s with Prefer %q = %d, Vary %q, want %q", tt.method, tt.path, tt.prefer, w.Code, got, tt.want)
		}
	}
}
