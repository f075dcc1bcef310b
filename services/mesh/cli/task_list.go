package cli

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

func taskListCommand(f *clientFlags) *cobra.Command {
	var filter client.Filter
	var labels []string
	var all bool
	var since time.Duration
	cmd := &cobra.Command{Use: "list", Short: "List tasks, newest change first", Args: NoArgs}
	p := cmd.Flags()
	p.StringSliceVar(&filter.Statuses, "status", nil, "only these statuses, separated by commas")
	p.StringVar(&filter.Agent, "agent", "", "only this agent's tasks")
	p.StringVar(&filter.ParentID, "parent", "", "only the children of this task")
	p.StringVar(&filter.SessionID, "session", "", "only the turns of this session")
	p.StringVar(&filter.Kind, "kind", "", "only tasks of this kind: task, action or turn")
	p.StringVar(&filter.Error, "error", "", "only tasks whose error has this code")
	p.StringVar(&filter.Worker, "worker", "", "only tasks that this worker has, or had last")
	p.StringArrayVar(&labels, "label", nil, "only tasks with this label, k=v; may be repeated")
	p.DurationVar(&since, "since", 0, "only tasks created within this time, such as 1h")
	p.StringVar(&filter.Order, "order", client.ByChange, "changed: newest change first; created: newest first, and no task is missed that changes meanwhile")
	p.IntVar(&filter.Limit, "limit", 20, "how many, 1 to 200")
	p.BoolVar(&all, "all", false, "every page")
	completeFlag(cmd, "status", words(taskStatuses()...))
	completeFlag(cmd, "agent", someAgents)
	completeFlag(cmd, "parent", someTasks())
	completeFlag(cmd, "session", someSessions)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if filter.Labels, err = keyValues(labels); err != nil {
			return err
		}
		if filter.Limit < 1 || filter.Limit > 200 {
			return Usage("limit is %d, allowed is 1 to 200", filter.Limit)
		}
		looked := beginSearch(f)
		if since > 0 {
			filter.After = looked.began.Add(-since)
		}
		return call[[]client.Task]{
			doing: "list tasks", requests: get(with("/tasks", filter.Query())),
			ask: func(ctx context.Context, c *client.Client) (tasks []client.Task, err error) {
				tasks, looked.scanned, err = listTasks(ctx, c, filter, all)
				looked.tell(cmd.ErrOrStderr(), len(tasks), filter.Limit)
				return tasks, err
			},
			show: func(out io.Writer, tasks []client.Task) error {
				return showTasks(out, tasks, time.Now())
			},
		}.run(cmd, f)
	}
	return cmd
}

// listTasks reads the pages until as many tasks are there as the filter's limit
// says, or all, and says how many records were looked at.
func listTasks(ctx context.Context, c *client.Client, filter client.Filter, all bool) (tasks []client.Task, scanned int, err error) {
	tasks = []client.Task{}
	for page, err := range c.Tasks.Pages(ctx, filter) {
		if err != nil {
			return nil, 0, err
		}
		tasks, scanned = append(tasks, page.Tasks...), scanned+page.Scanned
		if !all && len(tasks) >= filter.Limit {
			return tasks[:filter.Limit], scanned, nil
		}
	}
	return tasks, scanned, nil
}

// showTasks prints tasks as lines.
func showTasks(out io.Writer, tasks []client.Task, now time.Time) error {
	w := newTable(out, "ID", "STATUS", "AGENT", "PROGRESS", "AGE", "MESSAGE")
	for _, t := range tasks {
		message := t.Message
		if t.Error != nil {
			message = t.Error.Code + ": " + t.Error.Message
		}
		w.row(t.TaskID, t.Status, t.Agent, t.Progress, age(now.Sub(t.CreatedAt)), oneLine(message, 60))
	}
	return w.flush()
}
