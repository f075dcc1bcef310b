package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"agentmesh/gateway"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/pause"
	"agentmesh/shared/task"
)

// opening is the state of a process that opens its mesh: a role waits for NATS,
// however long that is away, and says so once.
type opening struct {
	log   *slog.Logger
	began time.Time

	mu   sync.Mutex
	why  string // the reason for the wait; empty: it is open
	told bool
}

func newOpening(log *slog.Logger) *opening {
	return &opening{log: log, began: time.Now(), why: "the process is starting"}
}

// waitsFor is what the process waits for; empty: nothing.
func (o *opening) waitsFor() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.why
}

// note keeps why the process waits and logs it the first time.
func (o *opening) note(why string) {
	o.mu.Lock()
	first := !o.told
	o.why, o.told = why, true
	o.mu.Unlock()
	if first {
		o.log.Warn("waiting for the store, trying again until it is there", "error", why)
	}
}

// done says that the process is open.
func (o *opening) done() {
	o.mu.Lock()
	o.why = ""
	told := o.told
	o.mu.Unlock()
	tellSystemd(daemon.SdNotifyReady)
	if told {
		o.log.Info("the store is there", "after", time.Since(o.began).Round(time.Millisecond))
	}
}

// Pauses between two tries to open, and how long one may take before it is said
// that it does.
const (
	openPause    = 250 * time.Millisecond
	openPauseMax = 5 * time.Second
	openSlow     = 3 * time.Second
)

// try calls f until it succeeds, fails for a reason that does not pass by itself,
// or ctx is done.
func (o *opening) try(ctx context.Context, f func() error) error {
	for wait := openPause; ; wait = min(2*wait, openPauseMax) {
		slow := time.AfterFunc(openSlow, func() { o.note(fmt.Sprintf("no answer for %v", openSlow)) })
		err := f()
		slow.Stop()
		if err == nil || !passing(err) {
			return err
		}
		o.note(err.Error())
		if !pause.For(ctx, wait) {
			return err
		}
	}
}

// passing reports whether an error passes by itself.
func passing(err error) bool {
	return errors.Is(err, task.ErrUnavailable) || natsconn.Away(err)
}

// lobby serves a gateway's address until the gateway does, through a second
// handle on the same socket: a client that connects in between waits a moment and
// is served. It returns the function that ends it.
func (o *opening) lobby(l net.Listener, config *tls.Config) (leave func(), err error) {
	if l == nil || runtime.GOOS == "windows" { // where a socket has one handle
		return func() {}, nil
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("share listener: %T is not TCP", l)
	}
	file, err := tcp.File()
	if err != nil {
		return nil, fmt.Errorf("share listener: %w", err)
	}
	defer func() { _ = file.Close() }()
	second, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("share listener: %w", err)
	}
	srv := &http.Server{
		Handler: gateway.Lobby(o.waitsFor), ReadHeaderTimeout: 5 * time.Second,
		ErrorLog: slog.NewLogLogger(o.log.Handler(), slog.LevelDebug),
	}
	srv.SetKeepAlivesEnabled(false) // the next request is the gateway's
	if config != nil {
		second = tls.NewListener(second, config)
	}
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(second) })
	return sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if srv.Shutdown(ctx) != nil {
			_ = srv.Close()
		}
		served.Wait()
	}), nil
}

// tellSystemd tells a service manager that waits for it (Type=notify) what the
// process is about; without one it does nothing.
func tellSystemd(state string) { _, _ = daemon.SdNotify(false, state) }
