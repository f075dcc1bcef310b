// Package natstest gives tests the real JetStream: a nats-server in process,
// without a port, in milliseconds, on the real clock or inside a
// testing/synctest bubble. It is imported by tests only, and promises that
// nothing of it is left when the test ends.
package natstest

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
)

// The server's access-time ticker selects on a package-level channel. Inside a
// bubble that would keep the fake clock from advancing, so it starts here, on
// the real clock. The server expires messages by that clock: in a bubble a
// stream with an age limit loses all that it has when the limit first comes up.
func init() { ats.Register() }

// Server is an embedded server and the folder of its data.
type Server struct {
	*server.Server
	Dir string
}

// Start runs a server for the length of the test.
func Start(tb testing.TB) *Server {
	tb.Helper()
	return StartIn(tb, tb.TempDir())
}

// StartIn runs a server on the data in dir for the length of the test, or until
// Stop: a second StartIn on the same folder is a restart.
func StartIn(tb testing.TB, dir string) *Server {
	tb.Helper()
	return StartWith(tb, server.Options{StoreDir: dir})
}

// StartWith runs a server with opts and what a test needs besides.
func StartWith(tb testing.TB, opts server.Options) *Server {
	tb.Helper()
	ForgetBubbles()
	opts.JetStream, opts.DontListen, opts.NoLog, opts.NoSigs = true, true, true, true
	if opts.SyncInterval == 0 {
		opts.SyncInterval = 365 * 24 * time.Hour // no test cuts the power, and days of fake time would be full of syncs
	}
	srv, err := server.NewServer(&opts)
	if err != nil {
		tb.Fatal(err)
	}
	srv.Start()
	s := &Server{Server: srv, Dir: opts.StoreDir}
	tb.Cleanup(s.Stop)
	if !srv.ReadyForConnections(10 * time.Second) {
		tb.Fatal("nats server not ready")
	}
	return s
}

// ForgetBubbles lets what connects without Start run after a bubble: the client
// keeps timers in a pool of the whole process, and one of a bubble must not come
// up outside of it. Two collections empty the pool.
func ForgetBubbles() {
	runtime.GC()
	runtime.GC()
}

// Stop ends the server and waits until its data folder is free.
func (s *Server) Stop() {
	calm()
	s.Shutdown()
	s.WaitForShutdown()
}

// calm waits in a bubble until nothing is under way there. A server that shuts down sleeps
// with a lock in its hand; who waits for that lock, such as for a consumer that a test has
// asked for and not waited for, keeps the fake clock from ever ending the sleep.
func calm() {
	defer func() { _ = recover() }() // not in a bubble: there is no other way to ask
	synctest.Wait()
}

// Long skips a test that takes the race detector seconds, where short tests are asked
// for (make race-short).
func Long(tb testing.TB) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("takes long")
	}
}

// Connect opens a connection through a pipe, closed when the test ends.
func (s *Server) Connect(tb testing.TB, opts ...nats.Option) *nats.Conn {
	tb.Helper()
	nc, err := nats.Connect("", append([]nats.Option{nats.InProcessServer(s.Server)}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	return nc
}

// NumConsumers counts the consumers of every stream.
func (s *Server) NumConsumers(tb testing.TB) int {
	tb.Helper()
	info, err := s.Jsz(&server.JSzOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	return info.Consumers
}
