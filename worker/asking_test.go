package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// refunds is an agent of sessions: it checks an order, asks twice, and pays. Steps are
// counted by their idempotency key.
func refunds(did map[string]int, dead func() bool) agent.Agent {
	a := meshtest.Named("refunds", func(ctx context.Context, job *agent.Job) (any, error) {
		if !strings.HasPrefix(job.Turn.Text(), "refund") {
			return "I refund", nil
		}
		step := func(name string) (string, error) {
			return agent.Step(ctx, job, name, func(ctx context.Context, s agent.StepInfo) (string, error) {
				if dead() {
					<-ctx.Done()
					return "", context.Cause(ctx)
				}
				did[s.IdempotencyKey]++
				return name, nil
			})
		}
		if _, err := step("check"); err != nil {
			return nil, err
		}
		yes, err := agent.Ask[bool](ctx, job, "approve", agent.Question{Prompt: "Refund?", Timeout: time.Hour})
		if errors.Is(err, agent.ErrInputTimeout) {
			return "too late", nil
		}
		if err != nil {
			return nil, err
		}
		amount, err := agent.Ask[int](ctx, job, "amount", agent.Question{Prompt: "How much?"})
		if err != nil {
			return nil, err
		}
		if _, err := step("pay"); err != nil {
			return nil, err
		}
		return fmt.Sprint(job.Turn.Text(), " ", yes, " ", amount), nil
	})
	a.Retry.MaxAttempts = 20
	return a
}

func alive() bool { return false }

func TestAQuestionInASessionIsTheReplyAndTheNextMessageTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, did := meshtest.New(t), map[string]int{}
		m.Work(refunds(did, alive))
		id := m.Session("refunds")
		body := func(status int, body string, has ...string) {
			t.Helper()
			w := m.Do("POST", "/sessions/"+id+"/messages", body, "Content-Type", "application/json")
			for _, part := range has {
				if !strings.Contains(w.Body.String(), part) {
					t.Errorf("%s lacks %s", w.Body, part)
				}
			}
			if w.Code != status {
				t.Errorf("%s = %d %s", body, w.Code, w.Body)
			}
		}
		body(422, `{"answer":true}`, `"/answer"`)
		body(200, `{"text":"hello"}`, "I refund")
		body(200, `{"text":"refund 7"}`, `"message":"Refund?"`, `"awaiting":"approve"`, `"status":"completed"`)
		body(422, `{"text":"perhaps"}`, `"/text"`)
		body(422, `{"answer":{"a":1}}`, `"/answer"`)
		body(200, `{"text":"Yes"}`, `"message":"How much?"`, `"awaiting":"amount"`)
		body(200, `{"answer":80}`, `"message":"refund 7 true 80"`)
		body(200, `{"text":"80"}`, "I refund")
		if len(did) != 2 {
			t.Errorf("steps ran %v", did)
		}
		for key, n := range did {
			if n != 1 {
				t.Errorf("step %s ran %d times", key, n)
			}
		}
		said := m.Transcript(id)
		var texts []string
		for _, s := range said {
			texts = append(texts, s.Text)
		}
		if got := strings.Join(texts, "|"); !strings.HasSuffix(got, "refund 7|Refund?|Yes|How much?|80|refund 7 true 80|80|I refund") {
			t.Errorf("transcript %s", got)
		}
	})
}

// After its time the next message tells the agent so; a cancel of the answer leaves the
// question; what queues behind an answer is not held against the question.
func TestAQuestionInASessionEndsByItsTimeAndOutlivesACancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, did := meshtest.New(t), map[string]int{}
		stop := m.Work(refunds(did, alive))
		id := m.Session("refunds")
		if v := m.Say(200, id, "refund 1"); v.Message != "Refund?" {
			t.Fatalf("%+v", v)
		}
		stop()
		turn := m.Say(202, id, "yes", "Prefer", "respond-async").TurnID
		if w := m.Do("POST", "/sessions/"+id+"/messages", `{"text":"5"}`, "Content-Type", "application/json", "Prefer", "respond-async"); w.Code != 409 {
			t.Errorf("behind an answer = %d %s", w.Code, w.Body)
		}
		if w := m.Do("POST", "/sessions/"+id+"/turns/"+turn+"/cancel", ""); w.Code != 200 {
			t.Errorf("cancel = %d %s", w.Code, w.Body)
		}
		m.Work(refunds(did, alive))
		if v := m.Say(200, id, "yes"); v.Message != "How much?" {
			t.Errorf("%+v", v)
		}
		if v := m.Say(200, id, "3"); v.Message != "refund 1 true 3" {
			t.Errorf("%+v", v)
		}
		m.Say(200, id, "refund 2")
		time.Sleep(2 * time.Hour)
		if v := m.Say(200, id, "perhaps"); v.Message != "too late" {
			t.Errorf("%+v", v)
		}
	})
}

// Wherever the worker is killed, each step runs as often as the crash allows, and the
// conversation is that without one.
func TestAConversationWithQuestionsSurvivesACrashAtEachWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newCutMesh(t)
		talk := func(at int, after bool) (writes int) {
			did := map[string]int{}
			wire := &meshtest.Wire{Server: m.Server.Server, Cut: at, After: after}
			broken := make(chan struct{})
			wire.Broken = func() { close(broken) }
			run := func(w *meshtest.Wire) (stop func()) {
				st, hangUp, err := m.StoreOver(w)
				if err != nil {
					return func() {}
				}
				cfg := worker.Default()
				cfg.Drain = 0
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				wk, err := worker.New(ctx, cfg, st, []agent.Agent{refunds(did, w.Dead)}, meshtest.Quiet())
				go func() {
					defer close(done)
					if err == nil {
						_ = wk.Run(ctx)
					}
				}()
				return func() { cancel(); <-done; hangUp() }
			}
			stop := run(wire)
			heir := make(chan func(), 1)
			ended := make(chan struct{})
			go func() {
				select {
				case <-broken:
					stop()
					heir <- run(&meshtest.Wire{Server: m.Server.Server})
				case <-ended:
					stop()
					heir <- func() {}
				}
			}()
			id := m.Session("refunds")
			for _, said := range [][2]string{{"refund 7", "Refund?"}, {"yes", "How much?"}, {"80", "refund 7 true 80"}, {"hello", "I refund"}} {
				turn := m.Say(202, id, said[0], "Prefer", "respond-async").TurnID
				v := m.End(turn)
				if got := string(v.Result); v.Status != "completed" || !strings.Contains(got, said[1]) {
					t.Errorf("cut at %d, after %v: %s = %s %s %+v", at, after, said[0], v.Status, got, v.Error)
				}
				m.Idle(id)
			}
			close(ended)
			(<-heir)()
			for key, n := range did {
				if n > 2 || at == 0 && n != 1 {
					t.Errorf("cut at %d, after %v: step %s ran %d times", at, after, key, n)
				}
			}
			if len(did) != 2 {
				t.Errorf("cut at %d, after %v: steps %v", at, after, did)
			}
			return len(wire.Writes())
		}
		n := talk(0, false)
		for at := 1; at <= n; at++ {
			talk(at, at%2 == 0)
		}
	})
}

// What a turn cannot wait for is refused as before.
func TestATurnMayAskButNotSleepForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("sleepy", func(ctx context.Context, job *agent.Job) (any, error) {
			if job.Turn.Text() == "event" {
				_, err := agent.WaitEvent[any](ctx, job, "paid", time.Hour)
				return nil, err
			}
			return "slept", job.Sleep(ctx, time.Hour)
		}))
		id := m.Session("sleepy")
		for _, text := range []string{"event", "sleep"} {
			if v := m.Say(200, id, text); v.Status != "failed" || v.Error == nil || v.Error.Code != task.CodeWaitInTurn {
				t.Errorf("%s: %+v %+v", text, v, v.Error)
			}
		}
	})
}

// While the answer to a question is heard, another message may take its place, or wait
// behind it: the one is the answer then, the other is heard as any message.
func TestAMessageInThePlaceOfAnAnswerAndOneBehindIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, goOn := meshtest.New(t), make(chan struct{})
		m.Work(meshtest.Named("asks", func(ctx context.Context, job *agent.Job) (any, error) {
			if job.Turn.Text() != "go" {
				return "heard " + job.Turn.Text(), nil
			}
			answer, err := agent.Ask[string](ctx, job, "q", agent.Question{Prompt: "?"})
			if err == nil && answer == "slow" {
				select {
				case <-goOn:
				case <-ctx.Done():
					err = context.Cause(ctx)
				}
			}
			return "got " + answer, err
		}))
		id := m.Session("asks")
		slow := func() string {
			t.Helper()
			if v := m.Say(200, id, "go"); v.Message != "?" {
				t.Fatalf("%+v", v)
			}
			turn := m.Say(202, id, "slow", "Prefer", "respond-async").TurnID
			time.Sleep(time.Second)
			return turn
		}
		first := slow()
		if v := m.PostMessage(200, id, `{"text":"fast","on_busy":"interrupt"}`); v.Message != "got fast" {
			t.Errorf("in its place: %+v", v)
		}
		if v := m.Turn(id, first); v.Status != "canceled" {
			t.Errorf("the answer before: %+v", v)
		}
		second := slow()
		behind := m.PostMessage(202, id, `{"text":"more","on_busy":"wait"}`, "Prefer", "respond-async").TurnID
		close(goOn)
		m.Idle(id)
		if v, w := m.Turn(id, second), m.Turn(id, behind); v.Message != "got slow" || w.Message != "heard more" {
			t.Errorf("%+v, behind it %+v", v, w)
		}
	})
}
