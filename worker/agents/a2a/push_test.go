package a2a_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"testing"
	"time"

	"agentmesh/gateway"
	"agentmesh/shared/egress"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/a2a"
)

// pushing is a mesh that tells receivers with sockets of its tasks, and its base.
func pushing(t *testing.T, agents ...agent.Agent) (m *meshtest.Mesh, base string) {
	m = meshtest.New(t)
	m.Guard = egress.New(egress.Policy{Allow: egress.Loopback()}, nil)
	m.Work(agents...)
	m.Notify()
	srv := httptest.NewUnstartedServer(nil)
	cfg := gateway.Default()
	cfg.HTTP, cfg.PublicURL, cfg.Guard, cfg.Keys = "127.0.0.1:0", "http://"+srv.Listener.Addr().String(), m.Guard, m.Keys
	g, err := gateway.New(cfg, m.Store, meshtest.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	srv.Config.Handler = g.Handler()
	srv.Start()
	t.Cleanup(srv.Close)
	return m, srv.URL
}

// The hook of the manual: who tells shows the token, and the context is the task's id.
const pushHook = `{"name":"a2a","verify":{"style":"token","header":"A2A-Notification-Token","id":"none","secrets":["sesame-sesame-sesame"]},
	"accept":[{"json":"/statusUpdate/status/state","in":["TASK_STATE_COMPLETED","TASK_STATE_FAILED","TASK_STATE_CANCELED","TASK_STATE_REJECTED","TASK_STATE_INPUT_REQUIRED","TASK_STATE_AUTH_REQUIRED"]}],
	"signal":{"task":"/statusUpdate/contextId","name":"a2a-push"}}`

func TestATaskThatIsToldOfWaitsWithoutAWorker(t *testing.T) {
	let := make(chan struct{})
	_, base := pushing(t, meshtest.Named("far", func(ctx context.Context, job *agent.Job) (any, error) {
		select {
		case <-let:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		return agent.Ask[string](ctx, job, "sure", agent.Question{Prompt: "Sure?"})
	}))
	here := meshtest.New(t)
	hooks := httptest.NewServer(here.Gateway.Handler())
	t.Cleanup(hooks.Close)
	var made struct {
		HookID string `json:"hook_id"`
	}
	if w := here.Do("POST", "/hooks", pushHook); json.Unmarshal(w.Body.Bytes(), &made) != nil || made.HookID == "" {
		t.Fatalf("the hook = %d %s", w.Code, w.Body)
	}
	// Nobody looks before an hour: what happens, happens since it is told.
	c := a2a.NewClient(a2a.Config{URL: base + "/agents/far/a2a/", Push: a2a.Push{URL: hooks.URL + "/hooks/" + made.HookID, Token: "sesame-sesame-sesame"}}, a2a.Options{Poll: time.Minute})
	near := meshtest.Named("far", a2a.New(c))
	near.SuspendAfter, near.Canceled = task.Duration(10*time.Millisecond), c.Canceled
	here.Work(near)
	id := here.Create(`{"agent":"far","instruction":"x"}`)
	rec := func() *task.Task {
		r, err := here.Store.Tasks.Get(t.Context(), "default", task.ID(id))
		if err != nil {
			return &task.Task{}
		}
		return r
	}
	natstest.Until(t, "it is let go of", func() bool { return rec().Suspended })
	if r := rec(); len(r.Waits) != 1 || r.Waits[0].Kind != task.WaitEvent || r.Waits[0].Name != a2a.PushSignal {
		t.Errorf("it waits for %+v", r.Waits)
	}
	close(let) // the far agent runs from its top again when its question is answered
	natstest.Until(t, "its question is here", func() bool { return len(rec().Questions()) == 1 })
	if w := here.Do("POST", "/tasks/"+id+"/input", `{"name":"sure","value":"yes"}`); w.Code/100 != 2 {
		t.Fatalf("answer = %d %s", w.Code, w.Body)
	}
	if v := here.End(id); v.Status != "completed" || string(v.Result) != `"yes"` || v.Attempt != 1 {
		t.Errorf("task = %s %+v", v.Result, v)
	}
}
