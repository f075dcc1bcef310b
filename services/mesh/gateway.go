package main

import (
	"cmp"
	"context"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"

	"agentmesh/gateway"
	"agentmesh/gateway/console"
	"agentmesh/shared/egress"
	"agentmesh/shared/proc"
	"agentmesh/shared/store"
)

// gatewayParts makes a gateway on an open store, and what looks for lost work.
func gatewayParts(cfg gateway.Config, pages console.Config, st *store.Store, log *slog.Logger) ([]proc.Part, error) {
	g, err := gateway.New(cfg, st, log)
	if err != nil {
		return nil, err
	}
	shown, err := mountConsole(g, cfg, pages, log)
	if err != nil {
		g.Close()
		return nil, err
	}
	log.Info("gateway listens", "url", scheme(cfg.TLS)+g.Addr().String())
	return append(shown, proc.Part{Name: "gateway", Run: g.Run}, reconciling(st, log), namingGateway(st, cfg, g.Addr(), log)), nil
}

// defaultGateway has the settings of a gateway of this build.
func defaultGateway() gateway.Config {
	cfg := gateway.Default()
	cfg.Version, cfg.Commit = version(), commit()
	return cfg
}

func gatewayCommand() *cobra.Command {
	cfg, pages, callbacks, asks := defaultGateway(), console.Default(), callbackConfig{}, defaultAuth()
	var own dialer
	return role{
		name: "gateway", short: "Run a gateway against a NATS server", makes: true,
		guard:    func() *egress.Guard { return cfg.Guard },
		settings: slices.Concat([]any{&cfg, &pages}, asks.settings(), callbacks.settings()), drain: &cfg.Drain, attempts: func() int { return 0 },
		prepare: func(at *ports, log *slog.Logger) (err error) {
			if err := cmp.Or(cfg.Validate(), pages.Validate(), asks.validate(cfg.Auth)); err != nil {
				return err
			}
			if err := asks.vouched.open(&cfg, log); err != nil {
				return err
			}
			at.tls = cfg.TLS
			at.api = at.bind("http", cfg.HTTP)
			cfg.Listener = at.api
			cfg.Guard, err = callbacks.guard(at)
			return err
		},
		dials: func(d dialer) { own = d },
		parts: func(ctx context.Context, st *store.Store, log *slog.Logger) (_ []proc.Part, err error) {
			if cfg.Keys, err = callbacks.fleetKeys(ctx, st, log); err != nil {
				return nil, err
			}
			if err := reseal(ctx, st, cfg.Keys, log); err != nil {
				return nil, err
			}
			known, err := asks.apply(ctx, &cfg, st, "", callbacks.egress, log)
			if err != nil {
				return nil, err
			}
			if err := speakAgents(ctx, &cfg, own, log); err != nil {
				return nil, err
			}
			pages.SignIn = asks.signIn()
			parts, err := gatewayParts(cfg, pages, st, log)
			return append(known, parts...), err
		},
	}.command()
}
