package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"agentmesh/gateway"
	"agentmesh/gateway/console"
	"agentmesh/services/mesh/cli"
	"agentmesh/shared/auth"
	"agentmesh/shared/config"
	"agentmesh/shared/egress"
	core "agentmesh/shared/mesh"
	"agentmesh/shared/proc"
	"agentmesh/shared/secret"
	"agentmesh/shared/store"
)

// authConfig is how a gateway finds out who calls.
type authConfig struct {
	AdminKey config.Secret `flag:"admin-key" env:"MESH_ADMIN_KEY" help:"with --auth keys: the API key of an admin (mesh keys make makes one), which ends when another one is set. Set it by the environment: a command line is seen by others. mesh up without one makes <data>/admin.key at its first start"`

	vouched vouched
}

func defaultAuth() authConfig { return authConfig{vouched: defaultVouched()} }

func (c *authConfig) settings() []any { return append([]any{c}, c.vouched.settings()...) }

// adminKeyName says in the list of keys where the operator's key comes from.
const adminKeyName = "MESH_ADMIN_KEY"

// adminKeyFile is the key of the first admin beside the data of an embedded server.
const adminKeyFile = "admin.key"

// validate refuses what does not fit the mode of --auth, and a key that is none,
// before anything is opened.
func (c authConfig) validate(mode string) error {
	if err := c.vouched.validate(mode); err != nil || c.AdminKey == "" {
		return err
	}
	if _, err := auth.ParseKey(string(c.AdminKey)); err != nil {
		return cli.Usage("--admin-key (%s): %w; make one with: mesh keys make", adminKeyName, err)
	}
	return nil
}

// apply gives a gateway what it asks who calls, and returns the parts that this
// needs. data is the folder of an embedded server, empty where there is none;
// callbacks is the operator's policy for requests of the mesh.
func (c *authConfig) apply(ctx context.Context, cfg *gateway.Config, st *store.Store, data string, callbacks egress.Config, log *slog.Logger) ([]proc.Part, error) {
	var all []auth.Authenticator
	var parts []proc.Part
	if asksFor(cfg.Auth, "keys") {
		if err := c.admin(ctx, st, data, log); err != nil {
			return nil, err
		}
		keys := core.NewKeyAuthenticator(st, log)
		all, parts = append(all, keys), append(parts, proc.Part{Name: "API keys", Run: keys.Run})
	}
	others, needed, err := c.vouched.authenticators(cfg.Auth, callbacks, cfg.PublicURL, log)
	if err != nil {
		return nil, err
	}
	if asksFor(cfg.Auth, "oidc") {
		cfg.Issuers = c.vouched.oidc.Issuers()
	}
	if all, parts = append(all, others...), append(parts, needed...); len(all) > 0 {
		cfg.Authenticator = auth.Chain(append(all, core.NewTaskAuthenticator(st, log))...) // also programs that the mesh runs
	}
	return parts, nil
}

// signIn is where people sign in to the console; nil: nowhere.
func (c *authConfig) signIn() console.SignIn {
	if i := c.vouched.issuers; i != nil && i.SignsIn() {
		return i
	}
	return nil
}

// asksFor reports whether a mode of --auth has a kind of credentials.
func asksFor(mode, kind string) bool {
	for one := range strings.SplitSeq(mode, ",") {
		if one == kind {
			return true
		}
	}
	return false
}

// admin sees to it that an operator can begin: with the key of the setting, else,
// where no admin's key was ever made, with the one in the file.
func (c authConfig) admin(ctx context.Context, st *store.Store, data string, log *slog.Logger) error {
	if c.AdminKey != "" {
		k, err := auth.ParseKey(string(c.AdminKey))
		if err != nil {
			return err
		}
		if onCommandLine(c.AdminKey) {
			log.Warn("the admin key stands on the command line, where every user of this machine sees it: set " + adminKeyName + " instead")
		}
		return core.SetOperatorKey(ctx, st, adminKeyName, k, log)
	}
	if data != "" {
		return core.FirstKey(ctx, st, adminKeyFile, func() (auth.Key, error) { return adminKeyIn(data) })
	}
	if all, err := st.APIKeys.List(ctx); err != nil || len(all) > 0 {
		return err
	}
	log.Warn("there are no API keys, so nobody can call this gateway: make one with mesh keys make, and start with " + adminKeyName)
	return nil
}

// adminKeyIn is the key in the file beside the data, which is made where there is
// none and never written over.
func adminKeyIn(data string) (auth.Key, error) {
	name := filepath.Join(data, adminKeyFile)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err = secret.Keep(name, auth.NewKey().Reveal()); err == nil {
			text, err = os.ReadFile(name)
		}
	}
	if err != nil {
		return auth.Key{}, fmt.Errorf("keep the admin's key: %w", err)
	}
	k, err := auth.ParseKey(strings.TrimSpace(string(text)))
	if err != nil {
		return auth.Key{}, fmt.Errorf("%s: %w; put it back from a backup, or delete it: the next start makes another one", name, err)
	}
	return k, nil
}

// says describes in words who may call, without a secret.
func (c authConfig) says(mode, data string) string {
	switch {
	case mode == "off":
		return "off: whoever reaches the gateway may do everything"
	case !asksFor(mode, "keys"):
		return mode
	case c.AdminKey != "":
		return mode + ", an admin's key is that of " + adminKeyName
	}
	name := filepath.Join(data, adminKeyFile)
	if _, err := os.Stat(name); err != nil {
		return mode
	}
	return mode + ", an admin's key is in " + name + " (export MESH_API_KEY=$(cat " + name + "))"
}

// keysMakeCommand makes a key for MESH_ADMIN_KEY. It calls no gateway.
func keysMakeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "make", Short: "Make a key for MESH_ADMIN_KEY, by which the operator of a gateway begins; nothing is stored", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(cmd.OutOrStdout(), auth.NewKey().Reveal())
			return nil
		},
	}
}
