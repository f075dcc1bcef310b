package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"

	"github.com/spf13/cobra"

	"agentmesh/notifier"
	"agentmesh/notifier/egress"
	"agentmesh/shared/config"
	"agentmesh/shared/proc"
	"agentmesh/shared/secret"
	"agentmesh/shared/store"
)

// callbackConfig is what gateways and notifiers share: where callbacks may go,
// and the key of their secrets.
type callbackConfig struct {
	egress egress.Config
	secret secretConfig
}

// secretConfig is the operator's key.
type secretConfig struct {
	Key config.Secret `flag:"secret-key" env:"MESH_SECRET_KEY" help:"key that seals the secrets of webhooks at rest: 32 bytes in base64 (mesh key makes one); several, separated by commas, while it is replaced, the new one first. mesh up without one makes <data>/secret.key"`
}

func (c *callbackConfig) settings() []any { return []any{&c.egress, &c.secret} }

// guard makes the guard of the policy.
func (c *callbackConfig) guard() (*egress.Guard, error) {
	policy, err := c.egress.Policy()
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return egress.New(policy, nil), nil
}

// keyFile is the generated secret key beside the data of an embedded server.
const keyFile = "secret.key"

// embeddedKeeper has the operator's key, or the one beside the data.
func (c *callbackConfig) embeddedKeeper(data string) (*secret.Keeper, error) {
	if c.secret.Key == "" {
		return secret.File(filepath.Join(data, keyFile))
	}
	return c.ownKeeper()
}

func (c *callbackConfig) ownKeeper() (*secret.Keeper, error) {
	k, err := secret.New(string(c.secret.Key))
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("--secret-key (MESH_SECRET_KEY): %w", err)}
	}
	return k, nil
}

// fleetKeeper has the operator's key, or one that the mesh keeps in its own
// store: good enough to try a fleet, and no protection from who reads the store.
func (c *callbackConfig) fleetKeeper(ctx context.Context, st *store.Store, log *slog.Logger) (*secret.Keeper, error) {
	if c.secret.Key != "" {
		return c.ownKeeper()
	}
	text, err := st.SharedSecretKey(ctx, secret.NewKey)
	if err != nil {
		return nil, err
	}
	log.Warn("no secret key: the secrets of webhooks are sealed with a key that lies beside them in the store; set MESH_SECRET_KEY (mesh key makes one) on every gateway and notifier")
	return secret.New(text)
}

// onLoopback reports whether a listen address is this machine only.
func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

func notifierCommand() *cobra.Command {
	cfg, callbacks := notifier.Default(), callbackConfig{}
	var guard *egress.Guard
	return role{
		name: "notifier", short: "Run a notifier against a NATS server",
		settings: append([]any{&cfg}, callbacks.settings()...), drain: &cfg.Drain, attempts: func() int { return 0 },
		prepare: func(*ports, *slog.Logger) (err error) {
			guard, err = callbacks.guard()
			return err
		},
		parts: func(ctx context.Context, st *store.Store, log *slog.Logger) ([]proc.Part, error) {
			keeper, err := callbacks.fleetKeeper(ctx, st, log)
			if err != nil {
				return nil, err
			}
			n, err := notifier.New(ctx, cfg, st, guard, keeper, log)
			if err != nil {
				return nil, err
			}
			log.Info("notifier delivers")
			return []proc.Part{{Name: "notifier", Run: n.Run}, reconciling(st, log)}, nil
		},
	}.command()
}

// keyCommand makes a secret key.
func keyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "key", Short: "Make a key for MESH_SECRET_KEY, which seals the secrets of webhooks", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(cmd.OutOrStdout(), secret.NewKey())
			return nil
		},
	}
}
