package cli

import (
	"context"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

func actionCommand() *cobra.Command {
	f := &clientFlags{}
	return f.bind(group("action", "Start tasks that call back",
		runCommand(f, true), taskGetCommand(f, someActions), taskCancelCommand(f, someActions), taskAnswerCommand(f, someActions), taskRetryCommand(f, someActions), taskStepsCommand(f, someActions), taskWatchCommand(f, someActions),
		actionDeliveriesCommand(f), actionRedeliverCommand(f)))
}

func actionDeliveriesCommand(f *clientFlags) *cobra.Command {
	return completes(&cobra.Command{
		Use: "deliveries ID", Short: "List what was sent of an action", Args: one("action id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return call[[]client.Delivery]{
				doing: "list deliveries", requests: get(at("actions", args[0], "deliveries")), show: showDeliveries,
				ask: func(ctx context.Context, c *client.Client) ([]client.Delivery, error) {
					return c.Actions.Deliveries(ctx, args[0])
				},
			}.run(cmd, f)
		},
	}, someActions())
}

func actionRedeliverCommand(f *clientFlags) *cobra.Command {
	return completes(&cobra.Command{
		Use: "redeliver ID", Short: "Send an action's callbacks again", Args: one("action id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return call[[]client.Delivery]{
				doing: "redeliver", requests: post(at("actions", args[0], "redeliver"), nil), show: showDeliveries,
				ask: func(ctx context.Context, c *client.Client) ([]client.Delivery, error) {
					return c.Actions.Redeliver(ctx, args[0])
				},
			}.run(cmd, f)
		},
	}, someActions())
}
