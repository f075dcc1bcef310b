// Package gateway is the HTTP face of the mesh: it parses requests, asks the core
// (package mesh), and renders answers, refusals and streams.
//
// It promises that a 202 is durable, that a refusal happens before anything was
// accepted and is a problem+json with a code, and that a waiting client costs one
// core subscription. It runs no agent. The core decides what a request means for
// tasks and sessions, also for a cancel, which settles a task.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"golang.org/x/sync/errgroup"

	"agentmesh/gateway/synadia"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
	"agentmesh/shared/telemetry"
)

// Gateway serves the API on one listener.
type Gateway struct {
	cfg      Config
	store    *store.Store
	log      *slog.Logger
	front    *front
	listener net.Listener
	mesh     *mesh.Mesh
	ready    *readiness
	census   *census
	handler  http.Handler
	bridges  []*synadia.Bridge // to protocols of NATS
	closing  context.Context   // done when open waits and streams should end
	close    context.CancelFunc
}

// New binds the listener, unless it is given one.
func New(cfg Config, st *store.Store, log *slog.Logger) (*Gateway, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if asks := cfg.Authenticator != nil; asks == (cfg.Auth == authOff) {
		return nil, fmt.Errorf("configure gateway: auth is %q and there is an authenticator: %v; a gateway that asks who calls needs both", cfg.Auth, asks)
	}
	g := assemble(cfg, st, log)
	for _, e := range cfg.Agents {
		b, err := synadia.New(e, synadia.Options{Mesh: g.mesh, Log: log, Hold: cfg.SynadiaHold, Drain: cfg.Drain, Version: cfg.Version, PublicURL: cfg.PublicURL})
		if err != nil {
			return nil, fmt.Errorf("configure gateway: %w", err)
		}
		g.bridges = append(g.bridges, b)
	}
	if g.listener = cfg.Listener; g.listener == nil {
		var err error
		if g.listener, err = net.Listen("tcp", cfg.HTTP); err != nil {
			return nil, fmt.Errorf("listen for --http: %w; stop what uses the address or choose another with --http", err)
		}
	}
	return g, nil
}

// assemble makes a gateway without a listener.
func assemble(cfg Config, st *store.Store, log *slog.Logger) *Gateway {
	m := mesh.New(st, mesh.Options{Log: log, Guard: cfg.Guard, Keys: cfg.Keys, Limits: new(cfg.tenantLimits())})
	g := &Gateway{
		cfg: cfg, store: st, log: log, front: newFront(cfg, m, log), mesh: m, ready: newReadiness(cfg, st), census: &census{store: st},
	}
	g.front.tokens = tokens{cfg, g.baseURL}
	g.closing, g.close = context.WithCancel(context.Background())
	context.AfterFunc(g.closing, g.mesh.Close)
	g.handler = g.routes()
	return g
}

// Close ends open waits and streams and frees the listener of a gateway that
// was not run.
func (g *Gateway) Close() {
	g.close()
	_ = g.listener.Close()
}

// Addr is where the gateway listens.
func (g *Gateway) Addr() net.Addr { return g.listener.Addr() }

// Handler is the API without a listener: for faces within this process, and tests.
func (g *Gateway) Handler() http.Handler { return g.handler }

// Mount serves a face of this process at and below a path. What it is asked carries
// where the request comes from (auth.Carried), and nothing else. Call it before Run.
func (g *Gateway) Mount(path string, face http.Handler) {
	traced := g.handler.(chi.Router).With(g.front.recoverPanics)
	serve := func(w http.ResponseWriter, r *http.Request) {
		face.ServeHTTP(w, r.WithContext(auth.Carry(r.Context(), auth.Credentials{Addr: remote(r)})))
	}
	traced.HandleFunc(path, serve)
	traced.HandleFunc(path+"/*", serve)
}

// server is what serves the handler, and its listener.
func (g *Gateway) server() (*http.Server, *doorway) {
	door := newDoorway(g.listener, connectionLimit(g.cfg.MaxConns), g.log)
	door.tls = g.cfg.TLS
	return &http.Server{
		Handler: g.front.guarded(g.handler), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 32 << 10, ConnState: states, ErrorLog: slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		TLSConfig: g.cfg.TLS, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: streamsOfAConnection, SendPingTimeout: pingSilence, PingTimeout: pingSilence},
	}, door
}

// Bounds of an HTTP/2 connection: each of its streams is a request, and a client
// that is silent for twice the time and answers no ping is gone.
const (
	streamsOfAConnection = 100
	pingSilence          = 15 * time.Second
)

// serve serves what comes through the door until srv is shut down.
func serve(srv *http.Server, door *doorway) error {
	run := func() error { return srv.Serve(door) }
	if srv.TLSConfig != nil {
		run = func() error { return srv.ServeTLS(door, "", "") }
	}
	if err := run(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve http: %w", err)
	}
	return nil
}

// flushWithin is how long the last entries of the audit trail may take.
const flushWithin = 5 * time.Second

// Run serves until ctx is done, then lets open requests finish within
// Config.Drain and returns nil. Waits end with their 202, streams are cut: both
// can be taken up again at another gateway.
func (g *Gateway) Run(ctx context.Context) error {
	srv, door := g.server()
	defer door.telling.Wait()
	defer telemetry.Observe(g.stats().observe)()
	parts, ctx := errgroup.WithContext(ctx)
	parts.Go(func() error { return g.mesh.Run(ctx) })
	parts.Go(func() error { return serve(srv, door) })
	for _, b := range g.bridges {
		parts.Go(func() error { return b.Run(ctx) })
	}
	parts.Go(func() error {
		<-ctx.Done()
		g.close()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.Drain)
		defer cancel()
		if err := srv.Shutdown(grace); err != nil {
			g.log.Warn("open requests cut", "after", g.cfg.Drain)
			return srv.Close()
		}
		return nil
	})
	err := parts.Wait()
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWithin)
	defer cancel()
	g.mesh.Flush(rest)
	return err
}
