package cli

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

// whoAmICommand says what the gateway takes the command for.
func whoAmICommand() *cobra.Command {
	f := &clientFlags{}
	return f.bind(&cobra.Command{
		Use: "whoami", Short: "Show the tenant and the scopes of the credentials that commands send", Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return call[*client.WhoAmI]{
				doing: "ask who this is", requests: get("/whoami"), show: showWhoAmI,
				ask: func(ctx context.Context, c *client.Client) (*client.WhoAmI, error) { return c.WhoAmI(ctx) },
			}.run(cmd, f)
		},
	})
}

func showWhoAmI(out io.Writer, me *client.WhoAmI) error {
	t := newTable(out)
	t.field("tenant", me.Tenant)
	t.field("subject", me.Subject)
	t.field("key", me.KeyID)
	t.field("scopes", strings.Join(me.Scopes, " "))
	t.field("asks", me.Auth)
	return t.flush()
}
