package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

// call is one question of a command to the gateway; its answer is a T.
type call[T any] struct {
	doing    string    // the beginning of its errors
	requests []request // as --curl prints them
	ask      func(context.Context, *client.Client) (T, error)
	show     func(io.Writer, T) error // as text; nil: there is nothing to show
	outcome  func(T) error            // the exit status that the answer means; nil: 0
}

// run asks the gateway and shows its answer.
func (c call[T]) run(cmd *cobra.Command, f *clientFlags) error {
	gateway, err := f.open(cmd, c.requests...)
	if gateway == nil {
		return err
	}
	answer, err := c.ask(cmd.Context(), gateway)
	if err != nil {
		return f.explain(c.doing, err)
	}
	if c.show != nil {
		if err := write(cmd.OutOrStdout(), f.output, answer, c.show); err != nil {
			return err
		}
	}
	if c.outcome != nil {
		return c.outcome(answer)
	}
	return nil
}

// write writes an answer as --output says.
func write[T any](out io.Writer, output string, answer T, show func(io.Writer, T) error) error {
	if output == "json" {
		return WriteJSON(out, answer)
	}
	return show(out, answer)
}

// nothing is the answer of a call that has none.
type nothing struct{}
