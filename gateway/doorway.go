package gateway

import (
	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
	"agentmesh/shared/telemetry"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// doorway is the listener of a gateway. It lets in as many connections as leave
// descriptors for the store, which in `mesh up` has its files in the same
// process, and answers the others with 503.
type doorway struct {
	net.Listener
	log     *slog.Logger
	max     int64
	open    atomic.Int64
	refused atomic.Int64  // since it was last said
	said    atomic.Int64  // when, in seconds
	away    chan struct{} // an element for each that is told so
	telling sync.WaitGroup
	tls     *tls.Config // what is spoken here; nil: plain HTTP

	patience time.Duration // with clients that have shut their side down

	mu   sync.Mutex
	idle map[*connection]bool
}

// Bounds of turning away: beyond them connections are only closed.
const (
	tellingAtOnce = 32
	tellWithin    = time.Second
)

// connectionLimit is the configured one, or half of the descriptors that this
// process may have: streams, programs and receivers need theirs, too.
func connectionLimit(configured int) int64 {
	if configured > 0 {
		return int64(configured)
	}
	return min(max(openFiles()/2, 16), 100_000)
}

func newDoorway(l net.Listener, limit int64, log *slog.Logger) *doorway {
	return &doorway{Listener: l, log: log, max: limit, away: make(chan struct{}, tellingAtOnce), patience: halfClosed, idle: map[*connection]bool{}}
}

// Accept lets the next connection in that there is room for.
func (d *doorway) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if d.open.Add(1) <= d.max || d.closeIdle() {
			return &connection{Conn: c, door: d, patience: d.patience}, nil
		}
		d.open.Add(-1)
		d.turnAway(c)
	}
}

// closeIdle makes room by closing a connection that waits for its client's next
// request.
func (d *doorway) closeIdle() bool {
	d.mu.Lock()
	var oldest *connection
	for c := range d.idle {
		if oldest == nil || c.since.Before(oldest.since) {
			oldest = c
		}
	}
	delete(d.idle, oldest)
	d.mu.Unlock()
	return oldest != nil && oldest.Close() == nil
}

func (d *doorway) turnAway(c net.Conn) {
	d.refused.Add(1)
	if now, said := time.Now().Unix(), d.said.Load(); now-said >= 10 && d.said.CompareAndSwap(said, now) {
		d.log.Warn("connections refused, all are taken", "refused", d.refused.Swap(0), "limit", d.max)
	}
	select {
	case d.away <- struct{}{}:
	default:
		_ = c.Close()
		return
	}
	d.telling.Go(func() {
		defer func() { _ = c.Close(); <-d.away }()
		_ = c.SetDeadline(time.Now().Add(tellWithin))
		if d.tls != nil {
			c = tls.Server(c, onlyHTTP1(d.tls))
		}
		if !asks(c) {
			return
		}
		if _, err := c.Write(noRoom()); err != nil {
			return
		}
		if half, ok := c.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		_, _ = io.Copy(io.Discard, c) // its request: a reset would take the answer with it
	})
}

// asks waits until a client has begun its request, since an answer that comes before
// the request is nobody's to many clients. One that says nothing for half of
// tellWithin is answered all the same.
func asks(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(tellWithin / 2))
	_, err := c.Read(make([]byte, 1))
	_ = c.SetReadDeadline(time.Now().Add(tellWithin))
	return err == nil || errors.Is(err, os.ErrDeadlineExceeded)
}

// onlyHTTP1 is a config for an answer that is written as text.
func onlyHTTP1(config *tls.Config) *tls.Config {
	plain := config.Clone()
	plain.NextProtos = []string{"http/1.1"}
	if of := config.GetConfigForClient; of != nil {
		plain.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			now, err := of(hello)
			if now != nil {
				now = now.Clone()
				now.NextProtos = plain.NextProtos
			}
			return now, err
		}
	}
	return plain
}

func noRoom() []byte {
	p := problem.Of(mesh.Refuse(problem.ErrTooManyConnections, "Close connections that are idle, and try again."))
	p.TraceID = telemetry.NewTraceID()
	body, _ := json.Marshal(p)
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nX-Content-Type-Options: nosniff\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	return b.Bytes()
}

// connection is one that was let in. While a request of it is answered, the end
// of what the client sends is kept back for a while: a client that has only shut
// its own side down still reads, and must not be taken for one that has gone. With
// TLS that is not so: there the end of a client is the end of its requests.
type connection struct {
	net.Conn
	door     *doorway
	since    time.Time // it is idle; see doorway.mu
	gone     sync.Once
	patience time.Duration
	active   atomic.Bool // a request is being answered

	mu      sync.Mutex
	aborted bool // the server wants its read back
	wake    chan struct{}
}

// halfClosed is how long the end is kept back. A client that has gone is noticed
// that much later.
const halfClosed = 5 * time.Second

// states follows what the server does with each connection.
func states(c net.Conn, s http.ConnState) {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	if c, ok := c.(*connection); ok {
		c.active.Store(s == http.StateActive)
		c.door.mu.Lock()
		defer c.door.mu.Unlock()
		if s == http.StateIdle {
			c.since = time.Now()
			c.door.idle[c] = true
		} else {
			delete(c.door.idle, c)
		}
	}
}

func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	// The server watches for the end of a connection by reading one byte; a body
	// that ends early is read in larger pieces.
	if n == 0 && len(p) == 1 && errors.Is(err, io.EOF) && c.active.Load() {
		c.linger()
	}
	return n, err
}

func (c *connection) linger() {
	c.mu.Lock()
	if c.aborted {
		c.mu.Unlock()
		return
	}
	wake := make(chan struct{})
	c.wake = wake
	c.mu.Unlock()
	t := time.NewTimer(c.patience)
	defer t.Stop()
	select {
	case <-wake:
	case <-t.C:
	}
}

// SetReadDeadline in the past is how the server takes a read back.
func (c *connection) SetReadDeadline(t time.Time) error {
	c.abort(!t.IsZero() && t.Before(time.Now()))
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *connection) SetDeadline(t time.Time) error {
	c.abort(!t.IsZero() && t.Before(time.Now()))
	return c.Conn.SetDeadline(t)
}

func (c *connection) abort(now bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.aborted = now; now && c.wake != nil {
		close(c.wake)
		c.wake = nil
	}
}

// CloseWrite lets the server end an answer before it closes.
func (c *connection) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (c *connection) Close() error {
	c.abort(true)
	c.gone.Do(func() { c.door.open.Add(-1) })
	return c.Conn.Close()
}
