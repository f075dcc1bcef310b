package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
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
		Use: "list", Short: "List deliveries, newest change first", Args: noArgs,
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
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DELIVERY\tSTATUS\tTYPE\tTASK\tATTEMPTS\tURL")
	for _, d := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\n", d.DeliveryID, d.Status, d.Type, d.TaskID, len(d.Attempts), d.URL)
	}
	_ = t.Flush()
}

func showDelivery(out io.Writer, v any) {
	d, _ := v.(*client.Delivery)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "delivery\t%s\nevent\t%s\ntype\t%s\nstatus\t%s\nurl\t%s\n", d.DeliveryID, d.EventID, d.Type, d.Status, d.URL)
	for i, a := range d.Attempts {
		fmt.Fprintf(t, "attempt %d\t%s  %s  %d  %.1f ms  %s\n", i+1, a.At.Local().Format(time.DateTime), a.Class, a.StatusCode, a.DurationMS, a.Error)
	}
	if !d.NextAt.IsZero() {
		fmt.Fprintf(t, "next\t%s\n", d.NextAt.Local().Format(time.DateTime))
	}
	if len(d.Payload) > 0 {
		fmt.Fprintf(t, "payload\t%s\n", d.Payload)
	}
	_ = t.Flush()
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
