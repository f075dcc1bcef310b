package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"agentmesh/gateway"
	"agentmesh/notifier"
	"agentmesh/notifier/egress"
	"agentmesh/shared/config"
	"agentmesh/shared/proc"
	"agentmesh/shared/store"
	"agentmesh/shared/telemetry"
	"agentmesh/worker"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents"
)

// upConfig is all of `mesh up`.
type upConfig struct {
	log     logConfig
	server  serverConfig
	gateway gateway.Config
	worker  worker.Config
	agents  agentsConfig
	admin   adminConfig
	store   store.Options

	notifier  notifier.Config
	telemetry telemetry.Config
	callbacks callbackConfig
}

func defaultUp() upConfig {
	c := upConfig{
		log: defaultLog(), server: defaultServer(), gateway: gateway.Default(), worker: worker.Default(),
		admin: defaultAdmin(), store: store.DefaultOptions(1), notifier: notifier.Default(), telemetry: telemetry.DefaultConfig(),
	}
	c.gateway.Version = version()
	return c
}

func (c *upConfig) settings() []any {
	all := []any{&c.gateway, &c.admin, &c.server, &c.store, &c.worker, &c.notifier}
	return append(append(all, c.callbacks.settings()...), &c.agents, &c.telemetry, &c.log)
}

func upCommand() *cobra.Command {
	cfg := defaultUp()
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the whole mesh in this process, with NATS embedded",
		Args:  noArgs,
	}
	set := config.Bind(cmd.Flags(), cfg.settings()...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := set.Load(os.Getenv); err != nil {
			return &exitError{exitUsage, err}
		}
		return up(cmd.Context(), cfg, cmd.OutOrStdout())
	}
	return cmd
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("%s takes no arguments, got %q", cmd.CommandPath(), args[0])
	}
	return nil
}

// up runs the mesh until ctx is done. What it opens it closes in reverse.
func up(ctx context.Context, cfg upConfig, out io.Writer) error {
	log, err := cfg.log.logger()
	if err != nil {
		return err
	}
	if cfg.store.Replicas != 1 {
		return usage("replicas is %d: one embedded server keeps one copy", cfg.store.Replicas)
	}
	exports, log, err := startTelemetry(ctx, cfg.telemetry, cfg.admin, "mesh", log)
	if err != nil {
		return err
	}
	defer exports.Flush()
	srv, err := startServer(cfg.server, log)
	if err != nil {
		return err
	}
	defer srv.stop()
	stores, err := openStores(ctx, srv, cfg.store, log)
	if err != nil {
		return err
	}
	defer stores.close()
	defer store.Observe(stores.gateway, stores.worker, stores.notifier)()
	if cfg.callbacks.egress.AllowPrivate == nil && onLoopback(cfg.gateway.HTTP) {
		cfg.callbacks.egress.AllowPrivate = egress.Loopback()
	}
	guard, err := cfg.callbacks.guard()
	if err != nil {
		return err
	}
	keeper, err := cfg.callbacks.embeddedKeeper(cfg.server.Data)
	if err != nil {
		return err
	}
	cfg.gateway.Receivers = notifier.NewReceivers(guard, keeper)
	cfg.gateway.Durability, cfg.gateway.Health = cfg.server.durability(), srv.healthy
	cfg.gateway.StorageLimit = srv.JetStreamConfig().MaxStore
	g, err := gateway.New(cfg.gateway, stores.gateway, log.With("role", "gateway"))
	if err != nil {
		return err
	}
	defer g.Close()
	if cfg.agents.Gateway == "" {
		cfg.agents.Gateway = "http://" + g.Addr().String()
	}
	workerLog := log.With("role", "worker")
	served, err := agents.Load(cfg.agents.Agents, cfg.agents.options(workerLog))
	if err != nil {
		return err
	}
	w, err := worker.New(ctx, cfg.worker, stores.worker, served, workerLog)
	if err != nil {
		return err
	}
	n, err := notifier.New(ctx, cfg.notifier, stores.notifier, guard, keeper, log.With("role", "notifier"))
	if err != nil {
		return err
	}
	parts := []proc.Part{{Name: "gateway", Run: g.Run}, {Name: "worker", Run: w.Run}, {Name: "notifier", Run: n.Run}, cfg.agents.reloading(w, workerLog)}
	adminAddr, admin, err := cfg.admin.part(exports.Metrics, log)
	if err != nil {
		return err
	}
	if admin != nil {
		parts = append(parts, *admin)
	}
	welcome(out, g.Addr(), adminAddr, srv, cfg, served)
	return proc.Run(ctx, parts...)
}

// startTelemetry starts the telemetry of a process and has its log take part.
func startTelemetry(ctx context.Context, cfg telemetry.Config, admin adminConfig, service string, log *slog.Logger) (*telemetry.Exports, *slog.Logger, error) {
	exports, err := telemetry.Start(ctx, cfg, service, version(), admin.on())
	if err != nil {
		return nil, nil, &exitError{exitUsage, err}
	}
	log = slog.New(exports.LogHandler(log.Handler()))
	telemetry.ReportTo(log)
	return exports, log, nil
}

// welcome prints what runs where, and something to try.
func welcome(out io.Writer, gateway, admin net.Addr, srv *embedded, cfg upConfig, served []agent.Agent) {
	c := cfg.server
	callbacks := "to the public internet, https"
	if private := cfg.callbacks.egress.AllowPrivate; len(private) > 0 {
		callbacks += ", and to " + private.String() + " (--allow-private-callbacks)"
	}
	var names []string
	for _, a := range served {
		names = append(names, a.Name)
	}
	nats, adminURL := "in this process only", "off"
	if c.NATS != "off" {
		nats = srv.ClientURL()
	}
	if admin != nil {
		adminURL = "http://" + admin.String()
	}
	fmt.Fprintf(out, `
  agentmesh is up. Ctrl-C stops it; what was accepted is kept.

    gateway   http://%[1]s   (API: /openapi.json, state: /readyz)
    NATS      %[2]s
    admin     %[3]s
    data      %[4]s, %[5]s
    agents    %[6]s
    callbacks %[7]s

  Try it:

    ID=$(curl -s http://%[1]s/tasks -H 'Content-Type: application/json' -d '{"agent":"echo","input":{"hello":"mesh","echo_delay":"3s"}}' | grep -o 'tsk_[0-9a-f]*' | head -1)
    curl -s http://%[1]s/tasks/$ID
    curl -s http://%[1]s/tasks -H 'Content-Type: application/json' -H 'Prefer: wait=10' -d '{"agent":"summarize","input":{"text":"Tides rise and fall twice a day. The moon pulls the sea towards it. Tides are highest when moon and sun pull together. My cat is asleep.","sentences":2}}'

`, gateway, nats, adminURL, c.Data, c.durability(), strings.Join(names, ", "), callbacks)
}
