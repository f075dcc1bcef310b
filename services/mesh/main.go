// Command mesh is the agentmesh: `mesh up` runs the whole mesh in one process
// with NATS embedded, `mesh gateway`, `mesh worker` and `mesh notifier` run one
// role against a NATS server or cluster, and `mesh task` and its like are
// clients of the gateway.
//
// The package wires the roles (up.go, roles.go), runs the embedded server and
// checks its data (server.go, books.go, blocks.go). The mesh's decisions are in
// shared/mesh and the roles; the terminal client is in package cli.
package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"agentmesh/services/mesh/cli"
	"agentmesh/shared/proc"
	"agentmesh/worker/agents/exec"
)

func main() {
	if os.Getpid() == 1 { // in a container this process must reap those that lost their parents
		exec.Adopt()
	}
	keepHeapRoom()
	ctx, stop := proc.Context(context.Background())
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs one command line and returns its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return cli.Run(ctx, rootCommand(), args, stdout, stderr)
}

// rootCommand has the roles beside the client's commands.
func rootCommand() *cobra.Command {
	root := cli.Root(natsOfCommands)
	root.AddCommand(upCommand(), gatewayCommand(), consoleCommand(), workerCommand(), notifierCommand(), initCommand(), migrateCommand(), doctorCommand(), backupCommand(), restoreCommand(),
		natsUsersCommand(), demoCommand(), benchCommand(), keyCommand(), versionCommand())
	webhooks, _, err := root.Find([]string{"webhook"})
	if err != nil {
		panic(err)
	}
	webhooks.AddCommand(callbackSecretCommand())
	keys, _, err := root.Find([]string{"keys"})
	if err != nil {
		panic(err)
	}
	keys.AddCommand(keysMakeCommand())
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
	case format == "text", format == "auto" && cli.IsTerminal(os.Stderr):
		return slog.New(slog.NewTextHandler(os.Stderr, opts)), nil
	case format == "json", format == "auto":
		return slog.New(slog.NewJSONHandler(os.Stderr, opts)), nil
	}
	return nil, cli.Usage("log-format is %q, allowed are text, json and auto", c.Format)
}
