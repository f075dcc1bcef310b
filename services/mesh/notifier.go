package main

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"agentmesh/notifier"
	"agentmesh/shared/egress"
	"agentmesh/shared/keyring"
	"agentmesh/shared/proc"
	"agentmesh/shared/store"
)

// notifierParts makes a notifier on an open store.
func notifierParts(ctx context.Context, cfg notifier.Config, guard *egress.Guard, keys *keyring.Ring, st *store.Store, log *slog.Logger) ([]proc.Part, error) {
	n, err := notifier.New(ctx, cfg, st, guard, keys, log)
	if err != nil {
		return nil, err
	}
	log.Info("notifier delivers")
	return []proc.Part{{Name: "notifier", Run: n.Run}}, nil
}

func notifierCommand() *cobra.Command {
	cfg, callbacks := notifier.Default(), callbackConfig{}
	var guard *egress.Guard
	return role{
		name: "notifier", short: "Run a notifier against a NATS server",
		guard:    func() *egress.Guard { return guard },
		settings: append([]any{&cfg}, callbacks.settings()...), drain: &cfg.Drain, attempts: func() int { return 0 },
		prepare: func(at *ports, _ *slog.Logger) (err error) {
			guard, err = callbacks.guard(at)
			return err
		},
		parts: func(ctx context.Context, st *store.Store, log *slog.Logger) ([]proc.Part, error) {
			keys, err := callbacks.fleetKeys(ctx, st, log)
			if err != nil {
				return nil, err
			}
			return notifierParts(ctx, cfg, guard, keys, st, log)
		},
	}.command()
}
