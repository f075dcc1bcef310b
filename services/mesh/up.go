package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"agentmesh/gateway"
	"agentmesh/gateway/console"
	"agentmesh/notifier"
	"agentmesh/services/mesh/cli"
	"agentmesh/shared/config"
	"agentmesh/shared/egress"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/proc"
	"agentmesh/shared/store"
	"agentmesh/shared/telemetry"
	"agentmesh/worker"
)

// upConfig is all of `mesh up`.
type upConfig struct {
	log     logConfig
	server  serverConfig
	gateway gateway.Config
	console console.Config
	inbox   inboxConfig
	worker  worker.Config
	agents  agentsConfig
	demo    demoModel
	admin   adminConfig
	store   store.Options

	notifier  notifier.Config
	telemetry telemetry.Config
	callbacks callbackConfig
	auth      authConfig
}

func defaultUp() upConfig {
	c := upConfig{
		log: defaultLog(), server: defaultServer(), gateway: defaultGateway(), console: console.Default(), inbox: defaultInbox(), worker: worker.Default(),
		admin: defaultAdmin(), auth: defaultAuth(), store: store.DefaultOptions(1), notifier: notifier.Default(), telemetry: telemetry.DefaultConfig(),
	}
	c.gateway.Version, c.gateway.Commit = version(), commit()
	return c
}

func (c *upConfig) settings() []any {
	roles := []any{&c.admin, &c.server, &c.store, &c.worker, &c.notifier}
	return slices.Concat([]any{&c.gateway, &c.console, &c.inbox}, c.auth.settings(), roles, c.callbacks.settings(), []any{&c.agents, &c.demo, &c.telemetry, &c.log})
}

func upCommand() *cobra.Command {
	cfg := defaultUp()
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the whole mesh in this process, with NATS embedded",
		Args:  cli.NoArgs,
	}
	set := config.Bind(cmd.Flags(), cfg.settings()...).PassOver(everySetting()...)
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
	if err := cmp.Or(cfg.console.Validate(), cfg.auth.validate(cfg.gateway.Auth)); err != nil {
		return err
	}
	if err := cfg.auth.vouched.open(&cfg.gateway, log); err != nil {
		return err
	}
	at, err := takePlace(&cfg)
	if err != nil {
		return err
	}
	defer at.close()
	if at.inbox, err = cfg.inbox.bind(cfg.gateway.Auth); err != nil {
		return err
	}
	exports, log, err := startTelemetry(ctx, cfg.telemetry, cfg.admin, "mesh", log)
	if err != nil {
		return err
	}
	defer exports.Flush()
	w := &workerRole{worker: cfg.worker, agents: cfg.agents, demo: cfg.demo}
	ctx, last, ended := ending(ctx, cfg.worker.Drain, w.attempts, log)
	defer ended()
	w.agents.Gateway = cmp.Or(w.agents.Gateway, cfg.gateway.PublicURL, at.url())
	if err := w.load(log.With("role", "worker")); err != nil {
		return err
	}
	state := newOpening(log)
	leave, err := state.lobby(at.api, at.tls)
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
	m := &upMesh{cfg: &cfg, at: at, srv: srv, worker: w, log: log}
	stores, parts, err := m.open(ctx, state)
	if err != nil {
		return stopped(ctx, err)
	}
	defer stores.close()
	defer store.Observe(stores.gateway, stores.worker, stores.notifier)()
	parts = append(parts, proc.Part{Name: "store", Run: srv.guard}, proc.Part{Name: "books", Run: srv.keepBooks}, givingBack(log), last)
	parts = append(parts, cfg.admin.parts(at.admin, exports.Metrics, state, log)...)
	leave()
	state.done()
	m.welcome(out)
	return proc.Run(ctx, parts...)
}

// upOpens is how long the embedded server may take, on a disk that stalls, until
// every stream is open: it is not away, so waiting longer would not help.
const upOpens = 2 * time.Minute

// upMesh is the mesh of `mesh up` on its embedded server.
type upMesh struct {
	cfg    *upConfig
	at     *place
	srv    *embedded
	worker *workerRole
	log    *slog.Logger
}

// open opens the stores of the roles and makes their parts.
func (m *upMesh) open(ctx context.Context, state *opening) (stores *roleStores, parts []proc.Part, err error) {
	patience, cancel := context.WithTimeout(ctx, upOpens)
	defer cancel()
	err = state.try(patience, func() (err error) {
		if stores, err = openStores(ctx, m.srv, m.cfg.store, m.log); err != nil {
			return err
		}
		if parts, err = m.parts(ctx, stores); err != nil {
			stores.close()
		}
		return err
	})
	return stores, parts, err
}

// parts makes the roles as they are made in processes of their own. The worker
// comes last, for it announces itself.
func (m *upMesh) parts(ctx context.Context, st *roleStores) ([]proc.Part, error) {
	cfg := m.cfg
	if cfg.callbacks.egress.AllowPrivate == nil && onLoopback(cfg.gateway.HTTP) {
		cfg.callbacks.egress.AllowPrivate = egress.Loopback()
	}
	guard, err := cfg.callbacks.guard(&m.at.ports)
	if err != nil {
		return nil, err
	}
	keys, err := cfg.callbacks.embeddedKeys(ctx, st.gateway, cfg.server.Data, m.log)
	if err != nil {
		return nil, err
	}
	if err := reseal(ctx, st.gateway, keys, m.log); err != nil {
		return nil, err
	}
	cfg.gateway.Guard, cfg.gateway.Keys = guard, keys
	cfg.gateway.Durability, cfg.gateway.Health = cfg.server.durability(), m.srv.healthy
	cfg.gateway.Data, cfg.gateway.StorageLimit = m.srv.books.whole, m.srv.storageLimit()
	own := []proc.Part{neighbours(st.gateway, &m.at.ports, guard, m.log)}
	known, err := cfg.auth.apply(ctx, &cfg.gateway, st.gateway, cfg.server.Data, cfg.callbacks.egress, m.log)
	if err != nil {
		return nil, err
	}
	dial := func(context.Context) (*nats.Conn, error) {
		return natsconn.InProcess(m.srv, "face", m.srv.token(), m.log)
	}
	if err := speakAgents(ctx, &cfg.gateway, dial, m.log); err != nil {
		return nil, err
	}
	cfg.console.SignIn = cfg.auth.signIn()
	if m.at.inbox != nil {
		cfg.console.Inbox = "http://" + m.at.inbox.Addr().String()
	}
	g, err := gatewayParts(cfg.gateway, cfg.console, st.gateway, m.log.With("role", "gateway"))
	if err != nil {
		return nil, err
	}
	n, err := notifierParts(ctx, cfg.notifier, guard, keys, st.notifier, m.log.With("role", "notifier"))
	if err != nil {
		return nil, err
	}
	m.worker.worker.Keeper = cfg.callbacks.keeper
	w, err := m.worker.parts(ctx, st.worker, m.log.With("role", "worker"))
	return slices.Concat(own, known, g, n, inboxParts(m.at.inbox, st.gateway, keys), w), err
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
func (m *upMesh) welcome(out io.Writer) {
	c, at, served := m.cfg.server, m.at, m.worker.served
	callbacks := "to the public internet, https"
	if private := m.cfg.callbacks.egress.AllowPrivate; len(private) > 0 {
		callbacks += ", and to " + private.String() + " (--allow-private-callbacks)"
	}
	var names []string
	for _, a := range served {
		names = append(names, a.Name)
	}
	nats, adminURL := "in this process only", "off"
	if c.NATS != "off" {
		nats = m.srv.ClientURL() + "   (" + c.asks() + ")"
	}
	if at.admin != nil {
		adminURL = "http://" + at.admin.Addr().String()
	}
	fmt.Fprintf(out, `
  agentmesh is up. Ctrl-C stops it; what was accepted is kept.

    gateway   %[1]s   (API: /openapi.json, state: /readyz)%[10]s
    NATS      %[2]s
    admin     %[3]s
    data      %[4]s, %[5]s
    agents    %[6]s
    callbacks %[7]s
    auth      %[9]s

  Try it:

%[8]s
`, at.url(), nats, adminURL, c.Data, c.durability(), strings.Join(names, ", "), callbacks, hint(at.url(), m.cfg.agents.Agents == "", m.cfg.gateway.Auth != "off", served), m.cfg.auth.says(m.cfg.gateway.Auth, c.Data), m.console())
}

// console says where the console is.
func (m *upMesh) console() string {
	if m.cfg.console.Console == console.Off {
		return ""
	}
	return "\n    console   " + m.at.url() + console.Path
}
