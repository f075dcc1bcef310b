// Package cli is the terminal client of a mesh: commands that call a gateway and
// show its answers to people or, as JSON, to scripts. One file holds the commands
// of one noun.
//
// It knows a gateway by its API only, and no role but the kinds of agents, whose
// file it checks. Command mesh adds the roles to its root.
package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Root makes command mesh with the commands of the client.
func Root() *cobra.Command {
	root := &cobra.Command{
		Use:           "mesh",
		Short:         "A mesh of agents that does not lose work",
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return Usage("there is no command %q; mesh --help lists what there is", args[0])
			}
			return cmd.Help()
		},
		Args: cobra.ArbitraryArgs,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return Usage("%w; %s --help lists the flags", err, cmd.CommandPath())
	})
	root.AddCommand(taskCommand(), actionCommand(), sessionCommand(), webhookCommand(), deliveryCommand(), eventsCommand(), listenCommand(),
		agentsCommand(), topCommand(), healthcheckCommand(), contextCommand())
	completeCommands(root)
	return root
}

// Run runs one command line and returns its exit status.
func Run(ctx context.Context, root *cobra.Command, args []string, stdout, stderr io.Writer) int {
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(stderr, "mesh: "+clean(text))
	}
	return ExitCode(err)
}

// NoArgs refuses arguments.
func NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return Usage("%s takes no arguments, got %q", cmd.CommandPath(), args[0])
	}
	return nil
}
