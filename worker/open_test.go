package worker_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"agentmesh/shared/meshtest"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// What an agent keeps between attempts is opened when a worker begins to serve it,
// and shut when it is served no more and its last attempt is over, at the latest with
// the worker.
func TestWhatAnAgentKeepsLivesAsLongAsItIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var mu sync.Mutex
		var said []string
		say := func(text string) { mu.Lock(); said = append(said, text); mu.Unlock() }
		release := make(chan struct{})
		keeps := func(name string) agent.Agent {
			a := meshtest.Named("a", func(context.Context, *agent.Job) (any, error) {
				say("run " + name)
				<-release
				return name, nil
			})
			a.Open = func() func() { say("open " + name); return func() { say("shut " + name) } }
			return a
		}
		heard := func(want ...string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(said, want) {
				t.Errorf("%q, want %q", said, want)
			}
			said = nil
		}
		w, err := worker.New(t.Context(), worker.Default(), m.Store, []agent.Agent{keeps("first")}, meshtest.Quiet())
		if err != nil {
			t.Fatal(err)
		}
		heard()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		one := m.Create(`{"agent":"a","instruction":"x"}`)
		heard("open first", "run first")
		if err := w.Reload(ctx, []agent.Agent{keeps("second")}); err != nil {
			t.Fatal(err)
		}
		heard("open second")
		release <- struct{}{}
		m.End(one)
		heard("shut first")
		m.Create(`{"agent":"a","instruction":"x"}`)
		heard("run second")
		stop()
		heard()
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
		heard("shut second")
	})
}
