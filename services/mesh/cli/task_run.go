package cli

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
)

// runFlags are those of a command that starts a task or follows one.
type runFlags struct {
	wait        bool
	waitTimeout time.Duration
	follow      bool
}

func (r *runFlags) bind(cmd *cobra.Command) {
	p := cmd.Flags()
	p.BoolVar(&r.wait, "wait", false, "wait until it has finished")
	p.DurationVar(&r.waitTimeout, "wait-timeout", 0, "wait until it has finished, at most this long, then exit 3; 0 with --wait or --follow: without limit")
	p.BoolVar(&r.follow, "follow", false, "show progress, milestones and output as they come, until it has finished")
}

// waits reports whether the command is to wait for the outcome. Who says how long has
// asked for it.
func (r *runFlags) waits() bool { return r.wait || r.follow || r.waitTimeout > 0 }

// newTask is what the flags of a run command say of a task.
type newTask struct {
	client.Request
	input, metadata string
	labels          []string
	attempts        int
}

func (n *newTask) bind(cmd *cobra.Command, action bool) {
	needs := ""
	if action {
		needs = " (required)"
	}
	p := cmd.Flags()
	p.StringVar(&n.CallbackURL, "callback-url", "", "where the outcome is POSTed, signed"+needs)
	p.StringSliceVar(&n.CallbackEvents, "callback-events", nil, "events to send; milestones and the outcome when left out")
	p.StringVar(&n.CallbackSecretRef, "callback-secret-ref", "", "the webhook whose keys sign")
	p.StringVar(&n.Agent, "agent", "", "which agent; the mesh's default when left out")
	p.StringVar(&n.input, "input", "", "input as JSON, @file to read it from a file, - from standard input")
	p.StringVar(&n.metadata, "metadata", "", "metadata as JSON")
	p.StringArrayVar(&n.labels, "label", nil, "label k=v; may be repeated")
	p.StringVar(&n.Delay, "delay", "", "run this much later, such as 90s")
	p.StringVar(&n.RunAt, "run-at", "", "run at this time (RFC 3339)")
	p.StringVar(&n.Timeout, "timeout", "", "of one attempt, such as 5m")
	p.StringVar(&n.Deadline, "deadline", "", "past this time (RFC 3339) the task fails")
	p.IntVar(&n.attempts, "max-attempts", 0, "the agent's when left out")
	completeFlag(cmd, "agent", someAgents)
	completeFlag(cmd, "callback-secret-ref", someWebhooks)
}

// read reads what the flags only name, and refuses what is no task.
func (n *newTask) read(args []string, stdin io.Reader, action bool) (err error) {
	if len(args) == 1 {
		n.Instruction = args[0]
	}
	if n.attempts != 0 {
		n.MaxAttempts = &n.attempts
	}
	if n.Labels, err = keyValues(n.labels); err != nil {
		return err
	}
	if n.Input, err = jsonFlag("input", n.input, stdin); err != nil {
		return err
	}
	if n.Metadata, err = jsonFlag("metadata", n.metadata, nil); err != nil {
		return err
	}
	if n.Input == nil && n.Instruction == "" {
		return Usage("a task needs an instruction or --input")
	}
	if action && n.CallbackURL == "" {
		return Usage("an action needs --callback-url; without one it is a task: mesh task run")
	}
	return nil
}

// runCommand starts a task, or an action: a task with a callback.
func runCommand(f *clientFlags, action bool) *cobra.Command {
	r, n := &runFlags{}, &newTask{}
	cmd := &cobra.Command{
		Use: "run [INSTRUCTION]", Short: "Start a task", Args: between(0, 1, "one instruction (quote it)"),
		Example: "  mesh task run --agent summarize --input '{\"text\":\"...\"}' --wait --follow\n  mesh task run 'Say hello' --wait",
	}
	path := "/tasks"
	if action {
		path = "/actions"
		cmd.Short = "Start an action: a task whose outcome is POSTed to --callback-url"
		cmd.Example = "  mesh action run 'Book a flight' --callback-url https://example.com/hook"
	}
	r.bind(cmd)
	n.bind(cmd, action)
	var key string
	cmd.Flags().StringVar(&key, "key", "", "Idempotency-Key; one is made when left out")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := n.read(args, cmd.InOrStdin(), action); err != nil {
			return err
		}
		return call[*client.Task]{
			doing: "run task", requests: post(path, n.Request, keyHeader(key)...), show: showTask, outcome: r.outcome,
			ask: func(ctx context.Context, c *client.Client) (*client.Task, error) {
				create := c.Tasks.Create
				if action {
					create = c.Actions.Create
				}
				t, err := create(ctx, n.Request, client.CreateOptions{IdempotencyKey: key})
				if err != nil {
					return nil, err
				}
				return r.await(ctx, cmd, f, c, t)
			},
		}.run(cmd, f)
	}
	return cmd
}

// keyHeader is the header of an Idempotency-Key, if there is one.
func keyHeader(key string) []string {
	if key == "" {
		return nil
	}
	return []string{"Idempotency-Key: " + key}
}

func taskRetryCommand(f *clientFlags, ids some) *cobra.Command {
	r := &runFlags{}
	cmd := completes(&cobra.Command{Use: "retry ID", Short: "Run a failed or canceled task again, as a new task", Args: one("task id")}, ids("failed", "canceled"))
	r.bind(cmd)
	var from string
	cmd.Flags().StringVar(&from, "from", "", "take over what the task has finished before its first step of this name")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var body any
		if from != "" {
			body = api.RetryTask{From: from}
		}
		return call[*client.Task]{
			doing: "retry task " + args[0], requests: post(at("tasks", args[0], "retry"), body), show: showTask, outcome: r.outcome,
			ask: func(ctx context.Context, c *client.Client) (*client.Task, error) {
				retry := c.Tasks.Retry
				if from != "" {
					retry = func(ctx context.Context, id string, o client.CreateOptions) (*client.Task, error) {
						return c.Tasks.RetryFrom(ctx, id, from, o)
					}
				}
				t, err := retry(ctx, args[0], client.CreateOptions{})
				if err != nil {
					return nil, err
				}
				return r.await(ctx, cmd, f, c, t)
			},
		}.run(cmd, f)
	}
	return cmd
}

func taskWatchCommand(f *clientFlags, ids some) *cobra.Command {
	r := &runFlags{follow: true}
	cmd := completes(&cobra.Command{Use: "watch ID", Short: "Follow a task until it has finished", Args: one("task id")}, ids())
	cmd.Flags().DurationVar(&r.waitTimeout, "wait-timeout", 0, "watch at most this long, then exit 3; 0: without limit")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return call[*client.Task]{
			doing: "watch task " + args[0], requests: get(at("tasks", args[0], "events"), "Accept: text/event-stream"), show: showTask, outcome: r.outcome,
			ask: func(ctx context.Context, c *client.Client) (*client.Task, error) {
				return r.await(ctx, cmd, f, c, &client.Task{Task: api.Task{TaskID: args[0]}})
			},
		}.run(cmd, f)
	}
	return cmd
}

// await follows a task, or waits for it, as the flags say. Its errors name the
// task, which goes on.
func (r *runFlags) await(ctx context.Context, cmd *cobra.Command, f *clientFlags, c *client.Client, t *client.Task) (*client.Task, error) {
	if !r.waits() {
		return t, nil
	}
	if r.waitTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.waitTimeout)
		defer cancel()
	}
	id := t.TaskID
	var err error
	if r.follow {
		out := cmd.OutOrStdout()
		if f.output == "json" {
			out = cmd.ErrOrStderr()
		}
		err = newFollower(out).follow(c.Tasks.Events(ctx, id))
	}
	if err == nil {
		t, err = c.Tasks.Wait(ctx, id)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, &ExitError{ExitTimedOut, errors.New("wait for task " + id + ": it has not finished within " + r.waitTimeout.String() + "; it goes on: mesh task watch " + id)}
	case errors.Is(err, context.Canceled):
		return nil, &ExitError{exitInterrupted, errors.New("task " + id + " goes on: mesh task watch " + id)}
	}
	return t, f.explain("wait for task "+id, err)
}

// outcome is the exit status of a task that was waited for. One that its deadline
// or a timeout ended has failed; exit status 3 means that the waiting timed out.
func (r *runFlags) outcome(t *client.Task) error {
	return failedIf(r.waits() && t.Status != "completed")
}
