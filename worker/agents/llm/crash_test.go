package llm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/llm"
	"agentmesh/worker/agents/llm/llmtest"
)

// till is a server of tools that counts what was done. It keeps its calls as the client
// of the Model Context Protocol does.
type till struct {
	mu    sync.Mutex
	calls map[string]int
	dead  func() bool
	fails bool // the server is away
}

func (s *till) List(context.Context) ([]llm.RemoteTool, error) {
	schema := json.RawMessage(`{"type":"object","properties":{"euro":{"type":"integer"}}}`)
	return []llm.RemoteTool{{Name: "pay", Schema: schema}, {Name: "look", Schema: schema, Repeatable: true}, {Name: "hidden", Schema: schema}}, nil
}

func (s *till) Run(ctx context.Context, job *agent.Job, c llm.RemoteCall) (llm.RemoteResult, error) {
	opts := []agent.StepOption{}
	if c.OnUnknown != llm.RetryOnUnknown {
		opts = append(opts, agent.Marked())
	}
	for {
		text, err := agent.Step(ctx, job, c.Step, func(ctx context.Context, info agent.StepInfo) (string, error) {
			if c.Made != nil {
				c.Made()
			}
			if s.dead != nil && s.dead() {
				<-ctx.Done()
				return "", context.Cause(ctx)
			}
			if info.Again && c.OnUnknown == llm.FailOnUnknown {
				return "", &agent.Error{Code: task.CodeToolOutcomeUnknown, Permanent: true, Message: "unknown"}
			}
			if info.Again && c.OnUnknown == llm.AskOnUnknown {
				return "unknown", nil
			}
			if s.fails {
				return "", agent.Permanent(errors.New("the server is away"))
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.calls[c.Tool+string(c.Args)]++
			return "done " + string(c.Args), nil
		}, opts...)
		if text != "unknown" {
			return llm.RemoteResult{Text: text}, err
		}
		if answer, err := agent.Ask[string](ctx, job, "unknown-"+c.Step, agent.Question{Prompt: "Was it done?"}); err != nil || answer == "done" {
			return llm.RemoteResult{Text: "done " + string(c.Args)}, err
		}
	}
}

// buys pays, looks, and pays again, before it answers: six steps.
func buys(r llmtest.Request) llmtest.Reply {
	calls := []llmtest.Call{{Name: "shop__pay", Arguments: `{"euro":1}`}, {Name: "shop__look", Arguments: `{}`}, {Name: "shop__pay", Arguments: `{"euro":2}`}}
	if n := r.Results(); n < len(calls) {
		return llmtest.Reply{Calls: calls[n : n+1]}
	}
	return llmtest.Reply{Text: "bought"}
}

func shopper(s *till) llm.File {
	f := one(llm.Config{Tools: []llm.Use{{Set: "shop"}}})
	f.Tools = map[string]llm.ToolSet{"shop": {Server: s, Allow: []string{"pay", "look"}}}
	return f
}

// Wherever a worker is killed, before or after one of its writes: no finished answer and
// no finished call is made again, and what may not be done twice is done once, or a
// person was asked.
func TestNothingThatIsFinishedIsDoneAgainWhereverTheWorkerIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crashes{Mesh: meshtest.New(t)}
		c.core = mesh.New(c.Store, mesh.Options{Log: meshtest.Quiet()})
		defer c.core.Close()
		whole := c.run(0, false)
		for at := 1; at <= len(whole); at++ {
			if !strings.HasPrefix(whole[at-1], "mesh.steps.") && !testing.Verbose() {
				continue
			}
			for _, after := range []bool{false, true} {
				c.run(at, after)
			}
		}
		if entries := slices.DeleteFunc(whole, func(s string) bool { return !strings.HasPrefix(s, "mesh.steps.") }); len(entries) < 9 || c.asked == 0 {
			t.Errorf("the journal has %d entries, asked %d times: %q", len(entries), c.asked, entries)
		}
	})
}

// crashes runs tasks through workers that are killed.
type crashes struct {
	*meshtest.Mesh
	core  *mesh.Mesh
	asked int
}

// run runs one task through a worker that is killed at a write, and another one.
func (c *crashes) run(at int, after bool) (writes []string) {
	s, model := &till{calls: map[string]int{}}, llmtest.New(buys)
	broken, asked := make(chan struct{}), c.asked
	wire := &meshtest.Wire{Server: c.Server.Server, Cut: at, After: after, Broken: func() { close(broken) }}
	d := &desk{Mesh: c.Mesh, model: model}
	s.dead = wire.Dead
	stop := d.live(wire, shopper(s))
	id := d.Create(ask)
	c.until(id, broken)
	stop()
	killed := 0
	if wire.Dead() {
		killed, s.dead = 1, nil
		stop = d.live(&meshtest.Wire{Server: c.Server.Server}, shopper(s))
		c.until(id, nil)
		stop()
	}
	v := c.Get(id)
	if text(v) != "bought" || len(model.Asked()) > 4+killed {
		c.T.Errorf("cut at %d (%v): %s %s, %d answers, %+v", at, after, v.Status, v.Result, len(model.Asked()), v.Error)
	}
	for what, n := range s.calls {
		if strings.HasPrefix(what, "pay") && n > 1 && c.asked == asked {
			c.T.Errorf("cut at %d (%v): %s was done %d times, and nobody was asked", at, after, what, n)
		}
	}
	if len(s.calls) != 3 {
		c.T.Errorf("cut at %d (%v): done was %v", at, after, s.calls)
	}
	return wire.Writes()
}

// live starts a worker behind a wire.
func (d *desk) live(wire *meshtest.Wire, f llm.File) (stop func()) {
	st, hangUp, err := d.StoreOver(wire)
	if err != nil {
		return func() {}
	}
	all := d.agents(f)
	all[0].Retry.MaxAttempts = 100
	cfg := worker.Default()
	cfg.Drain = 0
	ctx, cancel := context.WithCancel(d.T.Context())
	w, err := worker.New(ctx, cfg, st, all, meshtest.Quiet())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err == nil {
			_ = w.Run(ctx)
		}
	}()
	return func() { cancel(); <-done; hangUp() }
}

// until waits for the end of a task, and answers what it asks by the truth: retry if it
// was not done. It ends early when broken is closed.
func (c *crashes) until(id string, broken <-chan struct{}) {
	for end := time.Now().Add(time.Hour); time.Now().Before(end); {
		rec, err := c.Store.Tasks.Get(c.T.Context(), "default", task.ID(id))
		if err == nil {
			for _, q := range rec.Questions() {
				c.asked++
				_, err := c.core.Tasks.Answer(c.T.Context(), auth.Local(), rec.ID, mesh.AnswerRequest{Name: q.Name, Value: json.RawMessage(`"retry"`)})
				if err != nil {
					c.T.Error(err)
				}
			}
			if n, err := c.Store.Tasks.Queued(c.T.Context()); err == nil && n == 0 && rec.Status.Terminal() {
				return
			}
		}
		select {
		case <-broken:
			return
		case <-time.After(time.Second):
		}
	}
	c.T.Errorf("%s does not end", id)
}

// A server of tools that is away is told to the model, once for all runs.
func TestAToolThatIsAwayIsToldToTheModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &till{calls: map[string]int{}, fails: true}
		d := newDesk(t, llmtest.Replies(llmtest.Reply{Calls: []llmtest.Call{{Name: "shop__pay"}, {Name: "shop__hidden"}}}, llmtest.Reply{Text: "sorry"}), shopper(s))
		v := d.run(ask)
		m := d.model.Asked()[1].Messages
		if text(v) != "sorry" || m[len(m)-2].Content != "error: the server is away" || !strings.Contains(m[len(m)-1].Content, "no tool") {
			t.Errorf("%s %+v %+v", v.Status, m, v.Error)
		}
	})
}

func TestAPersonApprovesTheVeryCallThatWasAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for answer, want := range map[string]string{
			`"approve"`: `done {"euro":5}`, `{"decision":"reject","note":"too much"}`: "error: a person has rejected the call: too much",
			`{"decision":"approve","arguments":{"euro":3}}`: `done {"euro":3}`,
		} {
			s := &till{calls: map[string]int{}}
			f := shopper(s)
			set := f.Tools["shop"]
			set.Approve = []string{"*"}
			f.Tools["shop"] = set
			d := newDesk(t, llmtest.Replies(llmtest.Reply{Calls: []llmtest.Call{{Name: "shop__pay", Arguments: `{"euro":5}`}}}, llmtest.Reply{Text: "ok"}), f)
			id := d.Create(ask)
			time.Sleep(time.Minute)
			if rec := d.Record(id); rec.Status != task.InputRequired || !strings.Contains(rec.Waits[0].Prompt, `shop__pay with {"euro":5}`) || len(s.calls) > 0 {
				t.Fatalf("%s %+v", rec.Status, rec.Waits)
			}
			if w := d.Do("POST", "/tasks/"+id+"/input", fmt.Sprintf(`{"value":%s}`, answer)); w.Code != 202 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			v := d.End(id)
			all := d.model.Asked()
			if text(v) != "ok" || len(all) != 2 || all[1].Last().Content != want {
				t.Errorf("%s: %s %+v", answer, v.Status, all[len(all)-1].Messages)
			}
		}
	})
}
