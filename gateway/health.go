package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
)

// health tells whether the gateway runs, whether it can take requests, and what it
// is.
type health struct {
	mesh    *mesh.Mesh
	store   *store.Store
	ready   *readiness
	cfg     Config
	closing context.Context // done when no more requests are taken
}

func (h health) routes() []route {
	alive := operation("GET", "/healthz", auth.Public, "healthz", "Whether the process runs", h.healthz)
	ready := operation("GET", "/readyz", auth.Public, "readyz", "Whether requests can be taken, check by check", h.readyz, problem.ErrShuttingDown)
	alive.probe, ready.probe = true, true
	return []route{
		operation("GET", "/version", auth.Public, "getVersion", "Read which build answers", h.getVersion),
		alive, ready,
	}
}

// readiness checks what the gateway needs. Answers are kept for a second, so
// that probes cost the store little.
type readiness struct {
	store  *store.Store
	cfg    Config
	writer string

	mu   sync.Mutex
	last api.Readiness
	at   time.Time
}

const (
	readyKept    = time.Second
	readyTimeout = 3 * time.Second
	firstCopies  = time.Second // for what a gateway reads as it starts, which takes some milliseconds
)

func newReadiness(cfg Config, st *store.Store) *readiness {
	return &readiness{store: st, cfg: cfg, writer: uuid.NewString()}
}

func (c *readiness) check(ctx context.Context, m *mesh.Mesh) api.Readiness {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) < readyKept {
		return c.last
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout)
	defer cancel()
	r := api.Readiness{Ready: true, Checks: map[string]api.Check{}, Durability: c.cfg.Durability}
	note := func(name string, err error) {
		check := api.Check{OK: err == nil}
		if err != nil {
			r.Ready, check.Detail = false, err.Error()
		}
		r.Checks[name] = check
	}
	if !c.store.Connected() {
		note("nats", errors.New("no connection to NATS"))
	} else {
		note("nats", nil)
		queue, records := c.store.Check(ctx)
		note("stream", queue)
		note("kv", records)
		note("write", c.store.Probe(ctx, c.writer)) // a frozen or full store still answers reads
		note("consumers", c.consumers(ctx))
	}
	first, enough := context.WithTimeout(ctx, firstCopies)
	m.AwaitCopies(first)
	enough()
	note("agents", m.Agents.Check())
	note("tenants", m.Tenants.Check()) // whoever has limits of its own must be held to them
	if c.cfg.Health != nil {
		note("server", c.cfg.Health())
	}
	if c.cfg.Data != nil {
		note("data", c.cfg.Data())
	}
	c.last, c.at = r, time.Now()
	return r
}

// consumers says which consumer that a role lives on is missing.
func (c *readiness) consumers(ctx context.Context) error {
	missing, err := c.store.Consumers.Missing(ctx)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("%s missing: a notifier or worker makes its own again within seconds; see that one runs, and its log", strings.Join(missing, ", "))
	}
	return err
}

// readied is the answer of a probe.
type readied struct {
	Ready *api.Readiness `status:"200"`
	Not   *api.Readiness `status:"503"`
	_     struct{}       `header:"Cache-Control: no-store"`
}

// readyz tells whether this gateway can take requests, and if not, why.
func (h health) readyz(ctx context.Context, _ plain) (out readied, err error) {
	if h.closing.Err() != nil {
		return out, mesh.Refuse(problem.ErrShuttingDown, "Another gateway takes requests.")
	}
	ready := h.ready.check(ctx, h.mesh)
	if !ready.Ready {
		return readied{Not: &ready}, nil
	}
	return readied{Ready: &ready}, nil
}

// healthz tells that the process runs.
func (h health) healthz(context.Context, plain) (out wholeJSON, err error) {
	return wholeJSON{Value: func(w http.ResponseWriter, _ *http.Request) {
		_ = writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	}}, nil
}

// wholeJSON is an answer of any JSON value.
type wholeJSON struct {
	Value value `status:"200"`
}

// getVersion tells which build answers, and on which NATS server.
func (h health) getVersion(context.Context, plain) (api.Version, error) {
	return api.Version{Version: h.cfg.Version, Commit: h.cfg.Commit, Go: runtime.Version(), NATS: h.store.ServerVersion()}, nil
}
