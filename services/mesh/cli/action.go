package cli

import (
	"context"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

func actionCommand() *cobra.Command {
	f := &clientFlags{}
	deliveries := &cobra.Command{
		Use: "deliveries ID", Short: "List what was sent of an action", Args: anID("action id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, "list deliveries", request{
				method: http.MethodGet, path: "/actions/" + url.PathEscape(args[0]) + "/deliveries", show: showDeliveries,
				call: func(ctx context.Context, c *client.Client) (any, error) { return c.ActionDeliveries(ctx, args[0]) },
			})
		},
	}
	redeliver := &cobra.Command{
		Use: "redeliver ID", Short: "Send an action's callbacks again", Args: anID("action id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, "redeliver", request{
				method: http.MethodPost, path: "/actions/" + url.PathEscape(args[0]) + "/redeliver", show: showDeliveries,
				call: func(ctx context.Context, c *client.Client) (any, error) { return c.RedeliverAction(ctx, args[0]) },
			})
		},
	}
	return group("action", "Start tasks that call back", f,
		runCommand(f, true), taskGetCommand(f), taskCancelCommand(f), taskRetryCommand(f), taskWatchCommand(f), deliveries, redeliver)
}
