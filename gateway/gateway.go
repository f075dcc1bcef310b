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
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"agentmesh/shared/auth"
	"agentmesh/shared/egress"
	"agentmesh/shared/keyring"
	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
	"agentmesh/shared/telemetry"
)

// Config of a gateway.
type Config struct {
	HTTP      string        `flag:"http" env:"MESH_HTTP" help:"address of the gateway"`
	Auth      string        `flag:"auth" env:"MESH_AUTH" help:"authentication: off (on loopback), keys, oidc or keys,oidc"`
	Insecure  bool          `flag:"insecure" env:"MESH_INSECURE" help:"listen on other addresses than loopback without authentication"`
	MaxBody   int64         `flag:"max-body" env:"MESH_MAX_BODY" help:"largest request body in bytes"`
	MaxBodies int64         `flag:"max-bodies" env:"MESH_MAX_BODIES" help:"bytes that all request bodies in flight may take together"`
	MaxConns  int           `flag:"max-connections" env:"MESH_MAX_CONNECTIONS" help:"connections that may be open; 0: half of the files that the process may open"`
	Drain     time.Duration `flag:"drain" env:"MESH_DRAIN" help:"how long running attempts and open requests may finish after SIGTERM"`

	PublicURL   string `flag:"public-url" env:"MESH_PUBLIC_URL" help:"URL by which clients reach the gateway, such as https://mesh.example.com: links are absolute"`
	CORSOrigins string `flag:"cors-origins" env:"MESH_CORS_ORIGINS" help:"origins whose pages may call the gateway from a browser, separated by commas; * is any"`
	TraceURL    string `flag:"trace-url-template" env:"MESH_TRACE_URL_TEMPLATE" help:"URL of a trace in your tracing backend, with {trace_id}: answers carry it as trace_url"`

	// Authenticator says who asks; nil: everybody is the local caller, who may do
	// everything, and Auth is off.
	Authenticator auth.Authenticator

	// Durability says what a 202 survives ("sync always", "sync 2m"), for
	// /readyz; empty: unknown.
	Durability string
	// Health is a further check of /readyz: the embedded server's own word.
	Health func() error
	// Data is another one: it names the missing data, and says what to do.
	Data func() error
	// StorageLimit is what the embedded server may keep on disk, in bytes; 0: the
	// account's limit is the only one.
	StorageLimit int64
	// Listener is where the gateway listens; nil: New binds HTTP.
	Listener net.Listener
	// Version and Commit say which build this is.
	Version, Commit string
	// Guard decides on the addresses of callbacks, and Keys are those that sign
	// what is sent there; both nil: this gateway takes neither callbacks nor
	// webhooks.
	Guard *egress.Guard
	Keys  *keyring.Ring
}

// Default is the configuration without settings.
func Default() Config {
	return Config{HTTP: "127.0.0.1:8080", Auth: "off", MaxBody: 32 << 20, MaxBodies: 256 << 20, Drain: 30 * time.Second, Version: "dev", Commit: "unknown commit"}
}

// authOff is the mode in which nobody is asked who they are.
const authOff = "off"

var authModes = []string{authOff, "keys", "oidc", "keys,oidc"}

// Validate names the first setting that is out of its range.
func (c Config) Validate() error {
	if err := c.validate(); err != nil {
		return fmt.Errorf("configure gateway: %w", err)
	}
	return nil
}

func (c Config) validate() error {
	switch {
	case !slices.Contains(authModes, c.Auth):
		return fmt.Errorf("auth is %q, allowed are off, keys, oidc and keys,oidc", c.Auth)
	case c.MaxBody < 1<<10 || c.MaxBody > 1<<30:
		return fmt.Errorf("max-body is %d, allowed is 1024 to 1073741824 bytes", c.MaxBody)
	case c.MaxBodies < 1<<10 || c.MaxBodies > 1<<40:
		return fmt.Errorf("max-bodies is %d, allowed is 1024 to 1099511627776 bytes", c.MaxBodies)
	case c.MaxConns < 0:
		return fmt.Errorf("max-connections is %d, it must not be negative", c.MaxConns)
	case c.Drain < 0 || c.Drain > time.Hour:
		return fmt.Errorf("drain is %v, allowed is 0s to 1h", c.Drain)
	case c.TraceURL != "" && !strings.Contains(c.TraceURL, traceIDMark):
		return fmt.Errorf("trace-url-template is %q, it must contain %s", c.TraceURL, traceIDMark)
	}
	if u, err := url.Parse(c.PublicURL); c.PublicURL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" || u.User != nil) {
		return fmt.Errorf("public-url is %q, it must be like https://mesh.example.com/base, without a query", c.PublicURL)
	}
	if _, err := parseOrigins(c.CORSOrigins); err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(c.HTTP)
	if err != nil {
		return fmt.Errorf("http is %q, it must be host:port", c.HTTP)
	}
	if ip := net.ParseIP(host); c.Auth == authOff && host != "localhost" && (ip == nil || !ip.IsLoopback()) && !c.Insecure {
		return fmt.Errorf("http is %q: without authentication the gateway listens on loopback only, since whoever reaches it may run agents; "+
			"choose 127.0.0.1, pass --auth keys, or --insecure if something in front of it authenticates", c.HTTP)
	}
	return nil
}

// servesOperatorOnly reports whether who reaches the gateway may see what is for
// the operator: nobody is asked who they are, and only this machine can ask.
func (c Config) servesOperatorOnly() bool {
	c.Insecure = false
	return c.Auth == authOff && c.validate() == nil
}

// Gateway serves the API on one listener.
type Gateway struct {
	cfg      Config
	store    *store.Store
	log      *slog.Logger
	listener net.Listener
	mesh     *mesh.Mesh
	ready    *readiness
	census   *census
	bodies   budget
	handler  http.Handler
	closing  context.Context // done when open waits and streams should end
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
	g := &Gateway{
		cfg: cfg, store: st, log: log,
		mesh: mesh.New(st, mesh.Options{Log: log, Guard: cfg.Guard, Keys: cfg.Keys}), ready: newReadiness(cfg, st), census: &census{store: st},
	}
	g.bodies.max = max(cfg.MaxBodies, cfg.MaxBody)
	g.closing, g.close = context.WithCancel(context.Background())
	context.AfterFunc(g.closing, g.mesh.Close)
	g.handler = g.routes()
	if g.listener = cfg.Listener; g.listener == nil {
		var err error
		if g.listener, err = net.Listen("tcp", cfg.HTTP); err != nil {
			return nil, fmt.Errorf("listen for --http: %w; stop what uses the address or choose another with --http", err)
		}
	}
	return g, nil
}

// Close ends open waits and streams and frees the listener of a gateway that
// was not run.
func (g *Gateway) Close() {
	g.close()
	_ = g.listener.Close()
}

// Addr is where the gateway listens.
func (g *Gateway) Addr() net.Addr { return g.listener.Addr() }

// Handler is the API without a listener, for tests.
func (g *Gateway) Handler() http.Handler { return g.handler }

// server is what serves the handler, and its listener.
func (g *Gateway) server() (*http.Server, *doorway) {
	return &http.Server{
		Handler: g.guarded(g.handler), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 32 << 10, ConnState: states, ErrorLog: slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}, newDoorway(g.listener, connectionLimit(g.cfg.MaxConns), g.log)
}

// Run serves until ctx is done, then lets open requests finish within
// Config.Drain and returns nil. Waits end with their 202, streams are cut: both
// can be taken up again at another gateway.
func (g *Gateway) Run(ctx context.Context) error {
	srv, door := g.server()
	defer door.telling.Wait()
	defer telemetry.Observe(g.observe)()
	parts, ctx := errgroup.WithContext(ctx)
	parts.Go(func() error { return g.mesh.Run(ctx) })
	parts.Go(func() error {
		if err := srv.Serve(door); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve http: %w", err)
		}
		return nil
	})
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
	return parts.Wait()
}
