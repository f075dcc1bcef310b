package gateway

import (
	"log/slog"

	"agentmesh/shared/mesh"
)

// front is what every request comes through before its operation, whatever that
// is: who asks, how much is sent, and how refusals look.
type front struct {
	cfg    Config
	log    *slog.Logger
	trail  mesh.Audit
	bodies budget
}

func newFront(cfg Config, trail mesh.Audit, log *slog.Logger) *front {
	f := &front{cfg: cfg, trail: trail, log: log}
	f.bodies.max = max(cfg.MaxBodies, cfg.MaxBody)
	return f
}
