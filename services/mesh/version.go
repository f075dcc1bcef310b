package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"agentmesh/services/mesh/cli"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/cobra"
)

// release is set when a release is linked: -ldflags "-X main.release=1.2.3".
var release string

func version() string {
	if release != "" {
		return release
	}
	return "dev"
}

// build is what mesh version tells.
type build struct {
	Version    string `json:"version"`
	Commit     string `json:"commit"`
	Go         string `json:"go"`
	NATSServer string `json:"nats_server"`
}

func versionCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := build{version(), commit(), runtime.Version(), server.VERSION}
			return cli.Write(cmd.OutOrStdout(), output, b, func(out io.Writer, b build) error {
				_, err := fmt.Fprintf(out, "mesh %s (%s), %s, nats-server %s\n", b.Version, b.Commit, b.Go, b.NATSServer)
				return err
			})
		},
	}
	cli.OutputFlag(cmd, &output)
	return cmd
}

func commit() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown commit"
}
