package gateway

import "log/slog"

// front is what every request comes through before its operation, whatever that
// is: who asks, how much is sent, and how refusals look.
type front struct {
	cfg    Config
	log    *slog.Logger
	bodies budget
}

func newFront(cfg Config, log *slog.Logger) *front {
	f := &front{cfg: cfg, log: log}
	f.bodies.max = max(cfg.MaxBodies, cfg.MaxBody)
	return f
}
