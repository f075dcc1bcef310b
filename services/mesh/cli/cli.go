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

	"agentmesh/worker/agents/synadia"
)

// Root makes command mesh with the commands of the client. nats opens connections to
// agents on NATS; nil: there are none.
func Root(nats synadia.Dial) *cobra.Command {
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
	root.AddCommand(taskCommand(), actionCommand(), sessionCommand(), webhookCommand(), deliveryCommand(), scheduleCommand(), hookCommand(), eventsCommand(), listenCommand(),
		agentsCommand(nats), tenantsCommand(), budgetsCommand(), auditCommand(), apiKeysCommand(), topCommand(), inboxCommand(), historyCommand(), whoAmICommand(), problemsCommand(), healthcheckCommand(), contextCommand())
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

// group is a command that only has others below it.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return Usage("there is no command %q; %s --help lists what there is", args[0], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(commands...)
	return cmd
}

// NoArgs refuses arguments.
func NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return Usage("%s takes no arguments, got %q", cmd.CommandPath(), args[0])
	}
	return nil
}

// One takes one argument, which is what says.
func One(what string) cobra.PositionalArgs { return one(what) }

func one(what string) cobra.PositionalArgs { return between(1, 1, "one "+what) }

// between takes least to most arguments, which what says in words.
func between(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return Usage("%s takes %s, got %d arguments", cmd.CommandPath(), what, len(args))
		}
		return nil
	}
}
