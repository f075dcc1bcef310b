package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
)

// bulkFlags say how far a bulk request goes.
type bulkFlags struct{ client.BulkOptions }

func (o *bulkFlags) bind(cmd *cobra.Command) {
	cmd.Flags().IntVar(&o.Limit, "limit", 1000, "at most so many, up to 10000")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "count them, and do nothing")
	cmd.Flags().StringVar(&o.Cursor, "cursor", "", "go on where the answer before ended")
}

func taskBulkCommand(f *clientFlags) *cobra.Command {
	var chosen taskFilter
	var how bulkFlags
	cmd := completes(&cobra.Command{
		Use: "bulk ACTION", Short: "Cancel or retry all tasks that the flags choose",
		Long: "Cancel (cancel) or retry (retry) all tasks that the flags choose, newest first. Tasks that are made meanwhile are left alone.", Args: one("action: cancel or retry"),
	}, words("cancel", "retry"))
	chosen.bind(cmd)
	how.bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		filter, err := chosen.read(time.Now())
		if err != nil {
			return err
		}
		return bulkCall(args[0]+" tasks", post("/tasks/bulk", client.BulkTasks(args[0], filter, how.BulkOptions)), func(ctx context.Context, c *client.Client) (*api.BulkDone, error) {
			return c.Tasks.Bulk(ctx, args[0], filter, how.BulkOptions)
		}).run(cmd, f)
	}
	return cmd
}

// bulkCall is a call of a bulk request.
func bulkCall(doing string, requests []request, ask func(context.Context, *client.Client) (*api.BulkDone, error)) call[*api.BulkDone] {
	return call[*api.BulkDone]{doing: doing, requests: requests, ask: ask, show: showBulk}
}

func showBulk(out io.Writer, d *api.BulkDone) error {
	t := newTable(out)
	t.field("found", fmt.Sprint(d.Matched))
	if !d.DryRun {
		t.field("done", fmt.Sprint(d.Done))
	}
	if d.Skipped > 0 {
		t.field("skipped", fmt.Sprintf("%d, retried within a day", d.Skipped))
	}
	for _, f := range d.Failed {
		t.field("refused", fmt.Sprintf("%d %s, such as %s: %s", f.Count, f.Code, f.Example, f.Detail))
	}
	if d.NextCursor != "" {
		t.field("more", "there may be more: --cursor "+d.NextCursor)
	}
	return t.flush()
}

func taskDeleteCommand(f *clientFlags, ids some) *cobra.Command {
	cmd := completesAll(&cobra.Command{Use: "delete ID...", Short: "Delete tasks that have ended, their results and steps", Args: between(1, math.MaxInt, "at least one task id")}, ids("completed", "failed", "canceled"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, id := range args {
			err := call[nothing]{
				doing: "delete task " + id, requests: remove(at("tasks", id)),
				ask: func(ctx context.Context, c *client.Client) (nothing, error) {
					return nothing{}, c.Tasks.Delete(ctx, id)
				},
			}.run(cmd, f)
			if err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

func deliveryBulkCommand(f *clientFlags) *cobra.Command {
	var chosen deliveryFilter
	var how bulkFlags
	cmd := &cobra.Command{Use: "bulk", Short: "Send all deliveries again that the flags choose, by default those that are dead or parked", Args: NoArgs}
	chosen.bind(cmd)
	how.bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		filter, err := chosen.read(time.Now())
		if err != nil {
			return err
		}
		return bulkCall("redeliver", post("/deliveries/bulk", client.BulkDeliveries(filter, how.BulkOptions)), func(ctx context.Context, c *client.Client) (*api.BulkDone, error) {
			return c.Deliveries.Bulk(ctx, filter, how.BulkOptions)
		}).run(cmd, f)
	}
	return cmd
}
