package synadia_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/micro"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	protocol "agentmesh/shared/synadia"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/synadia"
)

func TestMain(m *testing.M) { meshtest.Main(m) }

// serve has an agent of others be found, as its own program would.
func serve(t *testing.T, m *meshtest.Mesh, f func(*protocol.Prompt)) (c *protocol.Conn, stop func()) {
	t.Helper()
	c = protocol.New(m.Server.Connect(t), "")
	s, err := c.Serve(protocol.Spec{Agent: "coder", Owner: "alice", Name: "repo", Version: "1.0.0"}, func(p *protocol.Prompt) { go f(p) })
	if err != nil {
		t.Fatal(err)
	}
	s.Beat()
	done := make(chan struct{})
	go func() {
		for tick := time.NewTicker(30 * time.Second); ; {
			select {
			case <-tick.C:
				s.Beat()
			case <-done:
				tick.Stop()
				return
			}
		}
	}()
	return c, func() { close(done); s.Stop() }
}

func adopted(t *testing.T, m *meshtest.Mesh, cfg synadia.Config) agent.Agent {
	t.Helper()
	cfg.Agent, cfg.Owner, cfg.Name = "coder", "alice", "repo"
	a := synadia.New(cfg, func(context.Context, synadia.Place) (*protocol.Conn, synadia.Signer, error) {
		return protocol.New(m.Server.Connect(t), ""), nil, nil
	}, nil).Agent(agent.Definition{Name: "repo"})
	a.Retry.MaxAttempts = 3
	return a
}

func failure(v client.Task) string {
	if v.Error == nil {
		return ""
	}
	return v.Error.Code
}

func TestATaskWaitsUntilTheAgentIsOnline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(adopted(t, m, synadia.Config{}))
		first := m.Create(`{"agent":"repo","instruction":"hello"}`)
		time.Sleep(10 * time.Minute)
		if v := m.Get(first); v.Status != "pending" || v.Attempt > 0 {
			t.Errorf("offline: %s, attempt %d", v.Status, v.Attempt)
		}
		echo := func(p *protocol.Prompt) {
			_ = p.Ack()
			_ = p.Response("you said ")
			_ = p.Response(p.Prompt)
			for _, a := range p.Attachments {
				_ = p.Attach(a)
			}
			p.End()
		}
		_, stop := serve(t, m, echo)
		if v := m.End(first); string(v.Result) != `{"text":"you said hello"}` || v.Attempt != 1 {
			t.Errorf("%s %s, attempt %d", v.Result, failure(v), v.Attempt)
		}
		if v := m.End(m.Create(`{"agent":"repo","input":{"text":"see","files":[{"filename":"a.txt","bytes":"aGk="}]}}`)); string(v.Result) != `{"files":[{"filename":"a.txt","bytes":"aGk="}],"text":"you said see"}` {
			t.Errorf("%s %s", v.Result, failure(v))
		}
		stop()
		time.Sleep(3 * time.Minute)
		second := m.Create(`{"agent":"repo","instruction":"again"}`)
		time.Sleep(3 * time.Minute)
		if v := m.Get(second); v.Status != "pending" {
			t.Errorf("offline again: %s", v.Status)
		}
		_, stop = serve(t, m, echo)
		defer stop()
		if v := m.End(second); string(v.Result) != `{"text":"you said again"}` {
			t.Errorf("%s %s", v.Result, failure(v))
		}
	})
}

// Why tasks wait is told by the mesh: the agent is away, or speaks otherwise.
func TestAnAgentThatIsNotServedHasAReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(adopted(t, m, synadia.Config{}))
		says := func(want string) {
			t.Helper()
			last := ""
			for range 600 { // presence is told now and then
				var v struct{ Workers []struct{ Away string } }
				if err := json.Unmarshal(m.Do("GET", "/agents/repo", "").Body.Bytes(), &v); err == nil && len(v.Workers) == 1 {
					if last = v.Workers[0].Away; last == want {
						return
					}
				}
				time.Sleep(time.Second)
			}
			t.Errorf("%q, want %q", last, want)
		}
		says("coder.alice.repo is offline")
		old, err := micro.AddService(m.Server.Connect(t), micro.Config{Name: "agents", Version: "1.0.0", Metadata: map[string]string{"agent": "coder", "owner": "alice", "protocol_version": "9.1"}})
		if err == nil {
			err = old.AddEndpoint("prompt", micro.HandlerFunc(func(micro.Request) {}), micro.WithEndpointSubject("agents.prompt.coder.alice.repo"))
		}
		if err != nil {
			t.Fatal(err)
		}
		says(`coder.alice.repo is not served: it speaks version "9.1" of the protocol, this mesh 0.3`)
		_ = old.Stop()
		_, stop := serve(t, m, func(p *protocol.Prompt) { p.End() })
		defer stop()
		says("")
	})
}

func TestASessionIsToldAsFarAsItsAgentWantsIt(t *testing.T) {
	for history, want := range map[synadia.History]string{"": "second", synadia.Full: "User: first\n\nAgent: said first\n\nUser: second"} {
		synctest.Test(t, func(t *testing.T) {
			m := meshtest.New(t)
			var last atomic.Value
			_, stop := serve(t, m, func(p *protocol.Prompt) {
				last.Store(p.Prompt)
				_ = p.Response("said " + p.Prompt)
				p.End()
			})
			defer stop()
			a := adopted(t, m, synadia.Config{History: history})
			a.Conversation = true
			m.Work(a)
			id := m.Session("repo")
			for _, text := range []string{"first", "second"} {
				if w := m.Do("POST", "/sessions/"+id+"/messages", `{"text":"`+text+`"}`); w.Code != 200 {
					t.Fatalf("%d %s", w.Code, w.Body)
				}
			}
			if got := last.Load(); got != want {
				t.Errorf("%q: %q", history, got)
			}
		})
	}
}

func TestAQueryIsAQuestionOfTheTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		_, stop := serve(t, m, func(p *protocol.Prompt) {
			_ = p.Ack()
			r, err := p.Query(context.Background(), "branch", "Which branch?")
			if err != nil {
				t.Error(err)
				return
			}
			_ = p.Response("on " + r.Prompt)
			p.End()
		})
		defer stop()
		m.Work(adopted(t, m, synadia.Config{}))
		id := m.Create(`{"agent":"repo","instruction":"x"}`)
		time.Sleep(10 * time.Second)
		rec := m.Record(id)
		if q := rec.Questions(); len(q) != 1 || q[0].Name != "branch" || !strings.HasSuffix(q[0].Prompt, "asks: Which branch?") {
			t.Fatalf("%+v", rec)
		}
		if w := m.Do("POST", "/tasks/"+id+"/input", `{"value":"main"}`); w.Code/100 != 2 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if v := m.End(id); string(v.Result) != `{"text":"on main"}` || v.Attempt != 1 {
			t.Errorf("%s %s", v.Result, failure(v))
		}
	})
}

// A prompt whose end nobody knows is not sent again, unless that is allowed.
func TestAStallIsAnUnknownOutcome(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg     synadia.Config
		prompts int32
		code    string
	}{
		"fail":       {synadia.Config{}, 1, "tool_outcome_unknown"},
		"idempotent": {synadia.Config{Idempotent: true}, 2, ""},
		"max_wait":   {synadia.Config{MaxWait: 5 * time.Second}, 1, "tool_outcome_unknown"},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := meshtest.New(t)
			var prompts atomic.Int32
			_, stop := serve(t, m, func(p *protocol.Prompt) {
				_ = p.Ack()
				if prompts.Add(1) > 1 {
					p.End()
				}
			})
			defer stop()
			m.Work(adopted(t, m, tt.cfg))
			v := m.End(m.Create(`{"agent":"repo","instruction":"x"}`))
			if failure(v) != tt.code || prompts.Load() != tt.prompts || v.Attempt != 1 {
				t.Errorf("%s: %q, %d prompts, attempt %d", name, failure(v), prompts.Load(), v.Attempt)
			}
		})
	}
}

func TestErrorsOfTheAgentAreThoseOfTheTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var tries atomic.Int32
		_, stop := serve(t, m, func(p *protocol.Prompt) {
			code := map[string]int{"bad": 400, "denied": 403, "busy": 429}[p.Prompt]
			if code == 429 && tries.Add(1) > 1 {
				_ = p.Response("done")
				p.End()
				return
			}
			p.Fail(&protocol.Error{Code: code, Message: "no", RetryAfter: time.Minute})
		})
		defer stop()
		m.Work(adopted(t, m, synadia.Config{}))
		for text, want := range map[string]string{"bad": "bad_input", "denied": "agent_error"} {
			if v := m.End(m.Create(`{"agent":"repo","instruction":"` + text + `"}`)); failure(v) != want || v.Attempt != 1 {
				t.Errorf("%s: %s, attempt %d", text, failure(v), v.Attempt)
			}
		}
		began := time.Now()
		if v := m.End(m.Create(`{"agent":"repo","instruction":"busy"}`)); string(v.Result) != `{"text":"done"}` || v.Attempt != 2 || time.Since(began) < time.Minute {
			t.Errorf("%s %s, attempt %d after %v", v.Result, failure(v), v.Attempt, time.Since(began))
		}
	})
}
