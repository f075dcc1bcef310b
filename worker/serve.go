package worker

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"agentmesh/shared/config"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/pause"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/worker/agent"
)

// Serve is a whole worker program: it connects to NATS as the environment says
// (NATS_URL and its like; MESH_DRAIN, MESH_LEASE, MESH_MAX_RESULT, MESH_TRACE_MODE,
// OTEL_*), serves agents until ctx is done, and drains. It waits for NATS, and for
// the streams that a gateway makes, while those are away. End ctx by
// signal.NotifyContext with SIGTERM.
func Serve(ctx context.Context, agents ...agent.Agent) error {
	cfg, conn, traces := Default(), natsconn.Default("worker"), telemetry.DefaultConfig()
	if err := config.Env(os.Getenv, &cfg, &conn, &traces); err != nil {
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
	var w *Worker
	hangUp := func() {}
	err = untilOpen(ctx, log, func() error {
		nc, err := natsconn.Connect(ctx, conn, name, log)
		if err != nil {
			return err
		}
		st, err := store.Look(ctx, nc)
		if err == nil {
			st.LogTo(log)
			w, err = New(ctx, cfg, st, agents, log)
		}
		if err != nil {
			nc.Close()
			return err
		}
		unobserve := store.Observe(st)
		hangUp = func() { unobserve(); nc.Close() }
		return nil
	})
	if ctx.Err() != nil && w == nil {
		return nil // told to end while it waited
	}
	if err != nil {
		return err
	}
	defer hangUp()
	return w.Run(ctx)
}

// untilOpen calls open until the store is there, and says once that it waits. It
// returns an error that does not pass by itself, and the last one when ctx is
// done.
func untilOpen(ctx context.Context, log *slog.Logger, open func() error) error {
	said := false
	for wait := 250 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := open()
		if err == nil || !natsconn.Away(err) && !errors.Is(err, task.ErrUnavailable) {
			return err
		}
		if !said {
			said = true
			log.Warn("waiting for the store, trying again until it is there", "error", err)
		}
		if !pause.For(ctx, wait) {
			return err
		}
	}
}
