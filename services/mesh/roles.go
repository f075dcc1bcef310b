package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"agentmesh/services/mesh/cli"
	"agentmesh/shared/config"
	"agentmesh/shared/egress"
	core "agentmesh/shared/mesh"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/proc"
	"agentmesh/shared/store"
	"agentmesh/shared/telemetry"
)

// roleConfig is what every role has that runs against a NATS server.
type roleConfig struct {
	log   logConfig
	nats  natsconn.Config
	admin adminConfig
	store store.Options

	telemetry telemetry.Config
}

// everySetting is the settings of all commands that take a settings file.
func everySetting() []any {
	up, nats := defaultUp(), natsconn.Default("")
	return append(up.settings(), &nats)
}

func defaultRole(name string) roleConfig {
	return roleConfig{log: defaultLog(), nats: natsconn.Default(name), admin: defaultAdmin(), store: store.DefaultOptions(0), telemetry: telemetry.DefaultConfig()}
}

// role is one role as a process.
type role struct {
	name, short string
	settings    []any
	drain       *time.Duration
	attempts    func() int // that run now
	// prepare checks what needs no mesh and binds what else the role listens on.
	// It may be nil.
	prepare func(p *ports, log *slog.Logger) error
	// guard is that of the role's callbacks, once it is prepared; nil: it sends none.
	guard func() *egress.Guard
	// makes has the role make the streams that are missing, if its NATS user may; the
	// others wait for them.
	makes bool
	// dials is told how more connections to the mesh's NATS are opened. It may be nil.
	dials func(dialer)
	// parts makes the parts of the role on an open store.
	parts func(ctx context.Context, st *store.Store, log *slog.Logger) ([]proc.Part, error)
}

// command makes the command of the role.
func (r role) command() *cobra.Command {
	cfg := defaultRole(r.name)
	cmd := &cobra.Command{Use: r.name, Short: r.short, Args: cli.NoArgs}
	set := config.Bind(cmd.Flags(), append(r.settings, &cfg.nats, &cfg.store, &cfg.admin, &cfg.telemetry, &cfg.log)...).PassOver(everySetting()...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := set.Load(os.Getenv); err != nil {
			return cli.Misuse(err)
		}
		return r.run(cmd.Context(), cfg)
	}
	return cmd
}

func (r role) run(ctx context.Context, cfg roleConfig) error {
	log, err := cfg.log.logger()
	if err != nil {
		return err
	}
	if err := cfg.store.Validate(); err != nil {
		return cli.Misuse(err)
	}
	if err := cfg.admin.validate(); err != nil {
		return err
	}
	var at ports
	defer at.close()
	admin := at.bind("admin", cfg.admin.Admin)
	exports, log, err := startTelemetry(ctx, cfg.telemetry, cfg.admin, "mesh-"+r.name, log)
	if err != nil {
		return err
	}
	defer exports.Flush()
	log = log.With("role", r.name)
	if r.prepare != nil {
		if err := r.prepare(&at, log); err != nil {
			return err
		}
	}
	if err := at.err(); err != nil {
		return err
	}
	ctx, last, ended := ending(ctx, *r.drain, r.attempts, log)
	defer ended()
	state := newOpening(log)
	own := proc.Part{Name: r.name, Run: func(ctx context.Context) error { return r.serve(ctx, cfg, &at, last, state, log) }}
	return proc.Run(ctx, append(cfg.admin.parts(admin, exports.Metrics, state, log), own)...)
}

// serve opens the mesh, however long that is away, and runs the parts of the
// role. Meanwhile the lobby answers at its address.
func (r role) serve(ctx context.Context, cfg roleConfig, at *ports, last proc.Part, state *opening, log *slog.Logger) error {
	leave, err := state.lobby(at.api, at.tls)
	if err != nil {
		return err
	}
	defer leave()
	var st *store.Store
	var parts []proc.Part
	hangUp := func() {}
	err = state.try(ctx, func() error {
		nc, err := natsconn.Connect(ctx, cfg.nats, "mesh-"+r.name, log)
		if err != nil {
			return err
		}
		if r.dials != nil {
			r.dials(func(ctx context.Context) (*nats.Conn, error) {
				return natsconn.Connect(ctx, cfg.nats, "mesh-agents", log)
			})
		}
		if r.makes {
			st, err = store.Open(ctx, nc, cfg.store)
		} else {
			st, err = store.Look(ctx, nc)
		}
		if err == nil {
			parts, err = r.parts(ctx, st, log)
		}
		if err != nil {
			nc.Close()
			return err
		}
		hangUp = nc.Close
		return nil
	})
	defer func() { hangUp() }()
	if err != nil {
		return stopped(ctx, err)
	}
	st.LogTo(log)
	st.WarnOfSettings(log)
	if r.makes && cfg.store.Replicas == 0 && st.Copies() == 1 {
		log.Warn(oneCopy)
	}
	defer store.Observe(st)()
	leave()
	state.done()
	var guard *egress.Guard
	if r.guard != nil {
		guard = r.guard()
	}
	return proc.Run(ctx, append(parts, neighbours(st, at, guard, log), givingBack(log), last)...)
}

// oneCopy is said where nobody has asked for it.
const oneCopy = "each stream of this mesh has one copy, and is lost with the disk of its NATS server: run three servers (deploy/nats) and `mesh migrate --apply --replicas 3`; --replicas 1 says that one is meant"

// stopped is err, unless the process was told to end: then there is none.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
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
	if err := migrateOwn(ctx, srv, opts, log); err != nil {
		return nil, err
	}
	for _, role := range []struct {
		name string
		st   **store.Store
	}{{"gateway", &s.gateway}, {"worker", &s.worker}, {"notifier", &s.notifier}} {
		nc, err := natsconn.InProcess(srv, role.name, srv.token(), log.With("role", role.name))
		if err == nil {
			s.closers = append(s.closers, nc.Close)
			*role.st, err = store.Open(ctx, nc, opts)
		}
		if err != nil {
			s.close()
			return nil, err
		}
		(*role.st).LogTo(log.With("role", role.name))
	}
	return s, nil
}

func (s *roleStores) close() {
	for _, closer := range s.closers {
		closer()
	}
}

// reconciling looks for lost work. Every gateway runs it, and one at a time works: no
// other role may read all queues.
func reconciling(st *store.Store, log *slog.Logger) proc.Part {
	host, _ := os.Hostname()
	who := fmt.Sprintf("%s %d", host, os.Getpid())
	return proc.Part{Name: "reconciler", Run: core.NewReconciler(st, who, log).Run}
}
