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

// budgetsCommand shows what the tenant may use of models, and has used.
func budgetsCommand() *cobra.Command {
	f := &clientFlags{}
	return f.bind(&cobra.Command{
		Use: "budgets", Short: "Show the budgets for models, and what is used of them", Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return call[[]client.Budget]{
				doing: "list budgets", requests: get("/budgets"), show: showBudgets,
				ask: func(ctx context.Context, c *client.Client) ([]client.Budget, error) { return c.Budgets(ctx) },
			}.run(cmd, f)
		},
	})
}

func showBudgets(out io.Writer, all []client.Budget) error {
	t := newTable(out, "PERIOD", "TOKENS", "COST", "HELD", "ENDS", "AGENTS")
	for _, b := range all {
		of := func(spent, limit any, has bool) string {
			if !has {
				return fmt.Sprint(spent)
			}
			return fmt.Sprintf("%v of %v", spent, limit)
		}
		t.row(b.Period, of(b.Spent.Tokens, b.Tokens, b.Tokens > 0), of(b.Spent.Cost, b.Cost, b.Cost > 0), b.Held.Tokens, b.End.Format(time.RFC3339), strings.Join(b.Agents, ", "))
	}
	return t.flush()
}
