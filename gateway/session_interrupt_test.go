package gateway_test

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
	"agentmesh/worker/agent"
)

func TestABusySessionRefusesASecondMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var s meshtest.Slow
		m.Work(s.Agent(agent.Definition{Name: "slow"}))
		id := m.Session("slow")
		open := m.Say(http.StatusAccepted, id, "wait 1", "Prefer", "respond-async")
		if open.Status != "pending" || open.StatusURL != "/sessions/"+id+"/turns/"+open.TurnID {
			t.Errorf("202 = %+v", open)
		}
		synctest.Wait()
		w := m.Do("POST", "/sessions/"+id+"/messages", `{"text":"two"}`)
		if w.Code != http.StatusConflict || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), `"session_busy"`) {
			t.Errorf("a second message = %d %v %s", w.Code, w.Header(), w.Body)
		}
		if got := meshtest.Decode[meshtest.SessionView](t, m.Do("GET", "/sessions/"+id, "").Body); !got.Busy || got.OpenTurn != open.TurnID {
			t.Errorf("session = %+v", got)
		}

		// One that waits is accepted, also when the client does not wait as long.
		began := time.Now()
		w = m.Do("POST", "/sessions/"+id+"/messages", `{"text":"three","on_busy":"wait"}`, "Prefer", "wait=5")
		if took := time.Since(began); w.Code != http.StatusAccepted || took < 5*time.Second || took > 6*time.Second {
			t.Errorf("waited %v for %d %s", took, w.Code, w.Body)
		}

		// One that waits long enough has its turn, and the reply in the same answer.
		answer := make(chan meshtest.TurnView)
		go func() { answer <- m.PostMessage(http.StatusOK, id, `{"text":"four","on_busy":"wait"}`) }()
		time.Sleep(time.Second)
		close(s.Release)
		if got := <-answer; got.Message != "done four" {
			t.Errorf("reply = %+v", got)
		}
		if got := meshtest.Talk(m.Transcript(id)); got != "user: wait 1\nagent: done wait 1\nuser: three\nagent: done three\nuser: four\nagent: done four" {
			t.Errorf("transcript:\n%s", got)
		}
	})
}

// A message that interrupts cancels the open turn, whether a worker has it or it
// waits for one, keeps what the user said, and leaves the state alone.
func TestAnInterruptCancelsTheOpenTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var s meshtest.Slow
		stop := m.Work(s.Agent(agent.Definition{Name: "slow"}))
		id := m.Session("slow")
		first := m.Say(http.StatusAccepted, id, "wait 1", "Prefer", "respond-async")
		synctest.Wait()
		if got := m.PostMessage(http.StatusOK, id, `{"text":"two","on_busy":"interrupt"}`); got.Message != "done two" {
			t.Errorf("reply = %+v", got)
		}
		if got := m.Turn(id, first.TurnID); got.Status != "canceled" || got.Message != "" {
			t.Errorf("interrupted turn = %+v", got)
		}
		want := "user: wait 1 (interrupted)\nuser: two\nagent: done two"
		if got := meshtest.Talk(m.Transcript(id)); got != want {
			t.Errorf("transcript:\n%s", got)
		}
		rec, err := m.Store.Sessions.Get(t.Context(), "default", session.ID(id))
		if err != nil || rec.State != nil || rec.Turns != 2 {
			t.Errorf("session = %+v, %v", rec, err)
		}

		stop() // nobody runs turns
		third := m.Say(http.StatusAccepted, id, "wait 3", "Prefer", "respond-async")
		fourth := m.PostMessage(http.StatusAccepted, id, `{"text":"four","on_busy":"interrupt"}`, "Prefer", "wait=1")
		if got := m.Turn(id, third.TurnID); got.Status != "canceled" {
			t.Errorf("third turn = %+v", got)
		}
		m.Work(s.Agent(agent.Definition{Name: "slow"}))
		if got := m.Turn(id, fourth.TurnID, "Prefer", "wait=60"); got.Status != "completed" || got.Message != "done four" {
			t.Errorf("fourth turn = %+v", got)
		}
		if got := meshtest.Talk(m.Transcript(id)); got != want+"\nuser: wait 3 (interrupted)\nuser: four\nagent: done four" {
			t.Errorf("transcript:\n%s", got)
		}

		// A finished turn is not interrupted any more, and not said again.
		if w := m.Do("POST", "/sessions/"+id+"/turns/"+fourth.TurnID+"/cancel", ""); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "task_finished") {
			t.Errorf("cancel of a finished turn = %d %s", w.Code, w.Body)
		}
		if w := m.Do("POST", "/tasks/"+first.TurnID+"/retry", ""); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "task_not_retryable") {
			t.Errorf("retry of a turn = %d %s", w.Code, w.Body)
		}
	})
}

// Deleting a session cancels its open turn, and what the agent still says of it
// goes nowhere.
func TestDeletingASessionCancelsItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var s meshtest.Slow
		m.Work(s.Agent(agent.Definition{Name: "slow"}))
		id := m.Session("slow")
		turn := m.Say(http.StatusAccepted, id, "wait", "Prefer", "respond-async")
		synctest.Wait()
		if w := m.Do("DELETE", "/sessions/"+id, ""); w.Code != http.StatusNoContent {
			t.Fatalf("DELETE = %d %s", w.Code, w.Body)
		}
		if got := m.End(turn.TurnID); got.Status != "canceled" {
			t.Errorf("turn = %+v", got)
		}
		if w := m.Do("GET", "/sessions/"+id, ""); w.Code != http.StatusNotFound {
			t.Errorf("GET = %d %s", w.Code, w.Body)
		}
	})
}

// An agent that hangs is bounded by its timeout, and one that fails by its
// attempts; the session opens again and is as it was, the error in the turn.
func TestASessionSurvivesItsAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		attempts := map[string]int{}
		a := agent.Agent{
			Definition: agent.Definition{Name: "moody", Timeout: task.Duration(7 * time.Second), Retry: agent.Retry{MaxAttempts: 3, Backoff: task.Duration(time.Second)}},
			Handler: func(ctx context.Context, job *agent.Job) (any, error) {
				attempts[job.Turn.Text()]++
				switch text := job.Turn.Text(); text {
				case "hang":
					<-ctx.Done()
					return nil, context.Cause(ctx)
				case "fail":
					return nil, errors.New("it is raining")
				case "once":
					if job.Attempt == 1 {
						return nil, errors.New("not yet")
					}
				case "panic":
					panic("oops")
				case "bad state":
					return agent.Reply{Message: "x", State: 7}, nil
				}
				return agent.Reply{Message: "fine", State: map[string]string{"last": job.Turn.Text()}}, nil
			},
		}
		m.Work(a)
		id := m.Session("moody")
		m.Say(http.StatusOK, id, "hello")
		began := time.Now()
		for _, tt := range []struct {
			text, code string
			attempts   int
		}{
			{"hang", task.CodeAgentTimeout, 1}, {"fail", task.CodeAgentError, 3}, {"panic", task.CodeAgentPanicked, 3}, {"bad state", task.CodeAgentBadOutput, 1},
		} {
			got := m.Say(http.StatusOK, id, tt.text)
			if got.Status != "failed" || got.Error == nil || got.Error.Code != tt.code || attempts[tt.text] != tt.attempts {
				t.Errorf("%s: %+v after %d attempts", tt.text, got, attempts[tt.text])
			}
			if again := m.Turn(id, got.TurnID); again.Error == nil || again.Error.Code != tt.code {
				t.Errorf("%s: turn %+v", tt.text, again)
			}
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("took %v", took)
		}
		rec, err := m.Store.Sessions.Get(t.Context(), "default", session.ID(id))
		if err != nil || string(rec.State) != `{"last":"hello"}` || rec.Turns != 1 || rec.UpdatedAt.Before(began) {
			t.Errorf("session = %+v, %v", rec, err)
		}
		if got := m.Say(http.StatusOK, id, "once"); got.Message != "fine" || attempts["once"] != 2 {
			t.Errorf("a turn that is retried = %+v after %d attempts", got, attempts["once"])
		}
		if got := meshtest.Talk(m.Transcript(id)); got != "user: hello\nagent: fine\nuser: once\nagent: fine" {
			t.Errorf("transcript:\n%s", got)
		}
	})
}

// Of two cancels of a turn at the same time the second one is a repeat: both have it
// canceled.
func TestACancelMeetsAnEqualOne(t *testing.T) {
	m := meshtest.New(t)
	var s meshtest.Slow
	m.Work(s.Agent(agent.Definition{Name: "slow"}))
	var asked atomic.Bool // the session, and then the record: in between the other cancel comes
	var other atomic.Pointer[func()]
	st, hangUp, err := m.StoreOver(&meshtest.Wire{Server: m.Server.Server, Look: func(subject string) {
		switch {
		case strings.HasSuffix(subject, ".KV_sessions"):
			asked.Store(true)
		case strings.HasSuffix(subject, ".KV_tasks") && asked.Load():
			if cancel := other.Swap(nil); cancel != nil {
				(*cancel)()
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hangUp)
	slow := m.NewGateway(st).Handler()
	id := m.Session("slow")
	turn := m.Say(http.StatusAccepted, id, "wait", meshtest.Async...)
	for s.Begun.Load() == 0 {
		m.Turn(id, turn.TurnID, "Prefer", "wait=1")
	}
	path := "/sessions/" + id + "/turns/" + turn.TurnID + "/cancel"
	cancel := func() { m.Do("POST", path, "") }
	other.Store(&cancel)
	if w := meshtest.Call(slow, "POST", path, ""); w.Code != http.StatusOK || other.Load() != nil {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if got := m.Turns(id); got != "wait!" {
		t.Errorf("transcript: %s", got)
	}
}
