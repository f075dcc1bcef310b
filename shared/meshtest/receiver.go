package meshtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const TestKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// hosts are receivers that a notifier reaches through pipes, by an address of
// their own or by name: no sockets, so that they live inside a bubble.
type hosts struct {
	mu    sync.Mutex
	n     byte
	at    map[netip.Addr]chan net.Conn
	names map[string][]netip.Addr
}

// NewHosts knows no host yet.
func NewHosts() *hosts {
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

// Name has a host lead to addrs; without any it vanishes.
func (h *hosts) Name(host string, addrs ...netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.names[host] = addrs
}

// Dial connects to a host that listens.
func (h *hosts) Dial(ctx context.Context, network, address string) (net.Conn, error) {
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
	IP     netip.Addr
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error { l.once.Do(func() { close(l.closed) }); return nil }

func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.IP, 80)) }

// Listen makes a host.
func (h *hosts) Listen() *listener {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n++
	l := &listener{conns: make(chan net.Conn), closed: make(chan struct{}), IP: netip.AddrFrom4([4]byte{127, 0, 1, h.n})}
	h.at[l.IP] = l.conns
	return l
}

// Received is one request as a receiver got it.
type Received struct {
	At     time.Time
	Header http.Header
	Path   string
	Body   []byte
}

// ID is the id of the delivery.
func (r Received) ID() string { return r.Header.Get("Webhook-Id") }

// JSON is the body.
func (r Received) JSON() (v map[string]any) {
	_ = json.Unmarshal(r.Body, &v)
	return v
}

// Receiver is a server for webhooks that remembers what it got.
type Receiver struct {
	URL  string
	Addr netip.Addr

	mu  sync.Mutex
	got []Received
	f   http.HandlerFunc
}

func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	r.got = append(r.got, Received{time.Now(), req.Header.Clone(), req.URL.Path, body})
	f := r.f
	r.mu.Unlock()
	if f != nil {
		f(w, req)
	}
}

// Answer has the receiver answer as f does from now on; nil: 200.
func (r *Receiver) Answer(f http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.f = f
}

// All is what has come so far.
func (r *Receiver) All() []Received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Received(nil), r.got...)
}

// Answer is a handler that answers with a status.
func Answer(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}
