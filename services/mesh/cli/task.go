package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

func taskCommand() *cobra.Command {
	f := &clientFlags{}
	return f.bind(group("task", "Run tasks and follow them",
		runCommand(f, false), taskGetCommand(f, someTasks), taskListCommand(f), taskCancelCommand(f, someTasks), taskAnswerCommand(f, someTasks), taskRetryCommand(f, someTasks), taskStepsCommand(f, someTasks),
		taskWatchCommand(f, someTasks), taskTraceCommand(f), taskBulkCommand(f), taskDeleteCommand(f, someTasks)))
}

// some are ids of tasks, or of actions, in these statuses.
type some func(statuses ...string) choices

func taskGetCommand(f *clientFlags, ids some) *cobra.Command {
	var wait bool
	cmd := completes(&cobra.Command{Use: "get ID", Short: "Show a task", Args: one("task id")}, ids())
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it has finished")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id := args[0]
		return call[*client.Task]{
			doing: "get task " + id, requests: get(at("tasks", id)), show: showTask,
			ask: func(ctx context.Context, c *client.Client) (*client.Task, error) {
				if wait {
					return c.Tasks.Wait(ctx, id)
				}
				return c.Tasks.Get(ctx, id)
			},
		}.run(cmd, f)
	}
	return cmd
}

func taskCancelCommand(f *clientFlags, ids some) *cobra.Command {
	var wait bool
	cmd := completesAll(&cobra.Command{Use: "cancel ID...", Short: "Cancel tasks", Args: between(1, math.MaxInt, "at least one task id")}, ids("pending", "processing", "input_required"))
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the agent was seen to end")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, id := range args {
			err := call[*client.Task]{
				doing: "cancel task " + id, requests: post(at("tasks", id, "cancel"), nil), show: showTask,
				ask: func(ctx context.Context, c *client.Client) (*client.Task, error) {
					t, err := c.Tasks.Cancel(ctx, id)
					if err == nil && wait {
						t, err = stopped(ctx, c, t)
					}
					return t, err
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

// stopped waits until the agent of a canceled task was seen to end.
func stopped(ctx context.Context, c *client.Client, t *client.Task) (_ *client.Task, err error) {
	for err == nil && !t.StartedAt.IsZero() && t.StoppedAt.IsZero() {
		select {
		case <-time.After(100 * time.Millisecond):
			t, err = c.Tasks.Get(ctx, t.TaskID)
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return t, err
}

// usageText is what a task has used of models, with those that it has called.
func usageText(t *client.Task) string {
	u := t.UsageTotal
	if u == nil {
		u = t.Usage
	}
	if u == nil {
		return ""
	}
	text := fmt.Sprintf("%d model calls, %d tool calls, %d tokens in, %d out", u.ModelCalls, u.ToolCalls, u.InputTokens, u.OutputTokens)
	if u.Estimated {
		text += " (estimated)"
	}
	if u.Currency != "" {
		text += fmt.Sprintf(", %g %s", u.Cost, u.Currency)
	}
	return text
}

// showTask writes one task.
func showTask(out io.Writer, t *client.Task) error {
	w := newTable(out)
	row := w.field
	row("id", t.TaskID)
	row("status", t.Status)
	row("agent", t.Agent)
	if t.Attempt > 0 {
		row("attempt", fmt.Sprint(t.Attempt))
	}
	row("progress", strings.TrimSpace(t.Progress+" "+t.Message))
	for _, k := range slices.Sorted(maps.Keys(t.Labels)) {
		row("label", k+"="+t.Labels[k])
	}
	row("created", clock(t.CreatedAt))
	row("not before", clock(t.NotBefore))
	row("started", clock(t.StartedAt))
	row("finished", clock(t.FinishedAt))
	row("stopped", clock(t.StoppedAt))
	row("waiting", waitingText(t.Waiting))
	for _, q := range t.Questions {
		row("question", questionText(q))
	}
	row("warning", t.Warning)
	if t.Error != nil {
		row("error", fmt.Sprintf("%s: %s (attempt %d)", t.Error.Code, t.Error.Message, t.Error.Attempt))
		row("detail", t.Error.Detail)
	}
	for _, text := range t.Warnings {
		row("warning", text)
	}
	row("usage", usageText(t))
	row("stopped by", t.StoppedBy)
	row("result", string(t.Result))
	row("result url", t.ResultURL)
	row("retried from", t.RetriedFrom)
	row("trace", t.TraceID)
	row("trace url", t.TraceURL)
	return w.flush()
}
