package worker_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/topology"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// Two workers that serve different definitions by one name, without versions:
// both say so, and the definition does not change to and fro.
func TestTwoDefinitionsOfOneAgentAreAConflictInBothLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		start := func(schema string) (log *meshtest.Transcript, stop func()) {
			a := meshtest.Named("a", meshtest.Says("x"))
			a.InputSchema = json.RawMessage(schema)
			log = &meshtest.Transcript{}
			ctx, cancel := context.WithCancel(t.Context())
			w, err := worker.New(ctx, worker.Default(), m.Store, []agent.Agent{a}, slog.New(slog.NewTextHandler(log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- w.Run(ctx) }()
			synctest.Wait()
			return log, func() { cancel(); <-done }
		}
		known := func() api.Agent { return meshtest.Decode[api.Agent](t, m.Do("GET", "/agents/a", "").Body) }
		schemaNow := func() string {
			return string(meshtest.Decode[api.AgentList](t, m.Do("GET", "/agents", "").Body).Agents[0].InputSchema)
		}
		first, stopFirst := start(`{"type":"object"}`)
		if known().Conflict {
			t.Error("one worker is a conflict")
		}
		second, stopSecond := start(`{"type":"string"}`)
		defer stopSecond()
		_, stopThird := start(`{"type":"object"}`)
		stopThird()
		for range 5 { // within the age limit of a presence, see natstest
			time.Sleep(10 * time.Second)
			if v := known(); !v.Conflict || v.LiveWorkers != 2 {
				t.Fatalf("it is %+v", v)
			}
			if s := schemaNow(); s != `{"type":"object"}` {
				t.Fatalf("the schema changed to %s", s)
			}
		}
		const said = "another worker serves a different definition"
		for name, log := range map[string]*meshtest.Transcript{"first": first, "second": second} {
			if n := strings.Count(log.String(), said); n != 1 {
				t.Errorf("the %s worker said it %d times:\n%s", name, n, log)
			}
		}
		stopFirst()
		time.Sleep(31 * time.Second)
		if v := known(); v.Conflict || schemaNow() != `{"type":"string"}` {
			t.Errorf("when the first is gone: %+v", v)
		}
	})
}

// A reload changes what is served and lets what runs go on.
func TestAReloadLetsWhatRunsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		release := make(chan struct{})
		says := func(version, text string) agent.Agent {
			a := meshtest.Named("a", func(_ context.Context, job *agent.Job) (any, error) {
				if job.Instruction == "slow" {
					<-release
				}
				return text, nil
			})
			a.Version, a.Concurrency = version, 1
			return a
		}
		w, err := worker.New(t.Context(), worker.Default(), m.Store, []agent.Agent{says("1.0.0", "old"), meshtest.Named("gone", says("1", "x").Handler)}, meshtest.Quiet())
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		slow := m.Create(`{"agent":"a","instruction":"slow"}`)
		synctest.Wait()
		if err := w.Reload(ctx, []agent.Agent{says("2.0.0", "new")}); err != nil {
			t.Fatal(err)
		}
		quick := m.Create(`{"agent":"a","instruction":"quick"}`)
		gone := m.Create(`{"agent":"gone","instruction":"x"}`)
		time.Sleep(time.Minute)
		if v := m.Get(quick); v.Status != "pending" {
			t.Errorf("the one slot is taken, and there is %+v", v)
		}
		close(release)
		if v := m.End(slow); string(v.Result) != `"old"` || v.Attempt != 1 {
			t.Errorf("what ran came to %+v", v)
		}
		if v := m.End(quick); string(v.Result) != `"new"` {
			t.Errorf("after the reload: %+v", v)
		}
		if v := m.Get(gone); v.Status != "pending" {
			t.Errorf("an agent that is not served any more: %+v", v)
		}
		if err := w.Reload(ctx, nil); err == nil {
			t.Error("a reload to nothing")
		}
		if v := meshtest.Decode[struct{ Version string }](t, meshtest.Call(m.NewGateway(m.Store).Handler(), "GET", "/agents/a", "").Body); v.Version != "2.0.0" {
			t.Errorf("registered %+v", v)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := w.Reload(t.Context(), []agent.Agent{says("3", "x")}); err == nil {
			t.Error("a reload after the end")
		}
	})
}

// Two versions of an agent are both seen. Inputs are checked by the newer while
// a worker serves it, and by the older again when that is gone.
func TestTwoVersionsOfAnAgentAreBothServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		version := func(v, required string) agent.Agent {
			a := meshtest.Named("a", func(context.Context, *agent.Job) (any, error) { return v, nil })
			a.Version, a.InputSchema = v, json.RawMessage(`{"required":["`+required+`"]}`)
			return a
		}
		accepts := func(field string, after time.Duration) {
			t.Helper()
			time.Sleep(after)
			g := m.NewGateway(m.Store) // knows what is registered now
			for _, f := range []string{"old", "new"} {
				want := http.StatusUnprocessableEntity
				if f == field {
					want = http.StatusAccepted
				}
				if w := meshtest.Call(g.Handler(), "POST", "/tasks", `{"agent":"a","input":{"`+f+`":1}}`); w.Code != want {
					t.Errorf("with %s: %d %s, want %d", f, w.Code, w.Body, want)
				}
			}
		}
		m.Work(version("1.9.0", "old"))
		accepts("old", time.Second)
		stop := m.Work(version("1.10.0", "new"))
		m.Work(version("1.9.0", "old")) // an old worker restarts
		accepts("new", time.Second)
		v := meshtest.Decode[client.Agent](t, meshtest.Call(m.NewGateway(m.Store).Handler(), "GET", "/agents/a", "").Body)
		if v.Version != "1.10.0" || v.LiveWorkers != 3 {
			t.Errorf("%+v", v)
		}
		stop()
		accepts("old", topology.PresenceEvery+time.Second) // registered again
	})
}
