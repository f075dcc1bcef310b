package worker_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/worker"
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

// The same holds of a turn whose session is full when its time comes: its agent never
// hears of it.
func TestOfACancelAndAFullSessionExactlyOneWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var waiting atomic.Pointer[string] // the turn that will not fit
		ofIt := func(subject string) bool {
			id := waiting.Load()
			return id != nil && strings.HasPrefix(subject, "$KV.tasks.") && strings.HasSuffix(subject, *id)
		}
		asks := &meshtest.Wire{Server: m.Server.Server}
		asks.Before = func(subject string) {
			if ofIt(subject) {
				time.Sleep(40 * time.Millisecond) // the worker writes first
			}
		}
		store, hangUp, err := m.StoreOver(asks)
		if err != nil {
			t.Fatal(err)
		}
		defer hangUp()
		gateway := m.NewGateway(store)
		canceled := make(chan int, 1)
		var id string
		wire := &meshtest.Wire{Server: m.Server.Server}
		wire.Before = func(subject string) {
			if ofIt(subject) {
				go func() {
					canceled <- meshtest.Call(gateway.Handler(), "POST", "/sessions/"+id+"/turns/"+*waiting.Load()+"/cancel", "").Code
				}()
				time.Sleep(20 * time.Millisecond) // the cancel has read what there is
			}
		}
		works, hangUp, err := m.StoreOver(wire)
		if err != nil {
			t.Fatal(err)
		}
		defer hangUp()
		var s meshtest.Slow
		stop := m.WorkWith(worker.Default(), works, s.Agent(agent.Definition{Name: "slow", MaxTurns: 2}))
		defer stop()
		id = m.Session("slow")
		m.Say(http.StatusOK, id, "one")
		m.Say(http.StatusAccepted, id, "wait", "Prefer", "respond-async")
		turn := m.PostMessage(http.StatusAccepted, id, `{"text":"x","on_busy":"wait"}`, "Prefer", "respond-async").TurnID
		waiting.Store(&turn)
		s.Release <- struct{}{}
		if got, code := m.Turn(id, turn, "Prefer", "wait=10"), <-canceled; got.Status != "failed" || code != http.StatusConflict {
			t.Errorf("the turn is %s, cancel = %d", got.Status, code)
		}
		if got := meshtest.Talk(m.Transcript(id)); got != "user: one\nagent: done one\nuser: wait\nagent: done wait" {
			t.Errorf("transcript:\n%s", got)
		}
	})
}
