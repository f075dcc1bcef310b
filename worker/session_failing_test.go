package worker_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// A cancel and a failure meet in the session: what it says first is what becomes of
// the turn, and the transcript and the turn agree.
func TestOfACancelAndAFailureExactlyOneWins(t *testing.T) {
	for _, c := range []struct {
		name       string
		first      func(s *session.Session, turn *task.Task) // what the session says before the other comes
		status     string
		transcript string
		cancel     int
	}{
		{"the cancel is first", func(s *session.Session, turn *task.Task) { s.Interrupt(turn, time.Now()) }, "canceled", "user: hi (interrupted)", http.StatusOK},
		{"the failure is first", func(s *session.Session, turn *task.Task) {
			s.Fence = &session.Fence{TurnID: turn.ID, Attempt: 2}
		}, "failed", "", http.StatusConflict},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := meshtest.New(t)
				fail := make(chan struct{})
				m.Work(meshtest.Named("a", func(context.Context, *agent.Job) (any, error) {
					<-fail
					return nil, agent.Permanent(errors.New("no"))
				}))
				id := m.Session("a")
				turn := m.Say(http.StatusAccepted, id, "hi", "Prefer", "respond-async").TurnID
				time.Sleep(time.Second)
				s, err := m.Store.Sessions.Get(t.Context(), "default", session.ID(id))
				if err != nil {
					t.Fatal(err)
				}
				c.first(s, m.Record(turn))
				if err := m.Store.Sessions.Save(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				canceled := make(chan int, 1)
				cancel := func() { canceled <- m.Do("POST", "/sessions/"+id+"/turns/"+turn+"/cancel", "").Code }
				if c.status == "failed" {
					go cancel()
					time.Sleep(20 * time.Millisecond) // it waits for the record
				}
				close(fail)
				time.Sleep(2 * time.Second)
				if c.status == "canceled" {
					cancel()
				}
				if got, code := m.Turn(id, turn), <-canceled; got.Status != c.status || code != c.cancel {
					t.Errorf("the turn is %s, cancel = %d", got.Status, code)
				}
				if got := meshtest.Talk(m.Transcript(id)); got != c.transcript {
					t.Errorf("transcript:\n%s", got)
				}
				m.Say(http.StatusAccepted, id, "again", "Prefer", "respond-async")
			})
		})
	}
}
