package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway"
	"agentmesh/notifier"
	"agentmesh/services/mesh/cli"
	"agentmesh/shared/config"
	"agentmesh/shared/egress"
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
	c.gateway.Version, c.gateway.Commit = version(), commit()
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
		Args:  cli.NoArgs,
	}
	set := config.Bind(cmd.Flags(), cfg.settings()...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := set.Load(os.Getenv); err != nil {
			return cli.Misuse(err)
		}
		return up(cmd.Context(), cfg, cmd.OutOrStdout())
	}
	return cmd
}

// up runs the mesh until ctx is done. It closes in reverse order what it has
// opened.
func up(ctx context.Context, cfg upConfig, out io.Writer) error {
	log, err := cfg.log.logger()
	if err != nil {
		return err
	}
	if cfg.store.Replicas != 1 {
		return cli.Usage("replicas is %d: one embedded server keeps one copy", cfg.store.Replicas)
	}
	at, err := takePlace(&cfg)
	if err != nil {
		return err
	}
	defer at.close()
	exports, log, err := startTelemetry(ctx, cfg.telemetry, cfg.admin, "mesh", log)
	if err != nil {
		return err
	}
	defer exports.Flush()
	var running atomic.Pointer[worker.Worker]
	ctx, last, ended := ending(ctx, cfg.worker.Drain, attemptsOf(&running), log)
	defer ended()
	if cfg.agents.Gateway == "" {
		cfg.agents.Gateway = at.url()
	}
	served, err := agents.Load(cfg.agents.Agents, cfg.agents.options(log.With("role", "worker")))
	if err != nil {
		return err
	}
	state := newOpening(log)
	leave, err := state.lobby(at.api)
	if err != nil {
		return err
	}
	defer leave()
	srv, err := startServer(at, log)
	if err != nil {
		return err
	}
	defer srv.close()
	defer srv.books.observe()()
	var stores *roleStores
	var parts []proc.Part
	patience, cancel := context.WithTimeout(ctx, upOpens)
	defer cancel()
	err = state.try(patience, func() (err error) {
		if stores, err = openStores(ctx, srv, cfg.store, log); err != nil {
			return err
		}
		if parts, err = upParts(ctx, &cfg, at, stores, srv, served, &running, log); err != nil {
			stores.close()
		}
		return err
	})
	if err != nil {
		return stopped(ctx, err)
	}
	defer stores.close()
	defer store.Observe(stores.gateway, stores.worker, stores.notifier)()
	parts = append(parts, proc.Part{Name: "store", Run: srv.guard}, proc.Part{Name: "books", Run: srv.keepBooks}, last)
	parts = append(parts, adminParts(at.admin, exports.Metrics, state, log)...)
	leave()
	state.done()
	welcome(out, at, srv, cfg, served)
	return proc.Run(ctx, parts...)
}

// upOpens is how long the embedded server may take, on a disk that stalls, until
// every stream is open: it is not away, so waiting longer would not help.
const upOpens = 2 * time.Minute

// upParts makes the three roles. The worker comes last, for it announces itself.
func upParts(ctx context.Context, cfg *upConfig, at *place, st *roleStores, srv *embedded, served []agent.Agent, running *atomic.Pointer[worker.Worker], log *slog.Logger) ([]proc.Part, error) {
	if cfg.callbacks.egress.AllowPrivate == nil && onLoopback(cfg.gateway.HTTP) {
		cfg.callbacks.egress.AllowPrivate = egress.Loopback()
	}
	guard, err := cfg.callbacks.guard(&at.ports)
	if err != nil {
		return nil, err
	}
	keys, err := cfg.callbacks.embeddedKeys(ctx, st.gateway, cfg.server.Data, log)
	if err != nil {
		return nil, err
	}
	cfg.gateway.Guard, cfg.gateway.Keys = guard, keys
	cfg.gateway.Durability, cfg.gateway.Health = cfg.server.durability(), srv.healthy
	cfg.gateway.Data = srv.books.whole
	cfg.gateway.StorageLimit = srv.storageLimit()
	g, err := gateway.New(cfg.gateway, st.gateway, log.With("role", "gateway"))
	if err != nil {
		return nil, err
	}
	n, err := notifier.New(ctx, cfg.notifier, st.notifier, guard, keys, log.With("role", "notifier"))
	if err != nil {
		return nil, err
	}
	workerLog := log.With("role", "worker")
	w, err := worker.New(ctx, cfg.worker, st.worker, served, workerLog)
	if err != nil {
		return nil, err
	}
	running.Store(w)
	return []proc.Part{{Name: "gateway", Run: g.Run}, {Name: "worker", Run: w.Run}, {Name: "notifier", Run: n.Run}, reconciling(st.notifier, log), neighbours(st.gateway, &at.ports, guard, log), cfg.agents.reloading(w, workerLog)}, nil
}

// startTelemetry starts the telemetry of a process and has its log take part.
func startTelemetry(ctx context.Context, cfg telemetry.Config, admin adminConfig, service string, log *slog.Logger) (*telemetry.Exports, *slog.Logger, error) {
	exports, err := telemetry.Start(ctx, cfg, service, version(), admin.on())
	if err != nil {
		return nil, nil, cli.Misuse(err)
	}
	log = slog.New(exports.LogHandler(log.Handler()))
	telemetry.ReportTo(log)
	return exports, log, nil
}

// welcome prints what runs where, and something to try.
func welcome(out io.Writer, at *place, srv *embedded, cfg upConfig, served []agent.Agent) {
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
	if at.admin != nil {
		adminURL = "http://" + at.admin.Addr().String()
	}
	fmt.Fprintf(out, `
  agentmesh is up. Ctrl-C stops it; what was accepted is kept.

    gateway   %[1]s   (API: /openapi.json, state: /readyz)
    NATS      %[2]s
    admin     %[3]s
    data      %[4]s, %[5]s
    agents    %[6]s
    callbacks %[7]s

  Try it:

%[8]s
`, at.url(), nats, adminURL, c.Data, c.durability(), strings.Join(names, ", "), callbacks, hint(at.url(), cfg.agents.Agents == "", served))
}
