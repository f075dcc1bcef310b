package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/notifier"
	"agentmesh/shared/signature"
	"agentmesh/shared/store"
)

const testKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// hosts are receivers that a notifier reaches through pipes, by an address of
// their own or by name: no sockets, so that they live inside a bubble.
type hosts struct {
	mu    sync.Mutex
	n     byte
	at    map[netip.Addr]chan net.Conn
	names map[string][]netip.Addr
}

func newHosts() *hosts {
	return &hosts{at: map[netip.Addr]chan net.Conn{}, names: map[string][]netip.Addr{}}
}

// LookupNetIP implements egress.Resolver.
func (h *hosts) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if addrs := h.names[host]; len(addrs) > 0 {
		return append([]netip.Addr(nil), addrs...), nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (h *hosts) name(host string, addrs ...netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.names[host] = addrs
}

func (h *hosts) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	at := h.at[ap.Addr()]
	h.mu.Unlock()
	if at == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("connection refused")}
	}
	ours, theirs := net.Pipe()
	select {
	case at <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// listener hands a server the connections that are dialed.
type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	addr   netip.Addr
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.addr, 80)) }

// listen makes a host.
func (h *hosts) listen() *listener {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n++
	l := &listener{conns: make(chan net.Conn), closed: make(chan struct{}), addr: netip.AddrFrom4([4]byte{127, 0, 1, h.n})}
	h.at[l.addr] = l.conns
	return l
}

// received is one request as a receiver got it.
type received struct {
	at     time.Time
	header http.Header
	path   string
	body   []byte
}

func (r received) id() string { return r.header.Get("Webhook-Id") }

func (r received) json() (v map[string]any) {
	_ = json.Unmarshal(r.body, &v)
	return v
}

// receiver is a server for webhooks that remembers what it got.
type receiver struct {
	url  string
	addr netip.Addr

	mu  sync.Mutex
	got []received
	f   http.HandlerFunc
}

// receive starts a receiver that answers as f does; nil: 200.
func (m *mesh) receive(f http.HandlerFunc) *receiver { return m.receiveTLS(f, nil) }

func (m *mesh) receiveTLS(f http.HandlerFunc, config *tls.Config) *receiver {
	m.t.Helper()
	l := m.hosts.listen()
	r := &receiver{url: "http://" + l.addr.String() + "/hook", addr: l.addr, f: f}
	srv := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	var ln net.Listener = l
	if config != nil {
		r.url = "https://" + l.addr.String() + "/hook"
		ln = tls.NewListener(l, config)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	m.t.Cleanup(func() { _ = srv.Close(); <-done })
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	r.got = append(r.got, received{time.Now(), req.Header.Clone(), req.URL.Path, body})
	f := r.f
	r.mu.Unlock()
	if f != nil {
		f(w, req)
	}
}

func (r *receiver) answer(f http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.f = f
}

func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received(nil), r.got...)
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// notify starts a notifier; stop drains it.
func (m *mesh) notify() (stop func()) { m.t.Helper(); return m.notifyWith(m.st) }

func (m *mesh) notifyWith(st *store.Store) (stop func()) {
	m.t.Helper()
	ctx, cancel := context.WithCancel(m.t.Context())
	log := quiet()
	if m.alerts != nil {
		log = slog.New(slog.NewTextHandler(m.alerts, &slog.HandlerOptions{Level: slog.LevelError}))
	}
	n, err := notifier.New(ctx, notifier.Default(), st, m.guard, m.keys, log)
	if err != nil {
		m.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				m.t.Errorf("notifier ended with %v", err)
			}
		})
	}
	m.t.Cleanup(stop)
	return stop
}

// callbackSecret is the mesh's own key for callbacks.
func (m *mesh) callbackSecret() signature.Secret {
	m.t.Helper()
	s, err := m.keys.CallbackSecret("default")
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

// verify checks the signature of a request at the time at which it came.
func verify(t *testing.T, r received, keys ...signature.VerifyingKey) {
	t.Helper()
	if _, err := (signature.Verifier{Keys: keys}).Verify(r.header, r.body, r.at); err != nil {
		t.Errorf("%s: %v", r.id(), err)
	}
}

// storeThrough opens a store on a connection through a gate.
func (m *mesh) storeThrough(g *gate) *store.Store {
	m.t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(g), nats.MaxReconnects(-1), nats.PingInterval(time.Hour))
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(nc.Close)
	st, err := store.Open(m.t.Context(), nc, store.Options{Replicas: 1})
	if err != nil {
		m.t.Fatal(err)
	}
	return st
}
