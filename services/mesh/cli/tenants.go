package cli

import (
	"context"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

func tenantsCommand() *cobra.Command {
	f := &clientFlags{}
	return f.bind(group("tenants", "Give tenants limits of their own (for admins)",
		tenantsListCommand(f), tenantsGetCommand(f), tenantsSetCommand(f), tenantsDeleteCommand(f)))
}

func tenantsListCommand(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the tenants that have limits of their own", Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return call[[]client.Tenant]{
				doing: "list tenants", requests: get("/tenants"), show: showTenants,
				ask: func(ctx context.Context, c *client.Client) ([]client.Tenant, error) { return c.Tenants(ctx) },
			}.run(cmd, f)
		},
	}
}

// tenantCall is a call that is answered by a tenant.
func tenantCall(doing string, requests []request, ask func(context.Context, *client.Client) (*client.Tenant, error)) call[*client.Tenant] {
	return call[*client.Tenant]{doing: doing, requests: requests, ask: ask, show: showTenant}
}

func tenantsGetCommand(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "get NAME", Short: "Show a tenant's limits", Args: one("tenant"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return tenantCall("get tenant", get(at("tenants", args[0])), func(ctx context.Context, c *client.Client) (*client.Tenant, error) {
				return c.Tenant(ctx, args[0])
			}).run(cmd, f)
		},
	}
}

// tenantFlags are the limits of a tenant.
type tenantFlags struct {
	rate                                                                float64
	burst, pending, pendingPerAgent, waits, streams, webhooks, sessions int
}

func (l *tenantFlags) bind(cmd *cobra.Command) {
	p := cmd.Flags()
	p.Float64Var(&l.rate, "rate", 0, "requests a second at each gateway; of every limit, -1 is none and 0 allows nothing")
	p.IntVar(&l.burst, "burst", 0, "requests at once; 0: as many as in a second")
	p.IntVar(&l.pending, "pending", 0, "tasks that wait or run")
	p.IntVar(&l.pendingPerAgent, "pending-per-agent", 0, "tasks of one agent that wait or run")
	p.IntVar(&l.waits, "waits", 0, "requests that are held, at each gateway")
	p.IntVar(&l.streams, "streams", 0, "streams of events, at each gateway")
	p.IntVar(&l.webhooks, "webhooks", 0, "webhooks")
	p.IntVar(&l.sessions, "sessions", 0, "sessions")
}

// limits are those that were set.
func (l *tenantFlags) limits(cmd *cobra.Command) (own client.TenantLimits) {
	if cmd.Flags().Changed("rate") {
		own.Rate = &l.rate
	}
	for _, one := range []struct {
		flag string
		to   **int
		n    *int
	}{
		{"burst", &own.Burst, &l.burst}, {"pending", &own.Pending, &l.pending}, {"pending-per-agent", &own.PendingPerAgent, &l.pendingPerAgent},
		{"waits", &own.Waits, &l.waits}, {"streams", &own.Streams, &l.streams}, {"webhooks", &own.Webhooks, &l.webhooks}, {"sessions", &own.Sessions, &l.sessions},
	} {
		if cmd.Flags().Changed(one.flag) {
			*one.to = one.n
		}
	}
	return own
}

func tenantsSetCommand(f *clientFlags) *cobra.Command {
	l := &tenantFlags{}
	cmd := &cobra.Command{Use: "set NAME", Short: "Give a tenant limits of its own, in place of those that it has; what is left out is the mesh's", Args: one("tenant")}
	l.bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		own := l.limits(cmd)
		return tenantCall("set tenant", put(at("tenants", args[0]), map[string]any{"limits": own}), func(ctx context.Context, c *client.Client) (*client.Tenant, error) {
			return c.SetTenant(ctx, args[0], own)
		}).run(cmd, f)
	}
	return cmd
}

func tenantsDeleteCommand(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Take a tenant's own limits away; what it has stays", Args: one("tenant"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return call[nothing]{
				doing: "delete tenant", requests: remove(at("tenants", args[0])),
				ask: func(ctx context.Context, c *client.Client) (nothing, error) {
					return nothing{}, c.DeleteTenant(ctx, args[0])
				},
			}.run(cmd, f)
		},
	}
}

func showTenants(out io.Writer, all []client.Tenant) error {
	t := newTable(out, "TENANT", "RATE", "BURST", "PENDING", "PER AGENT", "WAITS", "STREAMS", "WEBHOOKS", "SESSIONS")
	for _, one := range all {
		e := one.Effective
		t.row(one.Name, rateOf(e.Rate), e.Burst, limitOf(e.Pending), limitOf(e.PendingPerAgent), limitOf(e.Waits), limitOf(e.Streams), limitOf(e.Webhooks), limitOf(e.Sessions))
	}
	return t.flush()
}

func showTenant(out io.Writer, one *client.Tenant) error {
	t, e, own := newTable(out), one.Effective, one.Limits
	t.field("tenant", one.Name)
	for _, l := range []struct {
		name, value string
		own         bool
	}{
		{"rate", rateOf(e.Rate), own.Rate != nil},
		{"burst", strconv.Itoa(e.Burst), own.Burst != nil},
		{"pending", limitOf(e.Pending), own.Pending != nil},
		{"per agent", limitOf(e.PendingPerAgent), own.PendingPerAgent != nil},
		{"waits", limitOf(e.Waits), own.Waits != nil},
		{"streams", limitOf(e.Streams), own.Streams != nil},
		{"webhooks", limitOf(e.Webhooks), own.Webhooks != nil},
		{"sessions", limitOf(e.Sessions), own.Sessions != nil},
	} {
		if !l.own {
			l.value += " (the mesh's)"
		}
		t.field(l.name, l.value)
	}
	t.field("changed", one.UpdatedAt.Local().Format(time.DateTime))
	return t.flush()
}

func limitOf(n int) string {
	if n < 0 {
		return "no limit"
	}
	return strconv.Itoa(n)
}

func rateOf(r float64) string {
	if r < 0 {
		return "no limit"
	}
	return strconv.FormatFloat(r, 'g', 6, 64) + "/s"
}
