package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

// taskStepsCommand shows what the agent of a task has finished and waited for.
func taskStepsCommand(f *clientFlags, ids some) *cobra.Command {
	var values bool
	cmd := completes(&cobra.Command{Use: "steps ID", Short: "Show what a task's agent has finished and waited for, over time", Args: one("task id")}, ids())
	cmd.Flags().BoolVar(&values, "values", false, "with the values")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		query := "?limit=200"
		if values {
			query = "?include=values&limit=200"
		}
		return call[[]client.Step]{
			doing: "read steps of " + args[0], requests: get(at("tasks", args[0], "steps") + query), show: drawSteps,
			ask: func(ctx context.Context, c *client.Client) ([]client.Step, error) {
				return readSteps(ctx, c, args[0], values)
			},
		}.run(cmd, f)
	}
	return cmd
}

func readSteps(ctx context.Context, c *client.Client, id string, values bool) ([]client.Step, error) {
	all := []client.Step{}
	for s, err := range c.Tasks.Steps(ctx, id, values) {
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// drawSteps draws steps as bars over time.
func drawSteps(out io.Writer, all []client.Step) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "no steps")
		return err
	}
	rows := make([]row, len(all))
	for i, s := range all {
		rows[i] = stepRow(s)
	}
	first, whole := span(rows)
	var b strings.Builder
	drawRows(&b, rows, first, whole, columns(out))
	_, err := io.WriteString(out, clean(b.String()))
	return err
}

// stepRow is one entry: a span that ended when it was written, or a moment.
func stepRow(s client.Step) row {
	r := row{name: stepName(s), from: s.At, mark: markMoment}
	if s.MS > 0 {
		r.from, r.to, r.mark = s.At.Add(-time.Duration(s.MS)*time.Millisecond), s.At, markRun
		if s.Kind != "step" {
			r.mark = markWait
		}
	}
	r.note = fmt.Sprintf("attempt %d", s.Attempt)
	switch {
	case s.Error != nil:
		r.note += " " + s.Error.Code + ": " + s.Error.Message
	case s.Sealed:
		r.note += " sealed"
	case s.ValueURL != "":
		r.note += " " + s.ValueURL
	case s.Head != "":
		r.note += " " + s.Head + "…"
	case len(s.Value) > 0:
		r.note += " " + string(s.Value)
	}
	return r
}

func stepName(s client.Step) string {
	name := s.Name
	if s.Kind != "step" {
		name = strings.TrimSpace(s.Kind + " " + s.Name)
	}
	if s.N > 0 {
		name += fmt.Sprintf(" #%d", s.N)
	}
	return name
}

// stepText is one entry as a line.
func stepText(s client.Step) string {
	text := stepName(s)
	if s.MS > 0 {
		text += " " + brief(time.Duration(s.MS)*time.Millisecond)
	}
	if s.Error != nil {
		text += " " + s.Error.Code + ": " + s.Error.Message
	}
	return text
}
