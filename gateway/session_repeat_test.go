package gateway_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
