package meshtest

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/gateway"
	"agentmesh/gateway/client"
	"agentmesh/notifier"
	"agentmesh/shared/auth"
	"agentmesh/shared/egress"
	"agentmesh/shared/keyring"
	"agentmesh/shared/natstest"
	"agentmesh/shared/secret"
	"agentmesh/shared/store"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// Mesh is a server, and the parts that a test puts on it.
type Mesh struct {
	T       *testing.T
	Server  *natstest.Server
	NC      *nats.Conn
	Store   *store.Store
	Gateway *gateway.Gateway

	Guard  *egress.Guard // allows loopback
	Keys   *keyring.Ring
	Hosts  *hosts      // receivers without sockets
	Alerts *Transcript // if set: the notifiers' alerts

	Asks auth.Authenticator // if set: the gateways ask it who calls

	StopWorker func() // of started: hours of fake time are quicker without it
}

// Quiet drops the logs, unless the tests are verbose.
func Quiet() *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	return slog.New(slog.DiscardHandler)
}

// New is a mesh on a server of its own: a store and a gateway, no worker yet.
func New(t *testing.T) *Mesh {
	t.Helper()
	return NewIn(t, t.TempDir())
}

// NewIn is a mesh on the data in dir: a second one on it is a restart.
func NewIn(t *testing.T, dir string) *Mesh {
	t.Helper()
	return NewOn(t, natstest.StartIn(t, dir))
}

// NewOn is a mesh on a server that the test has.
func NewOn(t *testing.T, srv *natstest.Server) *Mesh {
	t.Helper()
	m := &Mesh{T: t, Server: srv, Hosts: NewHosts()}
	m.Guard = egress.New(egress.Policy{Allow: egress.Loopback()}, m.Hosts).WithDial(m.Hosts.Dial)
	m.Keys = RingOf(t, TestKey)
	m.Store, m.NC = m.OpenStore()
	m.Gateway = m.NewGateway(m.Store)
	return m
}

// RingOf has the keys of secret keys in their text form.
func RingOf(tb testing.TB, text string) *keyring.Ring {
	tb.Helper()
	keeper, err := secret.New(text)
	if err != nil {
		tb.Fatal(err)
	}
	return keyring.New(keeper)
}

// OpenStore opens a store on a connection of its own.
func (m *Mesh) OpenStore(opts ...nats.Option) (*store.Store, *nats.Conn) {
	m.T.Helper()
	nc := m.Server.Connect(m.T, append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectBufSize(-1)}, opts...)...)
	st, err := store.Open(m.T.Context(), nc, store.Options{Replicas: 1})
	if err != nil {
		m.T.Fatal(err)
	}
	return st, nc
}

// NewGateway makes a gateway whose handler the test calls itself.
func (m *Mesh) NewGateway(st *store.Store) *gateway.Gateway {
	m.T.Helper()
	return m.start(st, m.Guard, m.Keys)
}

// BareGateway makes one that takes no callbacks.
func (m *Mesh) BareGateway(st *store.Store) *gateway.Gateway {
	m.T.Helper()
	return m.start(st, nil, nil)
}

func (m *Mesh) start(st *store.Store, guard *egress.Guard, keys *keyring.Ring) *gateway.Gateway {
	m.T.Helper()
	cfg := gateway.Default()
	cfg.HTTP, cfg.Guard, cfg.Keys = "127.0.0.1:0", guard, keys
	if m.Asks != nil {
		cfg.Auth, cfg.Authenticator = "keys", m.Asks
	}
	g, err := gateway.New(cfg, st, Quiet())
	if err != nil {
		m.T.Fatal(err)
	}
	m.T.Cleanup(g.Close)
	return g
}

// Serve gives the gateway a socket of its own, for streams and clients.
func (m *Mesh) Serve() (*httptest.Server, *client.Client) {
	m.T.Helper()
	srv := httptest.NewServer(m.Gateway.Handler())
	m.T.Cleanup(srv.Close)
	c, err := client.New(srv.URL)
	if err != nil {
		m.T.Fatal(err)
	}
	return srv, c
}

// Work starts a worker; stop drains it.
func (m *Mesh) Work(agents ...agent.Agent) (stop func()) {
	m.T.Helper()
	return m.WorkWith(worker.Default(), m.Store, agents...)
}

// WorkWith starts a worker with its own settings and store.
func (m *Mesh) WorkWith(cfg worker.Config, st *store.Store, agents ...agent.Agent) (stop func()) {
	m.T.Helper()
	ctx, cancel := context.WithCancel(m.T.Context())
	w, err := worker.New(ctx, cfg, st, agents, Quiet())
	if err != nil {
		m.T.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	var stopped bool
	stop = func() {
		cancel()
		if !stopped {
			stopped = true
			if err := <-done; err != nil {
				m.T.Errorf("worker ended with %v", err)
			}
		}
	}
	m.T.Cleanup(stop)
	return stop
}

// Named is an agent with the default limits.
func Named(name string, h agent.Handler) agent.Agent {
	return agent.Agent{Definition: agent.Definition{Name: name}, Handler: h}
}

// Call asks a handler. headers are name, value pairs.
func Call(h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
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

// Receive starts a receiver that answers as f does; nil: 200.
func (m *Mesh) Receive(f http.HandlerFunc) *Receiver { return m.ReceiveTLS(f, nil) }

// ReceiveTLS starts a receiver; with a config it speaks TLS.
func (m *Mesh) ReceiveTLS(f http.HandlerFunc, config *tls.Config) *Receiver {
	m.T.Helper()
	l := m.Hosts.Listen()
	r := &Receiver{URL: "http://" + l.IP.String() + "/hook", Addr: l.IP, f: f}
	srv := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	var ln net.Listener = l
	if config != nil {
		r.URL = "https://" + l.IP.String() + "/hook"
		ln = tls.NewListener(l, config)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	m.T.Cleanup(func() { _ = srv.Close(); <-done })
	return r
}

// Notify starts a notifier; stop drains it.
func (m *Mesh) Notify() (stop func()) { m.T.Helper(); return m.NotifyWith(m.Store) }

// NotifyWith starts a notifier on a store of its own; stop drains it.
func (m *Mesh) NotifyWith(st *store.Store) (stop func()) {
	m.T.Helper()
	return m.NotifyAs(notifier.Default(), st)
}

// NotifyAs starts a notifier with its own settings and store; stop drains it.
func (m *Mesh) NotifyAs(cfg notifier.Config, st *store.Store) (stop func()) {
	m.T.Helper()
	ctx, cancel := context.WithCancel(m.T.Context())
	log := Quiet()
	if m.Alerts != nil {
		log = slog.New(slog.NewTextHandler(m.Alerts, &slog.HandlerOptions{Level: slog.LevelError}))
	}
	n, err := notifier.New(ctx, cfg, st, m.Guard, m.Keys, log)
	if err != nil {
		m.T.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				m.T.Errorf("notifier ended with %v", err)
			}
		})
	}
	m.T.Cleanup(stop)
	return stop
}

// StoreThrough opens a store on a connection through a gate.
func (m *Mesh) StoreThrough(g *Gate) *store.Store {
	m.T.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(g), nats.MaxReconnects(-1), nats.PingInterval(time.Hour))
	if err != nil {
		m.T.Fatal(err)
	}
	m.T.Cleanup(nc.Close)
	st, err := store.Open(m.T.Context(), nc, store.Options{Replicas: 1})
	if err != nil {
		m.T.Fatal(err)
	}
	return st
}

// DeleteConsumer is somebody with the nats command line.
func (m *Mesh) DeleteConsumer(stream, durable string) {
	m.T.Helper()
	js, err := jetstream.New(m.NC)
	if err == nil {
		err = js.DeleteConsumer(m.T.Context(), stream, durable)
	}
	if err != nil {
		m.T.Fatal(err)
	}
}
