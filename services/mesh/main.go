// Command mesh is the agentmesh: `mesh up` runs the whole mesh in one process
// with NATS embedded, `mesh gateway`, `mesh worker` and `mesh notifier` run one
// role against a NATS server or cluster, and `mesh task` and its like are
// clients of the gateway.
//
// This package wires and does nothing else: one file for each command.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"agentmesh/shared/proc"
	"agentmesh/worker/agents/exec"
)

func main() {
	if os.Getpid() == 1 { // of a container: who ends without a parent is ours to reap
		exec.Adopt()
	}
	ctx, stop := proc.Context(context.Background())
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit statuses, besides those of a task command.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2
	exitTimedOut = 3
)

// exitError is an error with the exit status that it means. Without an error it
// says nothing more: the command has printed what there is to say.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// run runs one command line and returns its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(stderr, "mesh: "+clean(text))
	}
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return exitFailed
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "mesh",
		Short:         "A mesh of agents that does not lose work",
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("there is no command %q; mesh --help lists what there is", args[0])
			}
			return cmd.Help()
		},
		Args: cobra.ArbitraryArgs,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w; %s --help lists the flags", err, cmd.CommandPath())
	})
	root.AddCommand(upCommand(), gatewayCommand(), workerCommand(), notifierCommand(), taskCommand(), actionCommand(), sessionCommand(),
		webhookCommand(), deliveryCommand(), eventsCommand(), listenCommand(), agentsCommand(), topCommand(), demoCommand(), healthcheckCommand(),
		contextCommand(), keyCommand(), versionCommand())
	completeCommands(root)
	return root
}

// logConfig says how a role logs.
type logConfig struct {
	Level  slog.Level `flag:"log-level" env:"MESH_LOG_LEVEL" help:"debug, info, warn or error"`
	Format string     `flag:"log-format" env:"MESH_LOG_FORMAT" help:"text, json, or auto: text on a terminal"`
}

func defaultLog() logConfig { return logConfig{Format: "auto"} }

func (c logConfig) logger() (*slog.Logger, error) {
	opts := &slog.HandlerOptions{Level: c.Level}
	switch format := strings.ToLower(c.Format); {
	case format == "text", format == "auto" && isTerminal(os.Stderr):
		return slog.New(slog.NewTextHandler(os.Stderr, opts)), nil
	case format == "json", format == "auto":
		return slog.New(slog.NewJSONHandler(os.Stderr, opts)), nil
	}
	return nil, usage("log-format is %q, allowed are text, json and auto", c.Format)
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
