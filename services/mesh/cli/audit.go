package cli

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

func auditCommand() *cobra.Command {
	f := &clientFlags{}
	var filter client.AuditFilter
	var since time.Duration
	cmd := &cobra.Command{Use: "audit", Short: "List who did what, newest first; it asks for the scope admin", Args: NoArgs}
	p := cmd.Flags()
	p.StringVar(&filter.Tenant, "tenant", "", "only actions of this tenant")
	p.StringVar(&filter.Action, "action", "", "only actions of this kind, such as task.cancel")
	p.StringVar(&filter.Object, "object", "", "only actions on this id or name")
	p.StringVar(&filter.KeyID, "key-id", "", "only actions of the holder of this API key")
	p.DurationVar(&since, "since", 0, "only actions within this time, such as 24h")
	p.IntVar(&filter.Limit, "limit", 50, "how many, 1 to 200")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if filter.Limit < 1 || filter.Limit > 200 {
			return Usage("limit is %d, allowed is 1 to 200", filter.Limit)
		}
		looked := beginSearch(f)
		if since > 0 {
			filter.After = time.Now().Add(-since)
		}
		return call[[]client.AuditEntry]{
			doing: "list audit trail", requests: get(with("/audit", filter.Query())), show: showAudit,
			ask: func(ctx context.Context, c *client.Client) (all []client.AuditEntry, err error) {
				all, looked.scanned, err = listAudit(ctx, c, filter)
				looked.tellWhere(err, filter.Action+filter.Object+filter.KeyID != "", cmd.ErrOrStderr(), len(all), filter.Limit)
				return all, err
			},
		}.run(cmd, f)
	}
	return f.bind(cmd)
}

// listAudit reads pages until as many entries are there as the filter's limit says,
// and says how many were looked at.
func listAudit(ctx context.Context, c *client.Client, filter client.AuditFilter) (all []client.AuditEntry, scanned int, err error) {
	all = []client.AuditEntry{}
	for page, err := range c.Audit.Pages(ctx, filter) {
		if err != nil {
			return all, scanned, err
		}
		if all, scanned = append(all, page.Entries...), scanned+page.Scanned; len(all) >= filter.Limit {
			break
		}
	}
	return all[:min(len(all), filter.Limit)], scanned, nil
}

func showAudit(out io.Writer, all []client.AuditEntry) error {
	t := newTable(out, "AT", "TENANT", "WHO", "ACTION", "OBJECT", "OUTCOME", "FROM")
	for _, e := range all {
		who := e.Subject
		if e.KeyID != "" {
			who = e.KeyID
		}
		t.row(e.At.Local().Format(time.DateTime), e.Tenant, who, e.Action, e.Object, e.Outcome, e.Address)
	}
	return t.flush()
}
