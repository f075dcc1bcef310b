package cli

import (
	"context"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
)

func TestTopCommand(t *testing.T) {
	m := newMesh(t)
	m.Work(meshtest.Named("one", func(context.Context, *agent.Job) (any, error) { return 1, nil }))
	srv, _ := m.Serve()
	code, out, errs := cli(t, "top", "--once", "--gateway", srv.URL)
	for _, want := range []string{"tasks ", "deliveries ", "storage ", "AGENT", "one ", "WORKER", "wrk_"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("no %q in %d %s %s", want, code, out, errs)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("escapes without a terminal: %q", out)
	}
	if code, _, errs := cli(t, "top", "--once", "--gateway", "http://127.0.0.1:1"); code != 1 || !strings.Contains(errs, "read the state of the mesh") {
		t.Errorf("no gateway: %d %s", code, errs)
	}
	if code, _, errs := cli(t, "top", "--interval", "1ms", "--gateway", srv.URL); code != 2 || !strings.Contains(errs, "interval") {
		t.Errorf("interval: %d %s", code, errs)
	}
	// Ctrl-C ends it, whatever it does.
	ctx, cancel := context.WithCancel(t.Context())
	var live strings.Builder
	done := make(chan int, 1)
	go func() {
		done <- Run(ctx, Root(nil), []string{"top", "--interval", "100ms", "--gateway", srv.URL}, &live, &live)
	}()
	time.AfterFunc(350*time.Millisecond, cancel)
	if code := <-done; code != 0 || strings.Count(live.String(), "AGENT") < 2 {
		t.Errorf("%d %s", code, live.String())
	}
}
