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
// MESH_REPLICAS, MESH_SESSION_IDLE, MESH_TRACE_MODE, OTEL_*), serves agents until ctx is done,
// and drains. End ctx by signal.NotifyContext with SIGTERM.
func Serve(ctx context.Context, agents ...agent.Agent) error {
	cfg, conn, opts, traces := Default(), natsconn.Default(), store.DefaultOptions(3), telemetry.DefaultConfig()
	if err := config.Env(os.Getenv, &cfg, &conn, &opts, &traces); err != nil {
		return err
	}
	name := filepath.Base(os.Args[0])
	exports, err := telemetry.Start(ctx, traces, name, "", false)
	if err != nil {
		return err
	}
	defer exports.Flush()
	log := slog.New(exports.LogHandler(slog.Default().Handler()))
	telemetry.ReportTo(log)
	nc, err := natsconn.Connect(ctx, conn, name, log)
	if err != nil {
		return err
	}
	defer nc.Close()
	st, err := store.Open(ctx, nc, opts)
	if err != nil {
		return err
	}
	st.LogTo(log)
	defer store.Observe(st)()
	w, err := New(ctx, cfg, st, agents, log)
	if err != nil {
		return err
	}
	return w.Run(ctx)
}
