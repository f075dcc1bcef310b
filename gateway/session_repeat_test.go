package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
)

// A repeat by Idempotency-Key is the same turn, while it runs, when it has ended,
// and when the session takes no more.
func TestARepeatedMessageIsTheSameTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var s meshtest.Slow
		m.Work(s.Agent(agent.Definition{Name: "slow", MaxTurns: 1, Greeting: "Hi"}))
		key := []string{"Idempotency-Key", `"k1"`}
		w := m.Do("POST", "/sessions", `{"agent":"slow"}`, key...)
		again := m.Do("POST", "/sessions", `{"agent":"slow"}`, key...)
		if w.Code != 201 || again.Code != 201 || w.Body.String() != again.Body.String() || again.Header().Get("Idempotent-Replayed") != "true" {
			t.Errorf("sessions: %d %s and %d %s", w.Code, w.Body, again.Code, again.Body)
		}
		id := meshtest.Decode[meshtest.SessionView](t, w.Body).SessionID

		async := append(slices.Clone(key), "Prefer", "respond-async")
		first := m.Say(http.StatusAccepted, id, "wait", async...)
		synctest.Wait()
		time.Sleep(3 * time.Minute) // past the server's own window
		if repeat := m.Say(http.StatusAccepted, id, "wait", async...); repeat.TurnID != first.TurnID {
			t.Errorf("repeat while it runs = %+v", repeat)
		}
		if w := m.Do("POST", "/sessions/"+id+"/messages", `{"text":"other"}`, key...); w.Code != 422 || !strings.Contains(w.Body.String(), "idempotency_key_reused") {
			t.Errorf("another message = %d %s", w.Code, w.Body)
		}
		close(s.Release)
		if repeat := m.Say(http.StatusOK, id, "wait", key...); repeat.TurnID != first.TurnID || repeat.Message != "done wait" {
			t.Errorf("repeat = %+v", repeat)
		}
		if w := m.Do("POST", "/sessions/"+id+"/messages", `{"text":"x"}`); !strings.Contains(w.Body.String(), "session_full") {
			t.Errorf("a further message = %d %s", w.Code, w.Body)
		}
		if repeat := m.Say(http.StatusOK, id, "wait", key...); repeat.TurnID != first.TurnID {
			t.Errorf("repeat in a full session = %+v", repeat)
		}
		if n := s.Begun.Load(); n != 1 || len(m.Transcript(id)) != 3 {
			t.Errorf("%d turns, transcript:\n%s", n, meshtest.Talk(m.Transcript(id)))
		}
	})
}

// A refused message is accepted by its repeat, as one turn.
func TestARefusedMessageIsAcceptedByItsRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var s meshtest.Slow
		m.Work(s.Agent(agent.Definition{Name: "slow"}))
		id := m.Session("slow")
		m.Say(http.StatusAccepted, id, "wait", "Prefer", "respond-async")
		synctest.Wait()
		if w := m.Do("POST", "/sessions/"+id+"/messages", `{"text":"b"}`, "Idempotency-Key", "k"); w.Code != http.StatusConflict {
			t.Errorf("busy = %d %s", w.Code, w.Body)
		}
		close(s.Release)
		synctest.Wait()
		one := m.Say(http.StatusOK, id, "b", "Idempotency-Key", "k")
		two := m.Say(http.StatusOK, id, "b", "Idempotency-Key", "k")
		if one.TurnID != two.TurnID || one.Message != "done b" || s.Begun.Load() != 2 {
			t.Errorf("%+v and %+v after %d turns", one, two, s.Begun.Load())
		}
	})
}

// A repeat that is quicker than its first request, at another gateway, makes the session
// for both: the first one has the same answer.
func TestARepeatThatIsQuickerMakesTheSession(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Counter())
	var quicker atomic.Pointer[func()]
	st, hangUp, err := m.StoreOver(&meshtest.Wire{Server: m.Server.Server, Before: func(subject string) {
		if strings.HasPrefix(subject, "$KV.sessions.") {
			if say := quicker.Swap(nil); say != nil {
				(*say)()
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hangUp)
	slow := m.NewGateway(st).Handler()
	old := m.Session("counter")
	m.Say(http.StatusOK, old, "x")
	for path, body := range map[string]string{"/sessions": `{"agent":"counter"}`, "/sessions/" + old + "/fork": `{}`} {
		var repeat *httptest.ResponseRecorder
		say := func() { repeat = m.Do("POST", path, body, "Idempotency-Key", "k") }
		quicker.Store(&say)
		first := meshtest.Call(slow, "POST", path, body, "Idempotency-Key", "k")
		if repeat == nil || first.Code != http.StatusCreated || repeat.Code != first.Code || repeat.Body.String() != first.Body.String() {
			t.Errorf("%s: %d %s, its repeat %+v", path, first.Code, first.Body, repeat)
		}
		id := meshtest.Decode[meshtest.SessionView](t, first.Body).SessionID
		if w := m.Do("GET", "/sessions/"+id, ""); w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// A repeat has the first answer, whatever has gone since that the request named.
func TestARepeatHasItsAnswerWhenWhatItNamedHasGone(t *testing.T) {
	m := meshtest.New(t)
	stop := m.Work(meshtest.Counter(), meshtest.Named("broken", func(context.Context, *agent.Job) (any, error) {
		return nil, agent.Permanent(errors.New("no"))
	}))
	old := m.Session("counter")
	m.Say(http.StatusOK, old, "x")
	failed := m.End(m.Create(`{"agent":"broken","instruction":"x"}`)).TaskID

	paths := []string{"/sessions", "/sessions/" + old + "/fork", "/tasks/" + failed + "/retry"}
	bodies := []string{`{"agent":"counter"}`, `{}`, ``}
	var first [3]*httptest.ResponseRecorder
	for i, path := range paths {
		if first[i] = m.Do("POST", path, bodies[i], "Idempotency-Key", "k"); first[i].Code/100 != 2 {
			t.Fatalf("%s: %d %s", path, first[i].Code, first[i].Body)
		}
	}
	m.End(meshtest.Decode[client.Task](t, bytes.NewReader(first[2].Body.Bytes())).TaskID)
	stop()
	for _, path := range []string{"/agents/counter", "/sessions/" + old, "/tasks/" + failed} {
		if w := m.Do("DELETE", path, ""); w.Code != http.StatusNoContent {
			t.Fatalf("DELETE %s: %d %s", path, w.Code, w.Body)
		}
	}
	for i, path := range paths {
		again := m.Do("POST", path, bodies[i], "Idempotency-Key", "k")
		if again.Code != first[i].Code || again.Body.String() != first[i].Body.String() || again.Header().Get("Idempotent-Replayed") != "true" {
			t.Errorf("%s: %d %s, first %d %s", path, again.Code, again.Body, first[i].Code, first[i].Body)
		}
		if w := m.Do("POST", path, bodies[i], "Idempotency-Key", "other"); w.Code != http.StatusNotFound {
			t.Errorf("%s with another key: %d %s", path, w.Code, w.Body)
		}
	}
}
