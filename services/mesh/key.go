package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"agentmesh/services/mesh/cli"
	"agentmesh/shared/config"
	"agentmesh/shared/keyring"
	"agentmesh/shared/secret"
)

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
