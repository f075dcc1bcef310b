package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
)

// problemsCommand explains codes.
func problemsCommand() *cobra.Command {
	f := &clientFlags{}
	return f.bind(&cobra.Command{
		Use: "problems [CODE]", Short: "Explain the codes of refusals and of failed tasks", Args: between(0, 1, "one code, or none"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/problems"
			if len(args) > 0 {
				path = at("problems", args[0])
			}
			return call[[]api.ProblemPage]{
				doing: "explain codes", requests: get(path), show: showProblems,
				ask: func(ctx context.Context, c *client.Client) ([]api.ProblemPage, error) {
					if len(args) == 0 {
						return c.Problems(ctx)
					}
					p, err := c.Problem(ctx, args[0])
					return []api.ProblemPage{*p}, err
				},
			}.run(cmd, f)
		},
	})
}

func showProblems(out io.Writer, all []api.ProblemPage) error {
	t := newTable(out, "CODE", "STATUS", "AGAIN", "FAULT", "MEANING")
	for _, p := range all {
		again, status := "", any("")
		if p.Retryable {
			again = "later"
		}
		if p.Status > 0 {
			status = p.Status
		}
		t.row(p.Code, status, again, p.Fault, p.Title)
	}
	return t.flush()
}
