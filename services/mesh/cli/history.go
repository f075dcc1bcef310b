package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
)

// historyCommand shows what became of tasks in the last minutes.
func historyCommand() *cobra.Command {
	f := &clientFlags{}
	filter := client.HistoryFilter{}
	cmd := f.bind(&cobra.Command{Use: "history", Short: "Show what became of tasks in the last minutes, and who called whom", Args: NoArgs})
	cmd.Flags().DurationVar(&filter.Since, "since", 15*time.Minute, "how far back, 1m to 30m")
	cmd.Flags().DurationVar(&filter.Step, "step", time.Minute, "of one line, a multiple of 10s")
	cmd.Flags().StringVar(&filter.Agent, "agent", "", "only this agent's tasks")
	completeFlag(cmd, "agent", someAgents)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return call[*api.StatsHistory]{
			doing: "read the last minutes", requests: get(with("/stats/history", filter.Query())), show: showHistory,
			ask: func(ctx context.Context, c *client.Client) (*api.StatsHistory, error) { return c.History(ctx, filter) },
		}.run(cmd, f)
	}
	return cmd
}

func showHistory(out io.Writer, h *api.StatsHistory) error {
	t := newTable(out, "FROM", "ACCEPTED", "COMPLETED", "FAILED", "CANCELED", "P50", "P95", "WAITING")
	for _, p := range h.Points {
		waiting := any("")
		if p.Now != nil {
			waiting = p.Now.Waiting
		}
		t.row(p.At.Local().Format(time.TimeOnly), p.Accepted, p.Completed, p.Failed, p.Canceled, millis(p.P50), millis(p.P95), waiting)
	}
	if err := t.flush(); err != nil || len(h.Calls) == 0 {
		return err
	}
	fmt.Fprintln(out)
	t = newTable(out, "CALLER", "CALLEE", "CALLS", "FAILED")
	for _, c := range h.Calls {
		t.row(c.Caller, c.Callee, c.Calls, c.Failed)
	}
	return t.flush()
}

// millis is a time in milliseconds, empty for none.
func millis(ms float64) string {
	if ms == 0 {
		return ""
	}
	return time.Duration(ms * float64(time.Millisecond)).Round(100 * time.Microsecond).String()
}
