package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"agentmesh/gateway/client"
)

func deliveryCommand() *cobra.Command {
	f := &clientFlags{}
	return f.bind(group("delivery", "Look at what was sent, and send it again", deliveryListCommand(f), deliveryGetCommand(f), deliveryRedeliverCommand(f), deliveryBulkCommand(f)))
}

// deliveryFilter are the flags that choose deliveries.
type deliveryFilter struct {
	client.DeliveryFilter
	flags *pflag.FlagSet
	since time.Duration
}

func (f *deliveryFilter) bind(cmd *cobra.Command) {
	p := cmd.Flags()
	f.flags = p
	p.StringVar(&f.Status, "status", "", "pending, retrying, delivered, dead, parked or canceled; several separated by commas")
	p.StringVar(&f.WebhookID, "webhook", "", "deliveries to this webhook")
	p.StringVar(&f.Type, "type", "", "deliveries of this type of event")
	p.StringVar(&f.Class, "class", "", "deliveries whose last attempt came to this, such as timeout or server_error")
	p.DurationVar(&f.since, "since", 0, "only deliveries created within this time, such as 1h")
	completeFlag(cmd, "status", words("pending", "retrying", "delivered", "dead", "parked", "canceled"))
	completeFlag(cmd, "webhook", someWebhooks)
}

// read reads the flags.
func (f *deliveryFilter) read(now time.Time) (filter client.DeliveryFilter, err error) {
	if err := filled(f.flags, "status", "webhook", "type", "class"); err != nil {
		return filter, err
	}
	if f.since > 0 {
		f.Since = now.Add(-f.since)
	}
	return f.DeliveryFilter, nil
}

func deliveryListCommand(f *clientFlags) *cobra.Command {
	var chosen deliveryFilter
	cmd := &cobra.Command{Use: "list", Short: "List deliveries, newest change first", Args: NoArgs}
	chosen.bind(cmd)
	cmd.Flags().IntVar(&chosen.Limit, "limit", 50, "at most so many")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		looked := beginSearch(f)
		filter, err := chosen.read(looked.began)
		if err != nil {
			return err
		}
		return call[[]client.Delivery]{
			doing: "list deliveries", requests: get(with("/deliveries", filter.Query())), show: showDeliveries,
			ask: func(ctx context.Context, c *client.Client) (all []client.Delivery, err error) {
				all, looked.scanned, err = listDeliveries(ctx, c, filter)
				looked.tellWhere(err, filter.Status+filter.WebhookID+filter.Type+filter.Class != "", cmd.ErrOrStderr(), len(all), filter.Limit)
				return all, err
			},
		}.run(cmd, f)
	}
	return cmd
}

// listDeliveries reads pages until as many deliveries are there as the filter's
// limit says, and says how many records were looked at.
func listDeliveries(ctx context.Context, c *client.Client, filter client.DeliveryFilter) (all []client.Delivery, scanned int, err error) {
	all = []client.Delivery{}
	for page, err := range c.Deliveries.Pages(ctx, filter) {
		if err != nil {
			return all, scanned, err
		}
		if all, scanned = append(all, page.Deliveries...), scanned+page.Scanned; len(all) >= filter.Limit {
			break
		}
	}
	return all[:min(len(all), filter.Limit)], scanned, nil
}

func showDeliveries(out io.Writer, all []client.Delivery) error {
	t := newTable(out, "DELIVERY", "STATUS", "TYPE", "TASK", "ATTEMPTS", "URL")
	for _, d := range all {
		t.row(d.DeliveryID, d.Status, d.Type, d.TaskID, len(d.Attempts), d.URL)
	}
	return t.flush()
}

func showDelivery(out io.Writer, d *client.Delivery) error {
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
	return t.flush()
}

func deliveryGetCommand(f *clientFlags) *cobra.Command {
	return completes(&cobra.Command{
		Use: "get ID", Short: "Show a delivery, its payload and every attempt", Args: one("delivery id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return call[*client.Delivery]{
				doing: "get delivery", requests: get(at("deliveries", args[0])), show: showDelivery,
				ask: func(ctx context.Context, c *client.Client) (*client.Delivery, error) {
					return c.Deliveries.Get(ctx, args[0])
				},
			}.run(cmd, f)
		},
	}, someDeliveries)
}

func deliveryRedeliverCommand(f *clientFlags) *cobra.Command {
	return completes(&cobra.Command{
		Use: "redeliver ID", Short: "Send a delivery again, with the whole schedule", Args: one("delivery id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return call[*client.Delivery]{
				doing: "redeliver", requests: post(at("deliveries", args[0], "redeliver"), nil), show: showDelivery,
				ask: func(ctx context.Context, c *client.Client) (*client.Delivery, error) {
					return c.Deliveries.Redeliver(ctx, args[0])
				},
			}.run(cmd, f)
		},
	}, someDeliveries)
}
