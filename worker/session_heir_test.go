package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// A worker that is frozen past its lease cannot commit after its heir has (I15).
func TestAFrozenWorkerCannotCommitAfterItsHeir(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		frozen := &meshtest.Gate{Server: m.Server.Server}
		stA, _ := m.OpenStore(nats.InProcessServer(frozen))
		started, finish := make(chan struct{}, 1), make(chan struct{})
		m.WorkWith(worker.Default(), stA, agent.Agent{Definition: agent.Definition{Name: "a"}, Handler: func(context.Context, *agent.Job) (any, error) {
			started <- struct{}{}
			<-finish
			return agent.Reply{Message: "zombie", State: map[string]int{"zombie": 1}}, nil
		}})
		id := m.Session("a")
		turn := m.Say(http.StatusAccepted, id, "hi", "Prefer", "respond-async")
		<-started
		synctest.Wait()
		frozen.Freeze()
		m.Work(agent.Agent{Definition: agent.Definition{Name: "a"}, Handler: func(_ context.Context, job *agent.Job) (any, error) {
			return fmt.Sprintf("heir in attempt %d", job.Attempt), nil
		}})
		if got := m.Turn(id, turn.TurnID, "Prefer", "wait=60"); got.Message != "heir in attempt 2" {
			t.Errorf("turn = %+v", got)
		}
		close(finish)
		m.Say(http.StatusOK, id, "next")
		time.Sleep(12 * time.Second) // the frozen one has its reply, and tries to commit
		frozen.Thaw()
		time.Sleep(time.Minute)
		rec, err := m.Store.Sessions.Get(t.Context(), "default", session.ID(id))
		if err != nil || rec.State != nil || meshtest.Talk(rec.Messages) != "user: hi\nagent: heir in attempt 2\nuser: next\nagent: heir in attempt 1" {
			t.Errorf("session = %+v, %v", rec, err)
		}
		if got := m.Say(http.StatusOK, id, "again"); got.Message == "" {
			t.Errorf("the next turn = %+v", got)
		}
	})
}

// An heir fences off the attempt before it: that one's copy of the session is out
// of date as soon as the heir begins, and before it has committed anything.
func TestAnHeirFencesOffTheAttemptBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		running, finish := make(chan struct{}, 1), make(chan struct{})
		a := agent.Agent{Definition: agent.Definition{Name: "a"}, Handler: func(_ context.Context, job *agent.Job) (any, error) {
			running <- struct{}{}
			<-finish
			return fmt.Sprintf("heir in attempt %d", job.Attempt), nil
		}}
		m.Work(a)()
		id := m.Session("a")
		turn := m.Say(http.StatusAccepted, id, "hi", "Prefer", "respond-async")
		// A worker takes the message, reads the session, and is seen no more.
		js, err := jetstream.New(m.NC)
		if err != nil {
			t.Fatal(err)
		}
		c, err := js.Consumer(t.Context(), topology.Turns, topology.AgentDurable("a"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Next(); err != nil {
			t.Fatal(err)
		}
		queued, err := m.Store.Tasks.Find(t.Context(), "default", task.ID(turn.TurnID))
		if err != nil {
			t.Fatal(err)
		}
		zombie, err := m.Store.Sessions.Get(t.Context(), "default", session.ID(id))
		if err != nil {
			t.Fatal(err)
		}
		m.Work(a)
		<-running
		zombie.Commit(queued, "zombie", json.RawMessage(`{"zombie":1}`), time.Now())
		if err := m.Store.Sessions.Save(t.Context(), zombie); !errors.Is(err, session.ErrConflict) {
			t.Errorf("the first attempt commits while the second one runs: %v", err)
		}
		close(finish)
		if got := m.Turn(id, turn.TurnID, "Prefer", "wait=60"); got.Message != "heir in attempt 1" { // the one that was seen no more had not begun
			t.Errorf("turn = %+v", got)
		}
	})
}

// The whole process dies between the session's write and the acknowledgement:
// the turn is not run again, and ends as the session has it, though it has no attempt
// left or its deadline has passed.
func TestATurnIsNotRunAgainAfterItsCommit(t *testing.T) {
	for name, c := range map[string]struct {
		interrupted bool
		attempts    int
		late        time.Duration // than its deadline
	}{
		"reply": {}, "interrupted": {interrupted: true},
		"reply in the last attempt": {attempts: 1}, "interrupted in the last attempt": {interrupted: true, attempts: 1},
		"reply before the deadline": {late: time.Second}, "interrupted before the deadline": {interrupted: true, late: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := meshtest.New(t)
				ran := false
				a := agent.Agent{Definition: agent.Definition{Name: "a", Greeting: "Hi", Retry: agent.Retry{MaxAttempts: c.attempts}}, Handler: func(context.Context, *agent.Job) (any, error) {
					ran = true
					return "again", nil
				}}
				m.Work(a)()
				id := m.Session("a")
				turn := m.Say(http.StatusAccepted, id, "hi", "Prefer", "respond-async")
				// The dead worker had written its claim and the session.
				rec, err := m.Store.Tasks.Find(t.Context(), "default", task.ID(turn.TurnID))
				if err != nil {
					t.Fatal(err)
				}
				queued := rec.Clone()
				rec.Attempt, rec.Lease = 1, &task.Lease{Worker: "wrk_dead", Seq: rec.QueueSeq}
				if c.late > 0 {
					rec.Deadline = task.Stamp(time.Now().Add(-c.late))
				}
				if err := rec.To(task.Processing, time.Now()); err != nil {
					t.Fatal(err)
				}
				s, err := m.Store.Sessions.Get(t.Context(), "default", session.ID(id))
				if err != nil {
					t.Fatal(err)
				}
				want, status, reply := "agent: Hi\nuser: hi\nagent: once", "completed", "once"
				if c.interrupted {
					s.Interrupt(queued, time.Now())
					want, status, reply = "agent: Hi\nuser: hi (interrupted)", "canceled", ""
				} else {
					s.Commit(queued, "once", json.RawMessage(`{"n":1}`), time.Now())
				}
				for _, err := range []error{m.Store.Tasks.Save(t.Context(), rec), m.Store.Sessions.Save(t.Context(), s)} {
					if err != nil {
						t.Fatal(err)
					}
				}
				m.Work(a)
				got := m.Turn(id, turn.TurnID, "Prefer", "wait=60")
				if got.Status != status || got.Message != reply || got.Attempt != 1 || ran {
					t.Errorf("turn = %+v, run again: %v", got, ran)
				}
				if got := meshtest.Talk(m.Transcript(id)); got != want {
					t.Errorf("transcript:\n%s", got)
				}
				if got := m.PostMessage(http.StatusOK, id, `{"text":"next","on_busy":"wait"}`); got.Message != "again" {
					t.Errorf("next = %+v", got)
				}
			})
		})
	}
}

// A turn that uses up its attempts fails, unless its session has the reply.
func TestATurnThatUsesUpItsAttemptsFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		a := agent.Agent{Definition: agent.Definition{Name: "a", Retry: agent.Retry{MaxAttempts: 1}}, Handler: func(context.Context, *agent.Job) (any, error) {
			return "fine", nil
		}}
		m.Work(a)()
		id := m.Session("a")
		turn := m.Say(http.StatusAccepted, id, "hi", "Prefer", "respond-async")
		rec, err := m.Store.Tasks.Find(t.Context(), "default", task.ID(turn.TurnID))
		if err != nil {
			t.Fatal(err)
		}
		rec.Attempt, rec.Lease = 1, &task.Lease{Worker: "wrk_dead", Seq: rec.QueueSeq}
		if err := rec.To(task.Processing, time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := m.Store.Tasks.Save(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		m.Work(a)
		got := m.Turn(id, turn.TurnID, "Prefer", "wait=60")
		if got.Status != "failed" || got.Error.Code != task.CodeWorkerLost {
			t.Errorf("turn = %+v", got)
		}
		if got := m.PostMessage(http.StatusOK, id, `{"text":"next","on_busy":"wait"}`); got.Message != "fine" {
			t.Errorf("next = %+v", got)
		}
	})
}

// A shutdown hands an open turn back: it is run again elsewhere, as the same
// attempt, and the session stays closed meanwhile.
func TestAShutdownHandsAnOpenTurnBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var s meshtest.Slow
		cfg := worker.Default()
		cfg.Drain = time.Second
		stop := m.WorkWith(cfg, m.Store, s.Agent(agent.Definition{Name: "slow"}))
		id := m.Session("slow")
		turn := m.Say(http.StatusAccepted, id, "wait", "Prefer", "respond-async")
		synctest.Wait()
		stop()
		if w := m.Do("POST", "/sessions/"+id+"/messages", `{"text":"x"}`); w.Code != http.StatusConflict {
			t.Errorf("between two workers: %d %s", w.Code, w.Body)
		}
		m.Work(counterAs("slow"))
		if got := m.Turn(id, turn.TurnID, "Prefer", "wait=60"); got.Message != "1 wait" || got.Attempt != 1 {
			t.Errorf("turn = %+v", got)
		}
	})
}
