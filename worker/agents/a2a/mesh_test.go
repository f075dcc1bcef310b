package a2a_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"agentmesh/gateway"
	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/task"
	"agentmesh/worker"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/a2a"
)

// serve has a mesh reached by others, as its cards say, and returns where. seen is told
// of each request.
func serve(t *testing.T, m *meshtest.Mesh, auths auth.Authenticator, seen func(*http.Request)) string {
	t.Helper()
	var g *gateway.Gateway
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen(r)
		g.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	cfg := gateway.Default()
	cfg.HTTP, cfg.PublicURL = "127.0.0.1:0", srv.URL
	if auths != nil {
		cfg.Auth, cfg.Authenticator = "keys", auths
	}
	var err error
	if g, err = gateway.New(cfg, m.Store, meshtest.Quiet()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return srv.URL
}

// remote is an agent of the near mesh that is one of the far.
func remote(name, base string) agent.Agent {
	c := a2a.NewClient(a2a.Config{URL: base + "/agents/" + name + "/a2a/", Headers: map[string]string{"Authorization": "Bearer far"}}, a2a.Options{Poll: 10 * time.Millisecond})
	a := meshtest.Named(name, a2a.New(c))
	a.Retry.Backoff, a.SuspendAfter, a.Canceled = 1, task.Duration(10*time.Millisecond), c.Canceled
	return a
}

// far are the agents of the far mesh.
func far(canceled chan<- struct{}, let <-chan struct{}) []agent.Agent {
	chats := meshtest.Named("chats", func(_ context.Context, job *agent.Job) (any, error) {
		return agent.Reply{Message: strings.Repeat("+", len(job.Turn.Messages)) + job.Instruction}, nil
	})
	chats.Conversation = true
	return []agent.Agent{
		chats,
		meshtest.Named("says", func(ctx context.Context, job *agent.Job) (any, error) {
			job.Progress(50, "half")
			if err := job.Milestone(ctx, "read", "it is read", map[string]int{"n": 1}); err != nil {
				return nil, err
			}
			if len(job.Input) > 0 {
				return job.Input, nil
			}
			return job.Instruction, nil
		}),
		meshtest.Named("asks", func(ctx context.Context, job *agent.Job) (any, error) {
			first, err := agent.Ask[bool](ctx, job, "sure", agent.Question{Prompt: "Are you sure?"})
			if err != nil {
				return nil, err
			}
			second, err := agent.Ask[int](ctx, job, "sure", agent.Question{Prompt: "How much?", Schema: json.RawMessage(`{"type":"integer"}`)})
			return []any{first, second}, err
		}),
		meshtest.Named("takes", func(ctx context.Context, job *agent.Job) (any, error) {
			for i, text := range []string{"abc", "aXY", "aXYZ"} {
				job.OutputAt(0, text)
				if err := job.Milestone(ctx, string('a'+rune(i)), "", nil); err != nil {
					return nil, err
				}
			}
			return "done", nil
		}),
		meshtest.Named("fails", func(context.Context, *agent.Job) (any, error) {
			return nil, &agent.Error{Code: "no_luck", Message: "no luck today", Permanent: true}
		}),
		meshtest.Named("holds", func(ctx context.Context, _ *agent.Job) (any, error) {
			select {
			case <-ctx.Done():
				if errors.Is(context.Cause(ctx), agent.ErrCanceled) {
					canceled <- struct{}{}
				}
				return nil, ctx.Err()
			case <-let:
				return "let go", nil
			}
		}),
	}
}

// Each story is one task of the near mesh, done in the far one.
func TestAMeshCallsAnAgentOfAnotherMesh(t *testing.T) {
	there, here := meshtest.New(t), meshtest.New(t)
	canceled, let := make(chan struct{}, 1), make(chan struct{})
	there.Work(far(canceled, let)...)
	keys := meshtest.Callers{"far": {Tenant: "default", Subject: "near", Scopes: []auth.Scope{auth.All}}}
	base := serve(t, there, keys, func(*http.Request) {})
	var all []agent.Agent
	for _, name := range []string{"says", "asks", "takes", "fails", "holds", "chats"} {
		all = append(all, remote(name, base))
	}
	cfg := worker.Default()
	cfg.Drain = time.Millisecond
	stop := here.WorkWith(cfg, here.Store, all...)

	t.Run("a value comes back as it is, and milestones with it", func(t *testing.T) {
		v := here.End(here.Create(`{"agent":"says","input":{"n":12345678901234567}}`))
		if v.Status != "completed" || string(v.Result) != `{"n":12345678901234567}` {
			t.Errorf("task = %+v %+v", v, v.Error)
		}
		if v := here.End(here.Create(`{"agent":"says","instruction":"hello"}`)); string(v.Result) != `"hello"` {
			t.Errorf("task = %s %+v", v.Result, v.Error)
		}
	})
	t.Run("a failure is one for good, with its code", func(t *testing.T) {
		v := here.End(here.Create(`{"agent":"fails","instruction":"x"}`))
		if v.Error == nil || v.Error.Code != "no_luck" || v.Error.Message != "no luck today" || v.Attempt != 1 {
			t.Errorf("task = %+v %+v", v, v.Error)
		}
	})
	t.Run("questions become questions, one after the other", func(t *testing.T) {
		id := here.Create(`{"agent":"asks","instruction":"x"}`)
		for i, value := range []string{"true", "7"} {
			natstest.Until(t, "a question", func() bool {
				rec, err := here.Store.Tasks.Get(t.Context(), "default", task.ID(id))
				return err == nil && len(rec.Questions()) == 1 && rec.Questions()[0].N == i
			})
			if w := here.Do("POST", "/tasks/"+id+"/input", `{"name":"sure","value":`+value+`}`); w.Code/100 != 2 {
				t.Fatalf("answer = %d %s", w.Code, w.Body)
			}
		}
		if v := here.End(id); string(v.Result) != `[true,7]` {
			t.Errorf("task = %s %+v", v.Result, v.Error)
		}
	})
	t.Run("output comes as it is said, and goes as it is taken back", func(t *testing.T) {
		id := here.Create(`{"agent":"takes","instruction":"x"}`)
		v := here.End(id)
		rec, err := here.Store.Tasks.Get(t.Context(), "default", task.ID(id))
		if err != nil || rec.Output != "aXYZ" || string(v.Result) != `"done"` {
			t.Errorf("%v: %q, task %s", err, rec.Output, v.Result)
		}
	})
	t.Run("a session is one context there", func(t *testing.T) {
		id := here.Session("chats")
		for _, want := range []string{"+a", "+++a"} {
			if v := here.Say(http.StatusOK, id, "a"); v.Message != want {
				t.Errorf("reply = %q, want %q: %+v", v.Message, want, v)
			}
		}
	})
	t.Run("a cancel passes on", func(t *testing.T) {
		id := here.Create(`{"agent":"holds","instruction":"x"}`)
		natstest.Until(t, "it runs there", func() bool {
			return strings.Contains(there.Do("GET", "/tasks?agent=holds&status=processing", "").Body.String(), "tsk_")
		})
		here.Do("POST", "/tasks/"+id+"/cancel", "")
		<-canceled
	})
	t.Run("a cancel passes on while a question is open and nobody runs the task", func(t *testing.T) {
		id := here.Create(`{"agent":"asks","instruction":"canceled"}`)
		natstest.Until(t, "it is let go of", func() bool {
			rec, err := here.Store.Tasks.Get(t.Context(), "default", task.ID(id))
			return err == nil && rec.Suspended && len(rec.Questions()) == 1
		})
		here.Do("POST", "/tasks/"+id+"/cancel", "")
		natstest.Until(t, "it is canceled there", func() bool {
			return strings.Contains(there.Do("GET", "/tasks?agent=asks&status=canceled", "").Body.String(), "tsk_")
		})
	})
	t.Run("a worker that comes after goes on with the task that was sent", func(t *testing.T) {
		id := here.Create(`{"agent":"holds","instruction":"x"}`)
		running := func() int {
			return strings.Count(there.Do("GET", "/tasks?agent=holds&status=processing", "").Body.String(), `"task_id"`)
		}
		natstest.Until(t, "it runs there", func() bool { return running() == 1 })
		stop() // it hands the task back
		here.Work(remote("holds", base))
		let <- struct{}{}
		if v := here.End(id); v.Status != "completed" || string(v.Result) != `"let go"` {
			t.Errorf("task = %+v %+v", v, v.Error)
		}
		if n := running(); n != 0 {
			t.Errorf("%d tasks run there still", n)
		}
	})
}
