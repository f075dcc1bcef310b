package cli

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"agentmesh/gateway/client"
)

// taskFilter are the flags that choose tasks.
type taskFilter struct {
	client.Filter
	flags  *pflag.FlagSet
	labels []string
	since  time.Duration
}

func (f *taskFilter) bind(cmd *cobra.Command) {
	p := cmd.Flags()
	f.flags = p
	p.StringSliceVar(&f.Statuses, "status", nil, "only these statuses, separated by commas")
	p.StringVar(&f.Agent, "agent", "", "only this agent's tasks")
	p.StringVar(&f.ParentID, "parent", "", "only the children of this task")
	p.StringVar(&f.SessionID, "session", "", "only the turns of this session")
	p.StringVar(&f.Kind, "kind", "", "only tasks of this kind: task, action or turn")
	p.StringVar(&f.Error, "error", "", "only tasks whose error has this code")
	p.StringVar(&f.Worker, "worker", "", "only tasks that this worker has, or had last")
	p.StringArrayVar(&f.labels, "label", nil, "only tasks with this label, k=v; may be repeated")
	p.DurationVar(&f.since, "since", 0, "only tasks created within this time, such as 1h")
	completeFlag(cmd, "status", words(taskStatuses()...))
	completeFlag(cmd, "agent", someAgents)
	completeFlag(cmd, "parent", someTasks())
	completeFlag(cmd, "session", someSessions)
}

// read reads the flags.
func (f *taskFilter) read(now time.Time) (filter client.Filter, err error) {
	if err := filled(f.flags, "status", "agent", "parent", "session", "kind", "error", "worker"); err != nil {
		return filter, err
	}
	if f.Labels, err = keyValues(f.labels); err != nil {
		return filter, err
	}
	if f.since > 0 {
		f.After = now.Add(-f.since)
	}
	return f.Filter, nil
}

func taskListCommand(f *clientFlags) *cobra.Command {
	var chosen taskFilter
	var all bool
	cmd := &cobra.Command{Use: "list", Short: "List tasks, newest change first", Args: NoArgs}
	chosen.bind(cmd)
	p := cmd.Flags()
	p.StringVar(&chosen.Order, "order", client.ByChange, "changed: newest change first; created: newest first, and no task is missed that changes meanwhile")
	p.IntVar(&chosen.Limit, "limit", 20, "how many, 1 to 200")
	p.BoolVar(&all, "all", false, "every page")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		looked := beginSearch(f)
		filter, err := chosen.read(looked.began)
		if err != nil {
			return err
		}
		if filter.Limit < 1 || filter.Limit > 200 {
			return Usage("limit is %d, allowed is 1 to 200", filter.Limit)
		}
		return call[[]client.Task]{
			doing: "list tasks", requests: get(with("/tasks", filter.Query())),
			ask: func(ctx context.Context, c *client.Client) (tasks []client.Task, err error) {
				tasks, looked.scanned, err = listTasks(ctx, c, filter, all)
				looked.tell(err, cmd.ErrOrStderr(), len(tasks), filter.Limit)
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
