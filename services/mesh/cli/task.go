package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

// clientFlags are those of every command that calls a gateway.
type clientFlags struct {
	gateway string
	context string
	output  string
	curl    bool

	key      string // of the API; empty: none
	resolved bool
}

func (f *clientFlags) bind(cmd *cobra.Command) {
	p := cmd.PersistentFlags()
	p.StringVar(&f.gateway, "gateway", "", "URL of the gateway (env MESH_GATEWAY_URL); that of the current context, or "+defaultGateway+", when left out")
	p.StringVar(&f.context, "context", "", "a mesh of mesh context list, in place of the current one (env MESH_CONTEXT)")
	p.StringVarP(&f.output, "output", "o", "text", "text, or json for scripts")
	p.BoolVar(&f.curl, "curl", false, "print the request as a curl command instead of sending it")
}

func (f *clientFlags) client() (*client.Client, error) {
	if f.output != "text" && f.output != "json" {
		return nil, Usage("output is %q, allowed are text and json", f.output)
	}
	if err := f.resolve(); err != nil {
		return nil, err
	}
	c, err := client.New(f.gateway, f.options()...)
	if err != nil {
		return nil, Misuse(err)
	}
	return c, nil
}

// explain says what to do about an error of the client.
func (f *clientFlags) explain(doing string, err error) error {
	var refused *client.Problem
	var network *net.OpError
	var lookup *url.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return &ExitError{Code: exitInterrupted}
	case errors.As(err, &refused):
		return fmt.Errorf("%s: %w", doing, err)
	case errors.As(err, &network), errors.As(err, &lookup):
		return fmt.Errorf("%s: no gateway at %s; is `mesh up` running? choose another with --gateway", doing, f.gateway)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// printCurl writes a request as a curl command.
func (f *clientFlags) printCurl(out io.Writer, method, path string, body []byte, headers ...string) error {
	if err := f.resolve(); err != nil {
		return err
	}
	parts := []string{"curl", "-sS"}
	if f.key != "" {
		parts = append(parts, "-H", `"Authorization: Bearer $MESH_API_KEY"`) // the key is nobody's to see
	}
	if method != "GET" && body == nil {
		parts = append(parts, "-X", method)
	}
	for _, h := range headers {
		parts = append(parts, "-H", shellQuote(h))
	}
	if body != nil {
		parts = append(parts, "-H", shellQuote("Content-Type: application/json"), "-d", shellQuote(string(body)))
	}
	_, err := fmt.Fprintln(out, strings.Join(append(parts, shellQuote(strings.TrimSuffix(f.gateway, "/")+path)), " "))
	return err
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func taskCommand() *cobra.Command {
	f := &clientFlags{}
	cmd := &cobra.Command{
		Use: "task", Short: "Run tasks and follow them",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return Usage("there is no command %q; mesh task --help lists what there is", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f.bind(cmd)
	cmd.AddCommand(taskRunCommand(f), taskGetCommand(f), taskListCommand(f), taskCancelCommand(f), taskRetryCommand(f), taskWatchCommand(f), taskTraceCommand(f))
	return cmd
}

func oneID(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return Usage("%s takes one task id, got %d arguments", cmd.CommandPath(), len(args))
	}
	return nil
}

func taskGetCommand(f *clientFlags) *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use: "get ID", Short: "Show a task", Args: oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.client()
			if err != nil {
				return err
			}
			if f.curl {
				return f.printCurl(cmd.OutOrStdout(), "GET", "/tasks/"+args[0], nil)
			}
			read := c.Get
			if wait {
				read = c.Wait
			}
			t, err := read(cmd.Context(), args[0])
			if err != nil {
				return f.explain("get task "+args[0], err)
			}
			return show(cmd.OutOrStdout(), f.output, t)
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it has finished")
	return cmd
}

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
	p.StringArrayVar(&labels, "label", nil, "only tasks with this label, k=v; may be repeated")
	p.DurationVar(&since, "since", 0, "only tasks created within this time, such as 1h")
	p.StringVar(&filter.Order, "order", client.ByChange, "changed: newest change first; created: newest first, and no task is missed that changes meanwhile")
	p.IntVar(&filter.Limit, "limit", 20, "how many, 1 to 200")
	p.BoolVar(&all, "all", false, "every page")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := f.client()
		if err != nil {
			return err
		}
		if filter.Labels, err = keyValues(labels); err != nil {
			return err
		}
		if filter.Limit < 1 || filter.Limit > 200 {
			return Usage("limit is %d, allowed is 1 to 200", filter.Limit)
		}
		if since > 0 {
			filter.After = time.Now().Add(-since)
		}
		if f.curl {
			return f.printCurl(cmd.OutOrStdout(), "GET", "/tasks?"+filter.Query().Encode(), nil)
		}
		began := time.Now()
		tasks, scanned, err := listTasks(cmd.Context(), c, filter, all)
		if err != nil {
			return f.explain("list tasks", err)
		}
		if f.output == "json" {
			return WriteJSON(cmd.OutOrStdout(), tasks)
		}
		if len(tasks) < filter.Limit || time.Since(began) > time.Second { // with few hits the reader wants to know how far the search went
			fmt.Fprintf(cmd.ErrOrStderr(), "looked at %d records in %v\n", scanned, time.Since(began).Round(time.Millisecond))
		}
		return showTasks(cmd.OutOrStdout(), tasks, time.Now())
	}
	return cmd
}

// listTasks reads the pages until as many tasks are there as the filter's limit
// says, or all, and says how many records were looked at.
func listTasks(ctx context.Context, c *client.Client, filter client.Filter, all bool) (tasks []client.Task, scanned int, err error) {
	tasks = []client.Task{}
	for page, err := range c.Pages(ctx, filter) {
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

func taskCancelCommand(f *clientFlags) *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use: "cancel ID...", Short: "Cancel tasks",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return Usage("%s takes at least one task id", cmd.CommandPath())
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the agent was seen to end")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := f.client()
		if err != nil {
			return err
		}
		for _, id := range args {
			if f.curl {
				if err := f.printCurl(cmd.OutOrStdout(), "POST", "/tasks/"+id+"/cancel", nil); err != nil {
					return err
				}
				continue
			}
			t, err := c.Cancel(cmd.Context(), id)
			for err == nil && wait && !t.StartedAt.IsZero() && t.StoppedAt.IsZero() {
				select {
				case <-time.After(100 * time.Millisecond):
					t, err = c.Get(cmd.Context(), id)
				case <-cmd.Context().Done():
					err = cmd.Context().Err()
				}
			}
			if err != nil {
				return f.explain("cancel task "+id, err)
			}
			if err := show(cmd.OutOrStdout(), f.output, t); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

func keyValues(pairs []string) (map[string]string, error) {
	m := map[string]string{}
	for _, p := range pairs {
		k, v, ok := strings.Cut(p, "=")
		if !ok || k == "" {
			return nil, Usage("label %q: it must be key=value", p)
		}
		m[k] = v
	}
	return m, nil
}

// show prints one task.
func show(out io.Writer, output string, t *client.Task) error {
	if output == "json" {
		return WriteJSON(out, t)
	}
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
	row("warning", t.Warning)
	if t.Error != nil {
		row("error", fmt.Sprintf("%s: %s (attempt %d)", t.Error.Code, t.Error.Message, t.Error.Attempt))
		row("detail", t.Error.Detail)
	}
	for _, text := range t.Warnings {
		row("warning", text)
	}
	row("result", string(t.Result))
	row("result url", t.ResultURL)
	row("retried from", t.RetriedFrom)
	row("trace", t.TraceID)
	row("trace url", t.TraceURL)
	return w.flush()
}

func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05.000")
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

func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
