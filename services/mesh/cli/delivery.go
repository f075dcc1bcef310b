package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

func deliveryCommand() *cobra.Command {
	f := &clientFlags{}
	return group("delivery", "Look at what was sent, and send it again", f, deliveryListCommand(f), deliveryGetCommand(f), deliveryRedeliverCommand(f))
}

func deliveryListCommand(f *clientFlags) *cobra.Command {
	var filter client.DeliveryFilter
	cmd := &cobra.Command{
		Use: "list", Short: "List deliveries, newest change first", Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, "list deliveries", request{
				method: http.MethodGet, path: "/deliveries?" + filter.Query().Encode(), show: showDeliveries,
				call: func(ctx context.Context, c *client.Client) (any, error) {
					all := []client.Delivery{}
					for cursor := ""; ; {
						page, next, err := c.Deliveries(ctx, filter, cursor)
						all = append(all, page...)
						if cursor = next; err != nil || next == "" || len(all) >= filter.Limit {
							return all[:min(len(all), filter.Limit)], err
						}
					}
				},
			})
		},
	}
	p := cmd.Flags()
	p.StringVar(&filter.Status, "status", "", "pending, retrying, delivered, dead, parked or canceled")
	p.StringVar(&filter.WebhookID, "webhook", "", "deliveries to this webhook")
	p.StringVar(&filter.Type, "type", "", "deliveries of this type of event")
	p.IntVar(&filter.Limit, "limit", 50, "at most so many")
	return cmd
}

func showDeliveries(out io.Writer, v any) {
	all, _ := v.([]client.Delivery)
	t := newTable(out, "DELIVERY", "STATUS", "TYPE", "TASK", "ATTEMPTS", "URL")
	for _, d := range all {
		t.row(d.DeliveryID, d.Status, d.Type, d.TaskID, len(d.Attempts), d.URL)
	}
	_ = t.flush()
}

func showDelivery(out io.Writer, v any) {
	d, _ := v.(*client.Delivery)
	t := newTable(out)
	t.field("delivery", d.DeliveryID)
	t.field("event", d.EventID)
	t.field("type", d.Type)
	t.field("status", d.Status)
	t.field("url", d.URL)
	for i, a := range d.Attempts {
		t.field(fmt.Sprintf("attempt %d", i+1), fmt.Sprintf("%s  %s  %d  %.1f ms  %s", a.At.Local().Format(time.DateTime), a.Class, a.StatusCode, a.DurationMS, a.Error))
	}
	if !d.NextAt.IsZero() {
		t.field("next", d.NextAt.Local().Format(time.DateTime))
	}
	t.field("payload", string(d.Payload))
	_ = t.flush()
}

func deliveryGetCommand(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "Show a delivery, its payload and every attempt", Args: anID("delivery id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, "get delivery", request{
				method: http.MethodGet, path: "/deliveries/" + url.PathEscape(args[0]), show: showDelivery,
				call: func(ctx context.Context, c *client.Client) (any, error) { return c.Delivery(ctx, args[0]) },
			})
		},
	}
}

func deliveryRedeliverCommand(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "redeliver ID", Short: "Send a delivery again, with the whole schedule", Args: anID("delivery id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, "redeliver", request{
				method: http.MethodPost, path: "/deliveries/" + url.PathEscape(args[0]) + "/redeliver", show: showDelivery,
				call: func(ctx context.Context, c *client.Client) (any, error) { return c.Redeliver(ctx, args[0]) },
			})
		},
	}
}
