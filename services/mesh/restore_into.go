package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"agentmesh/services/mesh/cli"
	"agentmesh/shared/config"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/store"
	"agentmesh/shared/topology"
)

// restoreInto is mesh restore --into: of a mesh up, whose server is within its process.
func restoreInto(cmd *cobra.Command, set *config.Set, logs *logConfig, limits *store.Options, data, dir string, asJSON bool) error {
	if err := set.Load(os.Getenv); err != nil {
		return cli.Misuse(err)
	}
	log, err := logs.logger()
	if err != nil {
		return err
	}
	if limits.Replicas > 1 {
		return cli.Usage("replicas is %d: one embedded server keeps one copy", limits.Replicas)
	}
	if err := limits.Validate(); err != nil {
		return cli.Misuse(err)
	}
	m, err := putBackInto(cmd.Context(), data, dir, *limits, log)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(data, keyFile)); err != nil && !m.OwnKey {
		fmt.Fprintf(cmd.ErrOrStderr(), "before mesh up starts on it put the %s of the mesh that was backed up into %s, or set MESH_SECRET_KEY: it opens the secrets of webhooks\n", keyFile, data)
	}
	return m.show(cmd.OutOrStdout(), asJSON, "put back")
}

// putBackInto makes a data folder of a backup, by a server that takes the folder as mesh up
// does and listens nowhere.
func putBackInto(ctx context.Context, data, dir string, o store.Options, log *slog.Logger) (m manifest, err error) {
	if m, err = readManifest(dir); err != nil {
		return m, err
	}
	cfg := defaultServer()
	cfg.Data, cfg.NATS = data, "off"
	at := &place{}
	if at.server, err = cfg.options(); err != nil {
		return m, err
	}
	if at.lock, err = lockData(data); err != nil {
		return m, err
	}
	defer at.close()
	srv, err := startServer(at, log)
	if err != nil {
		return m, err
	}
	defer srv.close()
	nc, err := natsconn.InProcess(srv, topology.AdminUser, srv.token(), log)
	if err != nil {
		return m, err
	}
	defer nc.Close()
	return m, m.putBack(ctx, nc, dir, o)
}
