package cli

import (
	"context"
	"encoding/json"
	"io"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

// group is a command that only has others below it.
func group(use, short string, f *clientFlags, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return Usage("there is no command %q; %s --help lists what there is", args[0], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f.bind(cmd)
	cmd.AddCommand(commands...)
	return cmd
}

// request is one call of the gateway by a command: how it looks as curl, and how
// its answer is shown.
type request struct {
	method, path string
	body         any
	call         func(context.Context, *client.Client) (answer any, err error)
	show         func(io.Writer, any)
}

func (f *clientFlags) run(cmd *cobra.Command, doing string, r request) error {
	if f.curl {
		var body []byte
		if r.body != nil {
			body, _ = json.Marshal(r.body)
		}
		return f.printCurl(cmd.OutOrStdout(), r.method, r.path, body)
	}
	c, err := f.client()
	if err != nil {
		return err
	}
	answer, err := r.call(cmd.Context(), c)
	if err != nil {
		return f.explain(doing, err)
	}
	if f.output == "json" && answer != nil {
		return WriteJSON(cmd.OutOrStdout(), answer)
	}
	r.show(cmd.OutOrStdout(), answer)
	return nil
}

func anID(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return Usage("%s takes one %s, got %d arguments", cmd.CommandPath(), what, len(args))
		}
		return nil
	}
}
