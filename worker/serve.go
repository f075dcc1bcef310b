package worker

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	"agentmesh/shared/config"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/store"
	"agentmesh/shared/telemetry"
	"agentmesh/worker/agent"
)

// Serve is a whole worker program: it connects to NATS as the environment says
// (NATS_URL and its like; MESH_DRAIN, MESH_LEASE, MESH_MAX_RESULT,
// MESH_REPLICAS, MESH_SESSION_IDLE, OTEL_*), serves agents until ctx is done, and drains. End ctx
// by signal.NotifyContext with SIGTERM.
func Serve(ctx context.Context, agents ...agent.Agent) error {
	cfg, conn, opts := Default(), natsconn.Default(), store.DefaultOptions(3)
	if err := config.Env(os.Getenv, &cfg, &conn, &opts); err != nil {
		return err
	}
	name, log := filepath.Base(os.Args[0]), slog.Default()
	flush, err := telemetry.Start(ctx, name, "")
	if err != nil {
		return err
	}
	defer func() { _ = flush(context.WithoutCancel(ctx)) }()
	nc, err := natsconn.Connect(ctx, conn, name, log)
	if err != nil {
		return err
	}
	defer nc.Close()
	st, err := store.Open(ctx, nc, opts)
	if err != nil {
		return err
	}
	w, err := New(ctx, cfg, st, agents, log)
	if err != nil {
		return err
	}
	return w.Run(ctx)
}
