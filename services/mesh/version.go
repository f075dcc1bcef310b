package main

import (
	"fmt"
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

func versionCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := map[string]string{"version": version(), "commit": commit(), "go": runtime.Version(), "nats_server": server.VERSION}
			switch output {
			case "json":
				return cli.WriteJSON(cmd.OutOrStdout(), v)
			case "text":
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "mesh %s (%s), %s, nats-server %s\n", v["version"], v["commit"], v["go"], v["nats_server"])
				return err
			}
			return cli.Usage("output is %q, allowed are text and json", output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
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
