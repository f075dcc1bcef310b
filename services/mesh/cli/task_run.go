package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
)

// runFlags are those of a command that starts a task or follows one.
type runFlags struct {
	key         string
	wait        bool
	waitTimeout time.Duration
	follow      bool
}

func (r *runFlags) bind(cmd *cobra.Command) {
	p := cmd.Flags()
	p.BoolVar(&r.wait, "wait", false, "wait until it has finished")
	p.DurationVar(&r.waitTimeout, "wait-timeout", 0, "wait at most this long, then exit 3; 0: without limit")
	p.BoolVar(&r.follow, "follow", false, "show progress, milestones and output as they come, until it has finished")
}

func taskRunCommand(f *clientFlags) *cobra.Command { return runCommand(f, false) }

// runCommand starts a task, or an action: a task with a callback.
func runCommand(f *clientFlags, action bool) *cobra.Command {
	r := &runFlags{}
	var req client.Request
	var input, metadata string
	var attempts int
	var labels []string
	cmd := &cobra.Command{
		Use: "run [INSTRUCTION]", Short: "Start a task",
		Example: "  mesh task run --agent summarize --input '{\"text\":\"...\"}' --wait --follow\n  mesh task run 'Say hello' --wait",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return Usage("%s takes one instruction, got %d arguments; quote it", cmd.CommandPath(), len(args))
			}
			return nil
		},
	}
	path, needs := "/tasks", ""
	if action {
		cmd.Short, path, needs = "Start an action: a task whose outcome is POSTed to --callback-url", "/actions", " (required)"
		cmd.Example = "  mesh action run 'Book a flight' --callback-url https://example.com/hook"
	}
	r.bind(cmd)
	p := cmd.Flags()
	p.StringVar(&req.CallbackURL, "callback-url", "", "where the outcome is POSTed, signed"+needs)
	p.StringSliceVar(&req.CallbackEvents, "callback-events", nil, "events to send; milestones and the outcome when left out")
	p.StringVar(&req.CallbackSecretRef, "callback-secret-ref", "", "the webhook whose keys sign")
	p.StringVar(&r.key, "key", "", "Idempotency-Key; one is made when left out")
	p.StringVar(&req.Agent, "agent", "", "which agent; the mesh's default when left out")
	p.StringVar(&input, "input", "", "input as JSON, @file to read it from a file, - from standard input")
	p.StringVar(&metadata, "metadata", "", "metadata as JSON")
	p.StringArrayVar(&labels, "label", nil, "label k=v; may be repeated")
	p.StringVar(&req.Delay, "delay", "", "run this much later, such as 90s")
	p.StringVar(&req.RunAt, "run-at", "", "run at this time (RFC 3339)")
	p.StringVar(&req.Timeout, "timeout", "", "of one attempt, such as 5m")
	p.StringVar(&req.Deadline, "deadline", "", "past this time (RFC 3339) the task fails")
	p.IntVar(&attempts, "max-attempts", 0, "the agent's when left out")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := f.client()
		if err != nil {
			return err
		}
		if attempts != 0 {
			req.MaxAttempts = &attempts
		}
		if len(args) == 1 {
			req.Instruction = args[0]
		}
		if req.Labels, err = keyValues(labels); err != nil {
			return err
		}
		if req.Input, err = jsonFlag("input", input, cmd.InOrStdin()); err != nil {
			return err
		}
		if req.Metadata, err = jsonFlag("metadata", metadata, nil); err != nil {
			return err
		}
		if req.Input == nil && req.Instruction == "" {
			return Usage("a task needs an instruction or --input")
		}
		if action && req.CallbackURL == "" {
			return Usage("an action needs --callback-url; without one it is a task: mesh task run")
		}
		if f.curl {
			body, err := json.Marshal(req)
			if err != nil {
				return err
			}
			return f.printCurl(cmd.OutOrStdout(), "POST", path, body)
		}
		create := c.Create
		if action {
			create = c.CreateAction
		}
		t, err := create(cmd.Context(), req, client.CreateOptions{IdempotencyKey: r.key})
		if err != nil {
			return f.explain("run task", err)
		}
		return r.finish(cmd, f, c, t)
	}
	return cmd
}

func taskRetryCommand(f *clientFlags) *cobra.Command {
	r := &runFlags{}
	cmd := &cobra.Command{Use: "retry ID", Short: "Run a failed or canceled task again, as a new task", Args: oneID}
	r.bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := f.client()
		if err != nil {
			return err
		}
		if f.curl {
			return f.printCurl(cmd.OutOrStdout(), "POST", "/tasks/"+args[0]+"/retry", nil)
		}
		t, err := c.Retry(cmd.Context(), args[0], client.CreateOptions{})
		if err != nil {
			return f.explain("retry task "+args[0], err)
		}
		return r.finish(cmd, f, c, t)
	}
	return cmd
}

func taskWatchCommand(f *clientFlags) *cobra.Command {
	r := &runFlags{follow: true}
	cmd := &cobra.Command{Use: "watch ID", Short: "Follow a task until it has finished", Args: oneID}
	cmd.Flags().DurationVar(&r.waitTimeout, "wait-timeout", 0, "watch at most this long, then exit 3; 0: without limit")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := f.client()
		if err != nil {
			return err
		}
		if f.curl {
			return f.printCurl(cmd.OutOrStdout(), "GET", "/tasks/"+args[0]+"/events", nil, "Accept: text/event-stream")
		}
		return r.finish(cmd, f, c, &client.Task{Task: api.Task{TaskID: args[0]}})
	}
	return cmd
}

// finish waits for a task as the flags say, prints it and turns its outcome
// into the exit status.
func (r *runFlags) finish(cmd *cobra.Command, f *clientFlags, c *client.Client, t *client.Task) error {
	if !r.wait && !r.follow {
		return show(cmd.OutOrStdout(), f.output, t)
	}
	ctx := cmd.Context()
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
		err = newFollower(out).follow(c.Events(ctx, id))
	}
	if err == nil {
		t, err = c.Wait(ctx, id)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &ExitError{ExitTimedOut, errors.New("wait for task " + id + ": it has not finished within " + r.waitTimeout.String() + "; it goes on: mesh task watch " + id)}
	case errors.Is(err, context.Canceled):
		return &ExitError{exitInterrupted, errors.New("task " + id + " goes on: mesh task watch " + id)}
	case err != nil:
		return f.explain("wait for task "+id, err)
	}
	if err := show(cmd.OutOrStdout(), f.output, t); err != nil {
		return err
	}
	return outcome(t)
}

// outcome is the exit status of a finished task. One that its deadline or a
// timeout ended has failed; exit status 3 means that the waiting timed out.
func outcome(t *client.Task) error {
	if t.Status == "completed" {
		return nil
	}
	return &ExitError{Code: ExitFailed}
}

// jsonFlag reads a flag that is JSON, a file of it or standard input.
func jsonFlag(name, value string, stdin io.Reader) (json.RawMessage, error) {
	raw, err := textFlag(name, value, stdin)
	if err != nil || raw == nil {
		return nil, err
	}
	if !json.Valid(raw) {
		return nil, Usage("--%s is no JSON; a text needs quotes: --%s '\"text\"'", name, name)
	}
	return raw, nil
}

// textFlag reads a flag that is a text, a file of it or standard input; nil when
// it is empty.
func textFlag(name, value string, stdin io.Reader) (raw []byte, err error) {
	switch {
	case value == "":
		return nil, nil
	case value == "-" && stdin != nil:
		raw, err = io.ReadAll(stdin)
	case strings.HasPrefix(value, "@"):
		raw, err = os.ReadFile(value[1:])
	default:
		raw = []byte(value)
	}
	if err != nil {
		return nil, Usage("--%s: %w", name, err)
	}
	return raw, nil
}
