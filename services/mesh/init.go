package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"agentmesh/services/mesh/cli"
	"agentmesh/shared/config"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/store"
)

// initCommand makes the streams of a mesh, as a NATS user who may: the roles need
// not be let then.
func initCommand() *cobra.Command {
	conn, opts, logs := natsconn.Default("admin"), store.DefaultOptions(0), defaultLog()
	cmd := &cobra.Command{
		Use: "init", Short: "Make the streams of a mesh that are missing in NATS", Args: cli.NoArgs,
		Long: `Make the streams of a mesh that are missing in NATS. A second run finds nothing to do.
Gateways do so too when they start, if their NATS user may; see deploy/nats for users
who may not. Streams that exist are left as they are: mesh migrate changes those of an
earlier version. While NATS is away it waits.`,
	}
	set := config.Bind(cmd.Flags(), &conn, &opts, &logs).PassOver(everySetting()...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := set.Load(os.Getenv); err != nil {
			return cli.Misuse(err)
		}
		if err := opts.Validate(); err != nil {
			return cli.Misuse(err)
		}
		log, err := logs.logger()
		if err != nil {
			return err
		}
		var made []string
		alone := false
		err = newOpening(log).try(cmd.Context(), func() error {
			nc, err := natsconn.Connect(cmd.Context(), conn, "mesh-init", log)
			if err != nil {
				return err
			}
			defer nc.Close()
			made, err = store.Init(cmd.Context(), nc, opts)
			alone = nc.ConnectedClusterName() == ""
			return err
		})
		if err == nil && len(made) > 0 && alone && opts.Replicas == 0 {
			log.Warn(oneCopy)
		}
		switch {
		case err != nil:
			return err
		case len(made) == 0:
			fmt.Fprintln(cmd.OutOrStdout(), "every stream is there, nothing to do")
		default:
			fmt.Fprintln(cmd.OutOrStdout(), "made", strings.Join(made, ", "))
		}
		return nil
	}
	return cmd
}
