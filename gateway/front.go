package gateway

import (
	"log/slog"

	"agentmesh/shared/mesh"
)

// front is what every request comes through before its operation, whatever that
// is: who asks, how often, how much is sent, and how refusals look.
type front struct {
	cfg     Config
	log     *slog.Logger
	tenants mesh.Tenants
	trail   mesh.Audit
	bodies  budget
	tokens  tokens
}

func newFront(cfg Config, m *mesh.Mesh, log *slog.Logger) *front {
	f := &front{cfg: cfg, tenants: m.Tenants, trail: m.Audit, log: log}
	f.bodies.max = max(cfg.MaxBodies, cfg.MaxBody)
	return f
}
