package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
	"agentmesh/worker/agents"
)

// replayCommand runs an agent of a file over the steps of a task.
func replayCommand(cmd *cobra.Command, f *clientFlags, file, id, instruction string) error {
	return call[agents.Report]{
		doing: "replay task " + id, show: showReplay,
		requests: slices.Concat(get(at("tasks", id)), get(at("tasks", id, "input")), get(at("tasks", id, "steps")+"?include=values&limit=200")),
		ask: func(ctx context.Context, c *client.Client) (r agents.Report, err error) {
			past, err := readPast(ctx, c, id)
			if err != nil {
				return r, err
			}
			past.Instruction = instruction // which no face shows
			return agents.Replay(ctx, file, past)
		},
		outcome: func(r agents.Report) error { return failedIf(len(r.Runs)+len(r.Unused) > 0) },
	}.run(cmd, f)
}

// readPast reads what a task had finished.
func readPast(ctx context.Context, c *client.Client, id string) (past agents.Past, err error) {
	t, err := c.Tasks.Get(ctx, id)
	if err != nil {
		return past, err
	}
	past = agents.Past{TaskID: t.TaskID, Kind: t.Kind, Agent: t.Agent, Labels: t.Labels, Metadata: t.Metadata}
	if past.Input, err = inputOf(ctx, c, id); err != nil {
		return past, err
	}
	for s, err := range c.Tasks.Steps(ctx, id, true) {
		if err != nil {
			return past, err
		}
		if s.Sealed {
			return past, fmt.Errorf("the steps of task %s are sealed: its agent is not run over them here", id)
		}
		step := agents.PastStep{Kind: s.Kind, Name: s.Name, N: s.N, Key: s.Key, Value: s.Value, Head: s.Head}
		if s.Error != nil {
			step.Error = &agents.StepFailure{Code: s.Error.Code, Message: s.Error.Message}
		}
		if s.ValueURL != "" {
			if step.Value, err = readAll(c.Tasks.StepValue(ctx, id, s.Kind, s.Name, s.N)); err != nil {
				return past, err
			}
		}
		past.Steps = append(past.Steps, step)
	}
	for _, child := range t.Children {
		called, err := readCall(ctx, c, child)
		if err != nil {
			return past, err
		}
		past.Calls = append(past.Calls, called)
	}
	return past, nil
}

// readCall reads a task that the agent has started.
func readCall(ctx context.Context, c *client.Client, id string) (called agents.PastCall, err error) {
	t, err := c.Tasks.Get(ctx, id)
	if err != nil {
		return called, err
	}
	called = agents.PastCall{Agent: t.Agent}
	if called.Input, err = inputOf(ctx, c, id); err != nil {
		return called, err
	}
	switch {
	case t.Error != nil:
		called.Failed = t.Error.Message
	case t.Status == "completed":
		called.Result, err = readAll(c.Tasks.Result(ctx, id))
	}
	return called, err
}

// inputOf reads the input of a task, nil where it has none.
func inputOf(ctx context.Context, c *client.Client, id string) ([]byte, error) {
	raw, err := readAll(c.Tasks.Input(ctx, id))
	var p *client.Problem
	if errors.As(err, &p) && p.Code == "no_input" {
		return nil, nil
	}
	return raw, err
}

func readAll(r io.ReadCloser, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(r)
}

// showReplay tells what would be done again.
func showReplay(out io.Writer, r agents.Report) error {
	for _, part := range []struct {
		what  string
		lines []string
	}{{"kept", r.Kept}, {"runs", r.Runs}, {"calls", r.Calls}, {"waits", r.Waits}, {"unused", r.Unused}} {
		for _, line := range part.lines {
			fmt.Fprintf(out, "%-7s %s\n", part.what, clean(line))
		}
	}
	_, err := fmt.Fprintf(out, "%-7s %s\n", "ended", clean(r.Ended))
	return err
}
