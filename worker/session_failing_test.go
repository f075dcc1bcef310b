package worker_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
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

// A turn whose session is full when its time comes is fenced there before its record says
// so, though its agent never hears of it: a cancel is late from then on.
func TestATurnWithoutRoomIsFencedBeforeItFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		wire := &meshtest.Wire{Server: m.Server.Server}
		store, hangUp, err := m.StoreOver(wire)
		if err != nil {
			t.Fatal(err)
		}
		defer hangUp()
		var s meshtest.Slow
		stop := m.WorkWith(worker.Default(), store, s.Agent(agent.Definition{Name: "slow", MaxTurns: 2}))
		defer stop()
		id := m.Session("slow")
		m.Say(http.StatusOK, id, "one")
		m.Say(http.StatusAccepted, id, "wait", "Prefer", "respond-async")
		turn := m.PostMessage(http.StatusAccepted, id, `{"text":"x","on_busy":"wait"}`, "Prefer", "respond-async").TurnID
		s.Release <- struct{}{}
		if got := m.Turn(id, turn, "Prefer", "wait=10"); got.Error == nil || got.Error.Code != task.CodeSessionFull {
			t.Errorf("the turn is %s: %+v", got.Status, got.Error)
		}
		writes := wire.Writes()
		end := slices.IndexFunc(writes, func(s string) bool { return strings.HasPrefix(s, "$KV.tasks.") && strings.HasSuffix(s, turn) })
		if end < 1 || !strings.HasPrefix(writes[end-1], "$KV.sessions.") {
			t.Errorf("the worker writes %q", writes)
		}
	})
}

// A cancel that comes behind the fence of a turn that fails waits for its record, also for
// the first one.
func TestACancelBehindTheFenceWaitsForTheFirstRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("a", meshtest.Says("hello")))()
		id := m.Session("a")
		turn := m.Say(http.StatusAccepted, id, "hi", "Prefer", "respond-async").TurnID
		queued, err := m.Store.Tasks.Find(t.Context(), "default", task.ID(turn))
		if err != nil {
			t.Fatal(err)
		}
		s, err := m.Store.Sessions.Get(t.Context(), "default", session.ID(id))
		if err != nil {
			t.Fatal(err)
		}
		s.Fence = &session.Fence{TurnID: queued.ID, Attempt: 1}
		if err := m.Store.Sessions.Save(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		canceled := make(chan int, 1)
		go func() { canceled <- m.Do("POST", "/sessions/"+id+"/turns/"+turn+"/cancel", "").Code }()
		time.Sleep(20 * time.Millisecond) // it waits for the record
		queued.Error = &task.Error{Code: task.CodeSessionFull}
		if err := errors.Join(queued.To(task.Failed, time.Now()), m.Store.Tasks.Save(t.Context(), queued)); err != nil {
			t.Fatal(err)
		}
		if code := <-canceled; code != http.StatusConflict {
			t.Errorf("cancel = %d", code)
		}
		if got := meshtest.Talk(m.Transcript(id)); got != "" {
			t.Errorf("transcript:\n%s", got)
		}
	})
}
