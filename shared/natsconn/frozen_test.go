package natsconn_test

import (
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"agentmesh/shared/natsconn"
	"agentmesh/shared/natstest"
)

// freezer is the way to a server that can be stopped: as of a process that is
// frozen, its connections stay open, new ones are taken, and nothing is read or
// said any more.
type freezer struct {
	net.Listener
	to string

	mu     sync.Mutex
	frozen bool
	conns  []net.Conn
}

func newFreezer(t *testing.T, to string) *freezer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &freezer{Listener: l, to: to}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", f.to)
			if err != nil || !f.keep(c, up) {
				continue
			}
			all.Go(func() { f.pass(c, up) })
			all.Go(func() { f.pass(up, c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		f.mu.Lock()
		for _, c := range f.conns {
			_ = c.Close()
		}
		f.mu.Unlock()
		all.Wait()
	})
	return f
}

// keep remembers connections until the end, and reports whether they are served.
func (f *freezer) keep(conns ...net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns = append(f.conns, conns...)
	return !f.frozen
}

func (f *freezer) pass(from, to net.Conn) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		f.mu.Lock()
		frozen := f.frozen
		f.mu.Unlock()
		if err != nil || frozen {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (f *freezer) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frozen = true
}

// A node that freezes takes nobody with it: within 5 s a connection is at another
// one, whether it is idle or writes as much as it can.
func TestAConnectionLeavesAFrozenNodeWithinFiveSeconds(t *testing.T) {
	for name, busy := range map[string]bool{"idle": false, "busy": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes := map[string]*freezer{}
			var urls string
			for range 2 {
				srv := start(t, server.Options{NoSystemAccount: true})
				f := newFreezer(t, srv.Addr().String())
				nodes["nats://"+f.Addr().String()] = f
				urls += ",nats://" + f.Addr().String()
			}
			cfg := natsconn.Default("test")
			cfg.URL = urls[1:]
			nc, err := natsconn.Connect(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(nc.Close)
			first := nc.ConnectedUrl()
			stop := make(chan struct{})
			var writer sync.WaitGroup
			if busy {
				writer.Go(func() {
					text := make([]byte, 256<<10)
					for {
						select {
						case <-stop:
							return
						default:
							_ = nc.Publish("x", text)
						}
					}
				})
			}
			t.Cleanup(func() { close(stop); writer.Wait() })
			nodes[first].freeze()
			began := time.Now()
			natstest.Until(t, "the connection is at the other node", func() bool {
				return nc.Status() == nats.CONNECTED && nc.ConnectedUrl() != first
			})
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v", took)
			} else {
				t.Logf("it took %v", took)
			}
		})
	}
}
