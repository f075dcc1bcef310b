package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"agentmesh/services/mesh/cli"
	"agentmesh/shared/config"
	"agentmesh/shared/keyring"
	"agentmesh/shared/secret"
	"agentmesh/shared/store"
	"agentmesh/shared/webhook"
)

// secretConfig is the operator's key.
type secretConfig struct {
	Key     config.Secret `flag:"secret-key" env:"MESH_SECRET_KEY" help:"key that seals the secrets of webhooks, and the steps of agents with seal: true, at rest: 32 bytes in base64 (mesh key makes one); several, separated by commas, while it is replaced, the new one first. Set it by the environment or by --secret-key-file: a command line is seen by others. mesh up without one makes <data>/secret.key"`
	File    string        `flag:"secret-key-file" env:"MESH_SECRET_KEY_FILE" help:"file with the secret key, or several, one a line"`
	Replace bool          `flag:"replace-secret-key" env:"MESH_REPLACE_SECRET_KEY" help:"go on, once, with another secret key when the one before is lost: every webhook then needs a new secret"`
}

// sealConfig is the same key for a worker, which needs it for agents with seal: true.
type sealConfig struct {
	Key  config.Secret `flag:"secret-key" env:"MESH_SECRET_KEY" help:"the mesh's key, which seals the steps of agents with seal: true. Set it by the environment or by --secret-key-file"`
	File string        `flag:"secret-key-file" env:"MESH_SECRET_KEY_FILE" help:"file with the secret key, or several, one a line"`
}

// keyFile is the generated secret key beside the data of an embedded server.
const keyFile = "secret.key"

// embeddedKeys are made of the operator's key, or the one beside the data.
func (c *callbackConfig) embeddedKeys(ctx context.Context, st *store.Store, data string, log *slog.Logger) (*keyring.Ring, error) {
	k, err := c.secret.keeper()
	if k != nil || err != nil {
		return c.adopt(ctx, st, k, err, log)
	}
	name := filepath.Join(data, keyFile)
	if k, err = secret.File(name); errors.Is(err, fs.ErrNotExist) {
		var print string
		if print, err = st.Secrets.Print(ctx); err != nil {
			return nil, err
		}
		if print != "" && !c.secret.Replace {
			return nil, fmt.Errorf("%s is missing, and the secrets of webhooks were sealed with it (fingerprint %s): put it back from a backup%s", name, print, keyLost)
		}
		k, err = secret.MakeFile(name)
	}
	return c.adopt(ctx, st, k, err, log)
}

// keyLost says what to do when there is no backup.
const keyLost = ", or give the key with --secret-key-file; if it is lost, start once with --replace-secret-key and give every webhook a new secret (POST /webhooks/{id}/rotate-secret)"

// seen warns of a key that stands where others see it.
func (c secretConfig) seen(log *slog.Logger) {
	if onCommandLine(c.Key) {
		log.Warn("the secret key stands on the command line, where every user of this machine sees it: set MESH_SECRET_KEY or --secret-key-file instead")
	}
}

// onCommandLine reports whether a secret is seen by every user of this machine.
func onCommandLine(s config.Secret) bool {
	return s != "" && slices.ContainsFunc(os.Args, func(arg string) bool { return strings.Contains(arg, string(s)) })
}

// keeper has the operator's key; nil when there is none.
func (c secretConfig) keeper() (k *secret.Keeper, err error) {
	switch {
	case c.Key != "" && c.File != "":
		return nil, cli.Usage("secret-key and secret-key-file are both set: choose one")
	case c.File != "":
		if k, err = secret.File(c.File); err != nil {
			return nil, cli.Misuse(fmt.Errorf("--secret-key-file (MESH_SECRET_KEY_FILE): %w", err))
		}
	case c.Key != "":
		if k, err = secret.New(string(c.Key)); err != nil {
			return nil, cli.Misuse(fmt.Errorf("--secret-key (MESH_SECRET_KEY): %w", err))
		}
	}
	return k, nil
}

// adopt compares a key with the one that has sealed what is stored, and tells of
// webhooks that it does not open.
func (c *callbackConfig) adopt(ctx context.Context, st *store.Store, k *secret.Keeper, err error, log *slog.Logger) (*keyring.Ring, error) {
	if err != nil {
		return nil, err
	}
	c.secret.seen(log)
	c.keeper = k
	keys := keyring.New(k)
	opens := func(e *webhook.Endpoint) bool { _, err := keys.Open(e); return err == nil }
	err = st.Secrets.Adopt(ctx, k.Fingerprints(), c.secret.Replace, opens)
	if errors.Is(err, store.ErrOtherKey) {
		return nil, fmt.Errorf("secret key: %w; give that one, or both while you replace it, the new one first%s", err, keyLost)
	}
	if err != nil {
		return nil, err
	}
	all, err := st.Webhooks.List(ctx, "")
	if err != nil {
		return nil, err
	}
	var closed []string
	for _, e := range all {
		if !opens(e) {
			closed = append(closed, string(e.ID))
		}
	}
	if len(closed) > 0 {
		log.Error("webhooks whose secrets cannot be opened: nothing is sent to them until they are given new ones", "webhooks", len(closed), "first", closed[0])
	}
	return keys, nil
}

// fleetKeys are made of the operator's key, or one that the mesh keeps in its own
// store: good enough to try a fleet, and no protection from who reads the store.
func (c *callbackConfig) fleetKeys(ctx context.Context, st *store.Store, log *slog.Logger) (*keyring.Ring, error) {
	k, err := c.secret.keeper()
	if k != nil || err != nil {
		return c.adopt(ctx, st, k, err, log)
	}
	text, err := st.Secrets.Shared(ctx, secret.NewKey)
	if err != nil {
		return nil, err
	}
	log.Warn("no secret key: the secrets of webhooks are sealed with a key that lies beside them in the store; set MESH_SECRET_KEY (mesh key makes one) on every gateway and notifier. " +
		"Once there are webhooks, set it to both, the new one and the value of _secret in the bucket keys")
	k, err = secret.New(text)
	return c.adopt(ctx, st, k, err, log)
}

// keyCommand makes a secret key.
func keyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "key", Short: "Make a key for MESH_SECRET_KEY, which seals the secrets of webhooks", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(cmd.OutOrStdout(), secret.NewKey())
			return nil
		},
	}
}

// callbackSecretCommand shows the secret of callbacks that name no webhook: it
// needs the mesh's secret key, not a gateway.
func callbackSecretCommand() *cobra.Command {
	var data, tenant string
	cmd := &cobra.Command{
		Use: "secret", Short: "Show the secret that signs callbacks which name no webhook (needs the mesh's secret key)", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			own := secretConfig{Key: config.Secret(os.Getenv("MESH_SECRET_KEY")), File: os.Getenv("MESH_SECRET_KEY_FILE")}
			keeper, err := own.keeper()
			if keeper == nil && err == nil {
				if keeper, err = secret.File(filepath.Join(data, keyFile)); err != nil {
					err = fmt.Errorf("%w; set MESH_SECRET_KEY or MESH_SECRET_KEY_FILE, or name the data folder of mesh up with --data", err)
				}
			}
			if err != nil {
				return err
			}
			s, err := keyring.New(keeper).CallbackSecret(tenant)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), s.Reveal())
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", "./data", "data folder of mesh up (env MESH_DATA)")
	cmd.Flags().StringVar(&tenant, "tenant", "default", "whose callbacks")
	if d := os.Getenv("MESH_DATA"); d != "" {
		data = d
	}
	return cmd
}
