package meshtest

import (
	"net"
	"sync"

	"github.com/nats-io/nats.go"
)

// Gate is a connection to the server that can be frozen: bytes that one side
// writes reach the other only after the thaw, as if the network or the process
// had stopped. Writes are kept rather than blocked: the client writes under its
// lock, and a fake clock stands still while anyone waits for a lock.
type Gate struct {
	Server nats.InProcessConnProvider

	mu    sync.Mutex
	shut  chan struct{} // nil while open, closed by the thaw
	hears bool          // while shut, what the server says comes through
	deaf  bool          // what the server says is lost
	none  bool          // nobody comes in
	conns []*gatedConn
}

// Refuse cuts every connection and takes no other until Admit, as a server does
// that was killed.
func (g *Gate) Refuse() { g.cut(true, false) }

// Deafen has whatever the server says be lost until Admit, which cuts the
// connections: what is asked of it is done, and the answer never comes.
func (g *Gate) Deafen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deaf = true
}

// Admit has new connections work again.
func (g *Gate) Admit() { g.cut(false, true) }

// cut ends the connections; those that are made from now on are refused or not.
func (g *Gate) cut(refuse, hear bool) {
	g.mu.Lock()
	conns := g.conns
	g.conns, g.none = nil, refuse
	g.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deaf = g.deaf && !hear
}

func (g *Gate) isDeaf() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.deaf
}

// Mute freezes the way to the server only: messages that have come are worked on,
// and no request is answered.
func (g *Gate) Mute() {
	g.Freeze()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hears = true
}

// Freeze stops both directions until Thaw.
func (g *Gate) Freeze() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = make(chan struct{})
}

// Thaw lets through what was kept, and everything after it.
func (g *Gate) Thaw() {
	g.mu.Lock()
	shut, conns := g.shut, g.conns
	g.shut, g.hears = nil, false
	g.mu.Unlock()
	close(shut)
	for _, c := range conns {
		_, _ = c.Write(nil)
	}
}

func (g *Gate) closed() chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut
}

func (g *Gate) hearing() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.hears
}

// InProcessConn implements nats.InProcessConnProvider.
func (g *Gate) InProcessConn() (net.Conn, error) {
	g.mu.Lock()
	none := g.none
	g.mu.Unlock()
	if none {
		return nil, net.ErrClosed
	}
	c, err := g.Server.InProcessConn()
	gated := &gatedConn{Conn: c, gate: g, writer: make(chan []byte, 1)}
	gated.writer <- nil
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns = append(g.conns, gated)
	return gated, err
}

type gatedConn struct {
	net.Conn
	gate   *Gate
	writer chan []byte // holds what is kept; a lock that a fake clock knows
}

func (c *gatedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	for err == nil && c.gate.isDeaf() {
		n, err = c.Conn.Read(b)
	}
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
