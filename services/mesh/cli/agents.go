package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
	"agentmesh/worker/agents"
)

func agentsCommand() *cobra.Command {
	f := &clientFlags{}
	cmd := &cobra.Command{
		Use: "agents", Short: "List agents, remove them, and check agents.yaml",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return Usage("there is no command %q; mesh agents --help lists what there is", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f.bind(cmd)
	cmd.AddCommand(agentsListCommand(f), agentsDeleteCommand(f), agentsCheckCommand(), &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of agents.yaml, for editors", Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(agents.Schema)
			return err
		},
	})
	return cmd
}

func agentsListCommand(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the agents that the mesh knows", Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.client()
			if err != nil {
				return err
			}
			if f.curl {
				return f.printCurl(cmd.OutOrStdout(), "GET", "/agents", nil)
			}
			all, err := c.Agents(cmd.Context())
			if err != nil {
				return f.explain("list agents", err)
			}
			if f.output == "json" {
				return WriteJSON(cmd.OutOrStdout(), all)
			}
			w := newTable(cmd.OutOrStdout(), "NAME", "VERSION", "WORKERS", "NOTE", "DESCRIPTION")
			for _, a := range all {
				note := ""
				switch {
				case a.Conflict:
					note = "conflict: workers differ"
				case a.Default:
					note = "default"
				}
				w.row(a.Name, a.Version, a.LiveWorkers, note, a.Description)
			}
			return w.flush()
		},
	}
}

func agentsDeleteCommand(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Remove an agent that no live worker serves; tasks that wait for it stay", Args: anID("agent name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, "delete agent", request{
				method: http.MethodDelete, path: "/agents/" + url.PathEscape(args[0]),
				call: func(ctx context.Context, c *client.Client) (any, error) {
					waiting, err := c.DeleteAgent(ctx, args[0])
					return map[string]int{"waiting": waiting}, err
				},
				show: func(out io.Writer, v any) {
					if n := v.(map[string]int)["waiting"]; n > 0 {
						fmt.Fprintf(out, "%d tasks go on waiting for an agent of this name: mesh task list --agent %s --status pending\n", n, args[0])
					}
				},
			})
		},
	}
}

func agentsCheckCommand() *cobra.Command {
	var connect bool
	cmd := &cobra.Command{
		Use: "check FILE", Short: "Check an agents.yaml and its programs without serving it",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return Usage("%s takes one file, got %d arguments", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := agents.Check(cmd.Context(), args[0], connect)
			if err != nil {
				return err
			}
			failed := 0
			for _, f := range all {
				switch {
				case f.Err != nil:
					failed++
					fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", f.Agent, clean(f.Err.Error()))
				case f.Note != "":
					fmt.Fprintf(cmd.OutOrStdout(), "%s: ok, it answers %s\n", f.Agent, clean(f.Note))
				default:
					fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", f.Agent)
				}
			}
			if failed > 0 {
				return fmt.Errorf("%d of %d agents could not be run here", failed, len(all))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&connect, "connect", false, "also try whether HTTP agents answer, by a HEAD request")
	return cmd
}
