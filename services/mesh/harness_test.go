package main

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/gateway"
	"agentmesh/gateway/client"
	"agentmesh/shared/egress"
	"agentmesh/shared/keyring"
	"agentmesh/shared/natstest"
	"agentmesh/shared/proc"
	"agentmesh/shared/secret"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// chaos asks for the long forms of the tests with real processes.
var chaos = flag.Bool("chaos", false, "run the long form of the crash tests")

// TestMain lets the test binary be the mesh: real processes to kill need no
// build of their own.
func TestMain(m *testing.M) {
	if os.Getenv("MESH_TEST_MAIN") == "1" {
		signal.Ignore(syscall.SIGXFSZ) // a write over the limit of limitFiles is an error, as on a full disk
		ctx, stop := proc.Context(context.Background())
		code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}
	if role := os.Getenv("MESH_TEST_WORKER"); role != "" {
		os.Exit(testWorker(role))
	}
	if os.Getenv("MESH_TEST_SERVE") == "1" {
		os.Exit(testServe())
	}
	flag.Parse()
	// The developer's own contexts are no business of the tests.
	if err := os.Setenv("XDG_CONFIG_HOME", filepath.Join(os.TempDir(), "mesh-test-no-settings")); err != nil {
		panic(err)
	}
	if _, err := telemetry.Start(context.Background(), telemetry.DefaultConfig(), "test", "test", false); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// mesh is a server, and the parts that a test puts on it.
type mesh struct {
	t   *testing.T
	srv *natstest.Server
	nc  *nats.Conn
	st  *store.Store
	g   *gateway.Gateway

	guard  *egress.Guard // allows loopback
	keys   *keyring.Ring
	hosts  *hosts      // receivers without sockets
	alerts *transcript // if set: the notifiers' alerts

	stopWorker func() // of started: hours of fake time are quicker without it
}

// quiet drops the logs, unless the tests are verbose.
func quiet() *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	return slog.New(slog.DiscardHandler)
}

func newMesh(t *testing.T) *mesh {
	t.Helper()
	return newMeshIn(t, t.TempDir())
}

func newMeshIn(t *testing.T, dir string) *mesh {
	t.Helper()
	return newMeshOn(t, natstest.StartIn(t, dir))
}

func newMeshOn(t *testing.T, srv *natstest.Server) *mesh {
	t.Helper()
	m := &mesh{t: t, srv: srv, hosts: newHosts()}
	m.guard = egress.New(egress.Policy{Allow: egress.Loopback()}, m.hosts).WithDial(m.hosts.dial)
	m.keys = ringOf(t, testKey)
	m.st, m.nc = m.openStore()
	m.g = m.newGateway(m.st)
	return m
}

// ringOf has the keys of secret keys in their text form.
func ringOf(tb testing.TB, text string) *keyring.Ring {
	tb.Helper()
	keeper, err := secret.New(text)
	if err != nil {
		tb.Fatal(err)
	}
	return keyring.New(keeper)
}

func (m *mesh) openStore(opts ...nats.Option) (*store.Store, *nats.Conn) {
	m.t.Helper()
	nc := m.srv.Connect(m.t, append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectBufSize(-1)}, opts...)...)
	st, err := store.Open(m.t.Context(), nc, store.Options{Replicas: 1})
	if err != nil {
		m.t.Fatal(err)
	}
	return st, nc
}

// newGateway makes a gateway whose handler the test calls itself.
func (m *mesh) newGateway(st *store.Store) *gateway.Gateway {
	m.t.Helper()
	return m.gateway(st, m.guard, m.keys)
}

// bareGateway makes one that takes no callbacks.
func (m *mesh) bareGateway(st *store.Store) *gateway.Gateway {
	m.t.Helper()
	return m.gateway(st, nil, nil)
}

func (m *mesh) gateway(st *store.Store, guard *egress.Guard, keys *keyring.Ring) *gateway.Gateway {
	m.t.Helper()
	cfg := gateway.Default()
	cfg.HTTP, cfg.Guard, cfg.Keys = "127.0.0.1:0", guard, keys
	g, err := gateway.New(cfg, st, quiet())
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(g.Close)
	return g
}

// serve gives the gateway a socket of its own, for streams and clients.
func (m *mesh) serve() (*httptest.Server, *client.Client) {
	m.t.Helper()
	srv := httptest.NewServer(m.g.Handler())
	m.t.Cleanup(srv.Close)
	c, err := client.New(srv.URL)
	if err != nil {
		m.t.Fatal(err)
	}
	return srv, c
}

// work starts a worker; stop drains it.
func (m *mesh) work(agents ...agent.Agent) (stop func()) {
	m.t.Helper()
	return m.workWith(worker.Default(), m.st, agents...)
}

func (m *mesh) workWith(cfg worker.Config, st *store.Store, agents ...agent.Agent) (stop func()) {
	m.t.Helper()
	ctx, cancel := context.WithCancel(m.t.Context())
	w, err := worker.New(ctx, cfg, st, agents, quiet())
	if err != nil {
		m.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	var stopped bool
	stop = func() {
		cancel()
		if !stopped {
			stopped = true
			if err := <-done; err != nil {
				m.t.Errorf("worker ended with %v", err)
			}
		}
	}
	m.t.Cleanup(stop)
	return stop
}

// named is an agent with the default limits.
func named(name string, h agent.Handler) agent.Agent {
	return agent.Agent{Definition: agent.Definition{Name: name}, Handler: h}
}

// do calls the gateway's handler. headers are name, value pairs.
func (m *mesh) do(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	return call(m.g.Handler(), method, path, body, headers...)
}

func call(h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// create accepts a task and returns its id.
func (m *mesh) create(body string, headers ...string) string {
	m.t.Helper()
	w := m.do("POST", "/tasks", body, headers...)
	if w.Code != http.StatusAccepted && w.Code != http.StatusOK {
		m.t.Fatalf("POST /tasks = %d %s", w.Code, w.Body)
	}
	return decode[client.Task](m.t, w.Body).TaskID
}

func (m *mesh) get(id string) client.Task {
	m.t.Helper()
	w := m.do("GET", "/tasks/"+id, "")
	if w.Code != http.StatusOK {
		m.t.Fatalf("GET /tasks/%s = %d %s", id, w.Code, w.Body)
	}
	return decode[client.Task](m.t, w.Body)
}

// end waits until a task has finished.
func (m *mesh) end(id string) client.Task {
	m.t.Helper()
	for range 200 {
		w := m.do("GET", "/tasks/"+id, "", "Prefer", "wait=60")
		if w.Code != http.StatusOK {
			m.t.Fatalf("GET /tasks/%s = %d %s", id, w.Code, w.Body)
		}
		if v := decode[client.Task](m.t, w.Body); v.Done {
			return v
		}
	}
	m.t.Fatalf("task %s does not end: %+v", id, m.get(id))
	return client.Task{}
}

// record reads a task's record itself.
func (m *mesh) record(id string) *task.Task {
	m.t.Helper()
	rec, err := m.st.Get(m.t.Context(), "default", id)
	if err != nil {
		m.t.Fatal(err)
	}
	return rec
}

// queued counts the messages in the queue.
func (m *mesh) queued() int {
	m.t.Helper()
	n, err := m.st.Queued(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

func decode[T any](t *testing.T, r io.Reader) (v T) {
	t.Helper()
	raw, err := io.ReadAll(r)
	if err == nil {
		err = json.Unmarshal(raw, &v)
	}
	if err != nil {
		t.Fatalf("decode %s: %v", clipped(raw), err)
	}
	return v
}

func clipped(b []byte) []byte { return b[:min(len(b), 300)] }

// eventually polls until ok, for what only a real process or socket tells.
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

// gate is a connection to the server that can be frozen: bytes that one side
// writes reach the other only after the thaw, as if the network or the process
// had stopped. Writes are kept rather than blocked: the client writes under its
// lock, and a fake clock stands still while anyone waits for a lock.
type gate struct {
	srv nats.InProcessConnProvider

	mu    sync.Mutex
	shut  chan struct{} // nil while open, closed by the thaw
	hears bool          // while shut, what the server says comes through
	conns []*gatedConn
}

// mute freezes the way to the server only: messages that have come are worked on,
// and no request is answered.
func (g *gate) mute() {
	g.freeze()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hears = true
}

func (g *gate) freeze() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = make(chan struct{})
}

func (g *gate) thaw() {
	g.mu.Lock()
	shut, conns := g.shut, g.conns
	g.shut, g.hears = nil, false
	g.mu.Unlock()
	close(shut)
	for _, c := range conns {
		_, _ = c.Write(nil)
	}
}

func (g *gate) closed() chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut
}

func (g *gate) hearing() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.hears
}

// InProcessConn implements nats.InProcessConnProvider.
func (g *gate) InProcessConn() (net.Conn, error) {
	c, err := g.srv.InProcessConn()
	gated := &gatedConn{Conn: c, gate: g, writer: make(chan []byte, 1)}
	gated.writer <- nil
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns = append(g.conns, gated)
	return gated, err
}

type gatedConn struct {
	net.Conn
	gate   *gate
	writer chan []byte // holds what is kept; a lock that a fake clock knows
}

func (c *gatedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if shut := c.gate.closed(); shut != nil && !c.gate.hearing() {
		<-shut
	}
	return n, err
}

func (c *gatedConn) Write(b []byte) (int, error) {
	kept := <-c.writer
	if c.gate.closed() != nil {
		c.writer <- append(kept, b...)
		return len(b), nil
	}
	defer func() { c.writer <- nil }()
	if len(kept) > 0 {
		if _, err := c.Conn.Write(kept); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(b)
}
