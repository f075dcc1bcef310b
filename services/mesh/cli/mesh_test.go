package cli

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"agentmesh/gateway"
	"agentmesh/gateway/client"
	"agentmesh/notifier"
	"agentmesh/shared/egress"
	"agentmesh/shared/keyring"
	"agentmesh/shared/natstest"
	"agentmesh/shared/secret"
	"agentmesh/shared/store"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// TestMain hides the developer's own contexts from the tests.
func TestMain(m *testing.M) {
	if err := os.Setenv("XDG_CONFIG_HOME", filepath.Join(os.TempDir(), "mesh-test-no-settings")); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// mesh is a gateway on a server, and the roles that a test puts beside it.
type mesh struct {
	t     *testing.T
	st    *store.Store
	guard *egress.Guard // allows loopback
	keys  *keyring.Ring
	srv   *httptest.Server
	c     *client.Client
}

var quiet = slog.New(slog.DiscardHandler)

func newMesh(t *testing.T) *mesh {
	t.Helper()
	keeper, err := secret.New(secret.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	m := &mesh{t: t, guard: egress.New(egress.Policy{Allow: egress.Loopback()}, nil), keys: keyring.New(keeper)}
	if m.st, err = store.Open(t.Context(), natstest.Start(t).Connect(t), store.Options{Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	cfg := gateway.Default()
	cfg.HTTP, cfg.Guard, cfg.Keys = "127.0.0.1:0", m.guard, m.keys
	g, err := gateway.New(cfg, m.st, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	m.srv = httptest.NewServer(g.Handler())
	t.Cleanup(m.srv.Close)
	if m.c, err = client.New(m.srv.URL); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *mesh) serve() (*httptest.Server, *client.Client) { return m.srv, m.c }

// work starts a worker.
func (m *mesh) work(agents ...agent.Agent) {
	m.t.Helper()
	w, err := worker.New(m.t.Context(), worker.Default(), m.st, agents, quiet)
	if err != nil {
		m.t.Fatal(err)
	}
	m.run("worker", w.Run)
}

// notify starts a notifier.
func (m *mesh) notify() {
	m.t.Helper()
	n, err := notifier.New(m.t.Context(), notifier.Default(), m.st, m.guard, m.keys, quiet)
	if err != nil {
		m.t.Fatal(err)
	}
	m.run("notifier", n.Run)
}

// run runs a role until the test ends.
func (m *mesh) run(name string, role func(context.Context) error) {
	ctx, stop := context.WithCancel(m.t.Context())
	done := make(chan error, 1)
	go func() { done <- role(ctx) }()
	m.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			m.t.Errorf("%s ended with %v", name, err)
		}
	})
}

func named(name string, h agent.Handler) agent.Agent {
	return agent.Agent{Definition: agent.Definition{Name: name}, Handler: h}
}

// do calls the gateway and returns its answer.
func (m *mesh) do(method, path, body string) (answer []byte) {
	m.t.Helper()
	req, err := http.NewRequestWithContext(m.t.Context(), method, m.srv.URL+path, strings.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := m.srv.Client().Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if answer, err = io.ReadAll(resp.Body); err != nil || resp.StatusCode >= 300 {
		m.t.Fatalf("%s %s = %d %s, %v", method, path, resp.StatusCode, answer, err)
	}
	return answer
}

// create accepts a task and returns its id.
func (m *mesh) create(body string) string {
	m.t.Helper()
	return decode[client.Task](m.t, m.do("POST", "/tasks", body)).TaskID
}

// end waits until a task has finished.
func (m *mesh) end(id string) {
	m.t.Helper()
	if _, err := m.c.Wait(m.t.Context(), id); err != nil {
		m.t.Fatal(err)
	}
}

func decode[T any](t *testing.T, raw []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("decode %.300s: %v", raw, err)
	}
	return v
}

// eventually polls until ok, for what only a real socket tells.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// transcript is what a command has written so far.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *transcript) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *transcript) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
