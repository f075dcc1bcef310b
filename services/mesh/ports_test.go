package main

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"

	"agentmesh/services/mesh/cli"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/store"
	"agentmesh/worker/agent"
)

// occupied is an address that is in use.
func occupied(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// The start of a mesh beside another one names all that is in the way at once,
// not one port after the other.
func TestAllThatIsInTheWayIsSaidAtOnce(t *testing.T) {
	dir := t.TempDir()
	lock, err := lockData(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	http, nats, admin := occupied(t), occupied(t), occupied(t)
	code, _, stderr := command(t, "up", "--data", dir, "--http", http, "--nats", nats, "--admin", admin)
	if code != cli.ExitFailed {
		t.Errorf("exit status %d", code)
	}
	for _, want := range []string{"used by another mesh", "--http", http, "--nats off", nats, "--admin off", admin} {
		if !strings.Contains(stderr, want) {
			t.Errorf("it does not say %q:\n%s", want, stderr)
		}
	}
}

// A process that cannot listen announces nothing: workers that died of a taken
// admin port were counted as live ones.
func TestARoleThatCannotListenLeavesNoTraceInTheMesh(t *testing.T) {
	srv := fleetServer(t)
	nc, err := natsconn.InProcess(srv, "test", srv.token(), meshtest.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	st, err := store.Open(t.Context(), nc, store.DefaultOptions(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NATS_URL", srv.ClientURL())
	taken := occupied(t)
	for _, args := range [][]string{{"worker"}, {"gateway", "--http", "127.0.0.1:0"}, {"gateway", "--http", taken}, {"notifier"}} {
		code, _, stderr := command(t, append(args, "--replicas", "1", "--admin", taken, "--log-level", "error")...)
		if code != cli.ExitFailed || !strings.Contains(stderr, "listen for --admin") || strings.Contains(strings.Join(args, " "), taken) && !strings.Contains(stderr, "listen for --http") {
			t.Errorf("%s: status %d, %s", args, code, stderr)
		}
	}
	workers, err := st.Registry.Workers(t.Context())
	if err != nil || len(workers) > 0 {
		t.Errorf("present are %+v, %v", workers, err)
	}
	if known, err := st.Registry.Agents(t.Context()); err != nil || len(known) > 0 {
		t.Errorf("registered are %+v, %v", known, err)
	}
}

// The mesh accepts the requests that its start offers to try.
func TestTheHintOfUpRunsOnTheAgentsItServes(t *testing.T) {
	schema := `{"type":"object","required":["topic","depth","tone","tags","deep"],"properties":{"topic":{"type":"string"},
		"depth":{"type":"integer","minimum":3},"tone":{"enum":["dry","gay"]},"tags":{"type":"array"},
		"deep":{"type":"object","required":["yes"],"properties":{"yes":{"type":"boolean"}}},"more":{"type":"string"}}}`
	ok := func(context.Context, *agent.Job) (any, error) { return "ok", nil }
	research, plain, second := meshtest.Named("research", ok), meshtest.Named("plain", ok), meshtest.Named("second", ok)
	research.InputSchema, second.Default = json.RawMessage(schema), true
	for _, tt := range []struct {
		name   string
		served []agent.Agent
		want   string
	}{
		{"with a schema", []agent.Agent{research, plain}, `"agent":"research"`},
		{"without", []agent.Agent{plain, research}, `"agent":"plain"`},
		{"the default one", []agent.Agent{plain, second}, `"agent":"second"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := meshtest.New(t)
			m.Work(tt.served...)
			text := hint("http://mesh", false, false, tt.served)
			_, body, _ := strings.Cut(text, " -d '")
			body, _, _ = strings.Cut(body, "'\n")
			if w := m.Do("POST", "/tasks", body); w.Code != 202 || !strings.Contains(body, tt.want) || strings.Contains(text, "echo") {
				t.Errorf("%s\n%d %s", text, w.Code, w.Body)
			}
		})
	}
}
