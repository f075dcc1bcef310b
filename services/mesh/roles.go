package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"agentmesh/gateway"
	"agentmesh/notifier"
	"agentmesh/shared/config"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/proc"
	"agentmesh/shared/store"
	"agentmesh/shared/telemetry"
	"agentmesh/worker"
	"agentmesh/worker/agents"
)

// roleConfig is what every role has that runs against a NATS server.
type roleConfig struct {
	log   logConfig
	nats  natsconn.Config
	admin adminConfig
	store store.Options

	telemetry telemetry.Config
}

func defaultRole() roleConfig {
	return roleConfig{log: defaultLog(), nats: natsconn.Default(), admin: defaultAdmin(), store: store.DefaultOptions(3), telemetry: telemetry.DefaultConfig()}
}

// newRole makes the parts of one role on an open store.
type newRole func(ctx context.Context, st *store.Store, log *slog.Logger) ([]proc.Part, error)

// roleCommand makes the command of one role; own is its settings.
func roleCommand(name, short string, role newRole, own ...any) *cobra.Command {
	cfg := defaultRole()
	cmd := &cobra.Command{Use: name, Short: short, Args: noArgs}
	set := config.Bind(cmd.Flags(), append(own, &cfg.nats, &cfg.store, &cfg.admin, &cfg.telemetry, &cfg.log)...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := set.Load(os.Getenv); err != nil {
			return &exitError{exitUsage, err}
		}
		return runRole(cmd.Context(), name, cfg, role)
	}
	return cmd
}

func runRole(ctx context.Context, name string, cfg roleConfig, role newRole) error {
	log, err := cfg.log.logger()
	if err != nil {
		return err
	}
	if err := cfg.store.Validate(); err != nil {
		return &exitError{exitUsage, err}
	}
	exports, log, err := startTelemetry(ctx, cfg.telemetry, cfg.admin, "mesh-"+name, log)
	if err != nil {
		return err
	}
	defer exports.Flush()
	nc, err := natsconn.Connect(ctx, cfg.nats, "mesh-"+name, log)
	if err != nil {
		return err
	}
	defer nc.Close()
	st, err := store.Open(ctx, nc, cfg.store)
	if err != nil {
		return err
	}
	defer store.Observe(st)()
	parts, err := role(ctx, st, log.With("role", name))
	if err != nil {
		return err
	}
	_, admin, err := cfg.admin.part(exports.Metrics, log)
	if err != nil {
		return err
	}
	if admin != nil {
		parts = append(parts, *admin)
	}
	return proc.Run(ctx, parts...)
}

// roleStores are the stores of the roles in one process. Each has a connection of
// its own: a role that reads more slowly than the server sends is cut off alone.
type roleStores struct {
	gateway, worker, notifier *store.Store

	closers []func()
}

// openStores connects every role to the embedded server.
func openStores(ctx context.Context, srv *embedded, opts store.Options, log *slog.Logger) (*roleStores, error) {
	s := &roleStores{}
	for _, role := range []struct {
		name string
		st   **store.Store
	}{{"gateway", &s.gateway}, {"worker", &s.worker}, {"notifier", &s.notifier}} {
		nc, err := natsconn.InProcess(srv.Server, "mesh-"+role.name, log.With("role", role.name))
		if err == nil {
			s.closers = append(s.closers, nc.Close)
			*role.st, err = store.Open(ctx, nc, opts)
		}
		if err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

func (s *roleStores) close() {
	for _, closer := range s.closers {
		closer()
	}
}

func gatewayCommand() *cobra.Command {
	cfg, callbacks := gateway.Default(), callbackConfig{}
	cfg.Version = version()
	return roleCommand("gateway", "Run a gateway against a NATS server", func(ctx context.Context, st *store.Store, log *slog.Logger) ([]proc.Part, error) {
		guard, err := callbacks.guard()
		if err != nil {
			return nil, err
		}
		keeper, err := callbacks.fleetKeeper(ctx, st, log)
		if err != nil {
			return nil, err
		}
		cfg.Receivers = notifier.NewReceivers(guard, keeper)
		g, err := gateway.New(cfg, st, log)
		if err != nil {
			return nil, err
		}
		log.Info("gateway listens", "url", "http://"+g.Addr().String())
		return []proc.Part{{Name: "gateway", Run: g.Run}}, nil
	}, append([]any{&cfg}, callbacks.settings()...)...)
}

func workerCommand() *cobra.Command {
	cfg, served := worker.Default(), agentsConfig{}
	return roleCommand("worker", "Run a worker against a NATS server", func(ctx context.Context, st *store.Store, log *slog.Logger) ([]proc.Part, error) {
		all, err := agents.Load(served.Agents, served.options(log))
		if err != nil {
			return nil, err
		}
		w, err := worker.New(ctx, cfg, st, all, log)
		if err != nil {
			return nil, err
		}
		log.Info("worker pulls", "worker", w.ID(), "agents", len(all))
		return []proc.Part{{Name: "worker", Run: w.Run}, served.reloading(w, log)}, nil
	}, &cfg, &served)
}
