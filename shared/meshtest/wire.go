package meshtest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/shared/store"
)

// Wire is a connection to the server that breaks at one of its writes, as if the
// process had been killed there: before the write has reached the server, or after
// it, when no answer comes back any more. It connects once.
type Wire struct {
	Server nats.InProcessConnProvider
	// Cut is the write at which it breaks, from 1; 0: none. After says that the write
	// reaches the server.
	Cut   int
	After bool
	// Broken is called once, when it breaks, in the goroutine that wrote.
	Broken func()
	// Before is called with the subject of each write before it reaches the server, in
	// the goroutine that writes; nil: nothing is.
	Before func(subject string)
	// Look is as Before, for each request that reads what the store has.
	Look func(subject string)

	mu     sync.Mutex
	writes []string // the subjects of those that were made
	reads  []string // of requests that read what the store has of tasks
	dead   bool
}

// Writes are the subjects of the writes that were made.
func (w *Wire) Writes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.writes...)
}

// Reads are the subjects of the requests that read what the store has of tasks.
func (w *Wire) Reads() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.reads...)
}

func (w *Wire) noteRead(subject string) {
	if w.Look != nil {
		w.Look(subject)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads = append(w.reads, subject)
}

// Dead reports whether the wire has broken.
func (w *Wire) Dead() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

// StoreOver opens a store on a wire.
func (m *Mesh) StoreOver(w *Wire) (st *store.Store, hangUp func(), err error) {
	nc, err := nats.Connect("", nats.InProcessServer(w), nats.NoReconnect(), nats.PingInterval(time.Hour), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		return nil, nil, err
	}
	st, err = store.Open(m.T.Context(), nc, store.Options{Replicas: 1})
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return st, nc.Close, nil
}

var errCut = errors.New("the wire is cut")

// InProcessConn implements nats.InProcessConnProvider.
func (w *Wire) InProcessConn() (net.Conn, error) {
	if w.Dead() {
		return nil, errCut
	}
	c, err := w.Server.InProcessConn()
	return &wired{Conn: c, wire: w}, err
}

// note counts a write. go on says that it is to reach the server, last that nothing
// follows it.
func (w *Wire) note(subject string) (goOn, last bool) {
	if w.Before != nil {
		w.Before(subject)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return false, true
	}
	w.writes = append(w.writes, subject)
	if len(w.writes) != w.Cut {
		return true, false
	}
	w.dead = true
	if w.Broken != nil {
		w.Broken()
	}
	return w.After, true
}

// wired is the connection behind a wire.
type wired struct {
	net.Conn
	wire *Wire
	rest []byte // the beginning of a command
}

// Read gives nothing once the wire has broken.
func (c *wired) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.wire.Dead() {
		return 0, io.EOF
	}
	return n, err
}

// Write passes on whole commands of the client, up to the one at which it breaks.
func (c *wired) Write(b []byte) (int, error) {
	c.rest = append(c.rest, b...)
	for {
		n, subject, payload := command(c.rest)
		if n == 0 {
			return len(b), nil
		}
		goOn, last := true, c.wire.Dead()
		if last {
			goOn = false
		} else if writes(subject, payload) {
			goOn, last = c.wire.note(subject)
		} else if reads(subject) {
			c.wire.noteRead(subject)
		}
		if goOn {
			if _, err := c.Conn.Write(c.rest[:n]); err != nil {
				return 0, err
			}
		}
		if last {
			_ = c.Close()
			return 0, errCut
		}
		c.rest = c.rest[n:]
	}
}

// command is the length of the first whole command of a client, and of a publish the
// subject and what it has. 0: it is not whole.
func command(text []byte) (n int, subject string, payload []byte) {
	line, _, whole := bytes.Cut(text, []byte("\r\n"))
	if !whole {
		return 0, "", nil
	}
	n = len(line) + 2
	words := strings.Fields(string(line))
	if len(words) < 3 || words[0] != "PUB" && words[0] != "HPUB" {
		return n, "", nil
	}
	size, err := strconv.Atoi(words[len(words)-1])
	if err != nil || len(text) < n+size+2 {
		return 0, "", nil
	}
	return n + size + 2, words[1], text[n : n+size]
}

// writes reports whether a publish changes what the store has of tasks.
func writes(subject string, payload []byte) bool {
	switch {
	case strings.HasPrefix(subject, "$JS.ACK."):
		return string(payload) != "+WPI" // a heartbeat
	case strings.HasPrefix(subject, "$JS.API.STREAM."):
		return strings.Contains(subject, ".PURGE.") || strings.Contains(subject, ".DELETE.")
	case strings.HasPrefix(subject, "$KV.workers."), strings.HasPrefix(subject, "$KV.agents."), strings.HasPrefix(subject, "$KV.idempotency."):
		return false // of the worker, not of its work
	}
	return strings.HasPrefix(subject, "$KV.") || strings.HasPrefix(subject, "$O.") ||
		strings.HasPrefix(subject, "mesh.") && !strings.HasPrefix(subject, "mesh.output.") && !strings.HasPrefix(subject, "mesh.control.")
}

// reads reports whether a request reads messages of the store.
func reads(subject string) bool {
	return strings.HasPrefix(subject, "$JS.API.DIRECT.GET.") || strings.HasPrefix(subject, "$JS.API.STREAM.MSG.GET.")
}
