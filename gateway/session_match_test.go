package gateway_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/session"
)

// Of several messages that know the same version of a session one is said, at whichever
// gateway, whatever they ask for while it is busy.
func TestOneMessageIsSaidOfThoseThatKnowTheSameVersion(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Counter())
	gateways := m.Gateways()
	for _, onBusy := range []string{"reject", "wait", "interrupt"} {
		for range 5 {
			id := m.Session("counter")
			tag := m.Do("GET", "/sessions/"+id, "").Header().Get("ETag")
			var all sync.WaitGroup
			var answers [8]*httptest.ResponseRecorder
			for i := range answers {
				all.Go(func() {
					answers[i] = meshtest.Call(gateways[i%2], "POST", "/sessions/"+id+"/messages", `{"text":"x","on_busy":"`+onBusy+`"}`, "If-Match", tag)
				})
			}
			all.Wait()
			said := 0
			for _, w := range answers {
				switch w.Code {
				case http.StatusOK:
					said++
				case http.StatusConflict, http.StatusPreconditionFailed:
				default:
					t.Errorf("%s: %d %s", onBusy, w.Code, w.Body)
				}
			}
			if got := m.Turns(id); said != 1 || got != "x" {
				t.Errorf("%s: %d were said, the transcript has %q", onBusy, said, got)
			}
		}
	}
}

// A message is for the version that its caller knows when it is accepted, not when it
// comes: somebody speaks in between.
func TestAMessageIsAcceptedInTheVersionThatItIsFor(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Counter())
	core := mesh.New(m.Store, mesh.Options{Log: meshtest.Quiet()})
	for _, onBusy := range []mesh.OnBusy{mesh.Reject, mesh.Wait, mesh.Interrupt} {
		id := m.Session("counter")
		known := uint64(0)
		expect := func(rev uint64) error {
			if known == 0 {
				known = rev
				m.Say(http.StatusOK, id, "first")
			}
			if rev != known {
				return mesh.ErrPreconditionFailed
			}
			return nil
		}
		_, _, err := core.Sessions.Say(t.Context(), auth.Local(), session.ID(id), &mesh.Message{Text: "late", OnBusy: onBusy, Expect: expect, Until: time.Now().Add(time.Minute)})
		if got := m.Turns(id); !errors.Is(err, mesh.ErrPreconditionFailed) || got != "first" {
			t.Errorf("%s: %v, the transcript has %q", onBusy, err, got)
		}
	}
}

// A repeat that comes while its first request is accepted is the same turn, though the
// version that both are for is no longer the newest.
func TestARepeatMeetsTheVersionThatItsFirstRequestChanged(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Counter())
	gateways := m.Gateways()
	for range 10 {
		id := m.Session("counter")
		headers := []string{"If-Match", m.Do("GET", "/sessions/"+id, "").Header().Get("ETag"), "Idempotency-Key", id}
		var all sync.WaitGroup
		var turns [4]meshtest.TurnView
		for i := range turns {
			all.Go(func() {
				w := meshtest.Call(gateways[i%2], "POST", "/sessions/"+id+"/messages", `{"text":"x"}`, headers...)
				if turns[i] = meshtest.Decode[meshtest.TurnView](t, w.Body); w.Code != http.StatusOK {
					t.Errorf("%d %+v", w.Code, turns[i])
				}
			})
		}
		all.Wait()
		for _, turn := range turns {
			if turn.TurnID != turns[0].TurnID {
				t.Errorf("turns %s and %s", turns[0].TurnID, turn.TurnID)
			}
		}
		if got := m.Turns(id); got != "x" {
			t.Errorf("transcript: %s", got)
		}
	}
}
