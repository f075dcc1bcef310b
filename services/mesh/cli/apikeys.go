package cli

import (
	"context"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

// apiKeysCommand keeps the keys that callers show.
func apiKeysCommand() *cobra.Command {
	f := &clientFlags{}
	return f.bind(group("keys", "Keep the API keys of callers (for admins)",
		keysCreateCommand(f), keysListCommand(f), keysGetCommand(f), keysRevokeCommand(f), keysRotateCommand(f)))
}

// keyCall is a call that is answered by a key.
func keyCall(doing string, requests []request, ask func(context.Context, *client.Client) (*client.APIKey, error)) call[*client.APIKey] {
	return call[*client.APIKey]{doing: doing, requests: requests, ask: ask, show: showAPIKey}
}

func keysCreateCommand(f *clientFlags) *cobra.Command {
	var r client.KeyRequest
	var expires string
	cmd := &cobra.Command{
		Use: "create", Short: "Make an API key; it is shown this once", Args: NoArgs,
		Example: "  mesh keys create --tenant team-a --scopes tasks:read,tasks:write --expires 90d --name ci",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if r.ExpiresAt, err = expiry(expires, time.Now()); err != nil {
				return err
			}
			return keyCall("create key", post("/keys", r), func(ctx context.Context, c *client.Client) (*client.APIKey, error) {
				return c.Keys.Create(ctx, r)
			}).run(cmd, f)
		},
	}
	p := cmd.Flags()
	p.StringVar(&r.Tenant, "tenant", "", "whose key it is; that of the caller when left out")
	p.StringSliceVar(&r.Scopes, "scopes", []string{"*"}, "what it may do, separated by commas; * is all but admin")
	p.StringVar(&r.Name, "name", "", "what it is for")
	p.StringVar(&expires, "expires", "", "when it ends: a time (2027-05-19T10:30:00Z) or a while (90d, 12h); never when left out")
	return cmd
}

// expiry reads when something ends: a time, or a while from now on; empty: never.
func expiry(text string, now time.Time) (string, error) {
	if text == "" {
		return "", nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at.Format(time.RFC3339), nil
	}
	while, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		if n, err = strconv.Atoi(days); err == nil && n > 100*365 {
			n, err = 0, strconv.ErrRange
		}
		while = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || while <= 0 {
		return "", Usage("expires is %q, it must be a time such as 2027-05-19T10:30:00Z, or a while such as 90d or 12h", text)
	}
	return now.Add(while).UTC().Format(time.RFC3339), nil
}

func keysListCommand(f *clientFlags) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "list", Short: "List API keys, without their secrets", Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			if tenant != "" {
				query.Set("tenant", tenant)
			}
			return call[[]client.APIKey]{
				doing: "list keys", requests: get(with("/keys", query)), show: showAPIKeys,
				ask: func(ctx context.Context, c *client.Client) ([]client.APIKey, error) { return c.Keys.List(ctx, tenant) },
			}.run(cmd, f)
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "only of this tenant")
	return cmd
}

func keysGetCommand(f *clientFlags) *cobra.Command {
	return completes(&cobra.Command{
		Use: "get ID", Short: "Show an API key, without its secret", Args: one("key id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return keyCall("get key", get(at("keys", args[0])), func(ctx context.Context, c *client.Client) (*client.APIKey, error) {
				return c.Keys.Get(ctx, args[0])
			}).run(cmd, f)
		},
	}, someAPIKeys)
}

func keysRevokeCommand(f *clientFlags) *cobra.Command {
	var force bool
	cmd := completes(&cobra.Command{
		Use: "revoke ID", Short: "End an API key at once, at every gateway within 5 s", Args: one("key id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			query := url.Values{}
			if force {
				query.Set("force", "true")
			}
			return call[nothing]{
				doing: "revoke key", requests: remove(with(at("keys", args[0]), query)),
				ask: func(ctx context.Context, c *client.Client) (nothing, error) {
					return nothing{}, c.Keys.Revoke(ctx, args[0], force)
				},
			}.run(cmd, f)
		},
	}, someAPIKeys)
	cmd.Flags().BoolVar(&force, "force", false, "also the last key that has the scope admin")
	return cmd
}

func keysRotateCommand(f *clientFlags) *cobra.Command {
	var overlap time.Duration
	cmd := completes(&cobra.Command{Use: "rotate ID", Short: "Make a key in the place of another one, which goes on for a while; it is shown this once", Args: one("key id")}, someAPIKeys)
	cmd.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "how long the old key goes on")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body := map[string]string{"overlap": overlap.String()}
		return keyCall("rotate key", post(at("keys", args[0], "rotate"), body), func(ctx context.Context, c *client.Client) (*client.APIKey, error) {
			return c.Keys.Rotate(ctx, args[0], overlap)
		}).run(cmd, f)
	}
	return cmd
}

func showAPIKeys(out io.Writer, all []client.APIKey) error {
	t := newTable(out, "KEY", "STATE", "TENANT", "SCOPES", "LAST USED", "NAME")
	for _, k := range all {
		used := "never"
		if !k.LastUsedAt.IsZero() {
			used = age(time.Since(k.LastUsedAt)) + " ago"
		}
		t.row(k.KeyID, k.Status, k.Tenant, strings.Join(k.Scopes, " "), used, k.Name)
	}
	return t.flush()
}

func showAPIKey(out io.Writer, k *client.APIKey) error {
	t := newTable(out)
	t.field("id", k.KeyID)
	if k.Key != "" {
		t.field("key", k.Key+" (shown this once)")
	}
	t.field("state", k.Status)
	t.field("tenant", k.Tenant)
	t.field("scopes", strings.Join(k.Scopes, " "))
	t.field("name", k.Name)
	t.field("made", strings.TrimSuffix(when(k.CreatedAt)+" by "+k.CreatedBy, " by "))
	t.field("expires", when(k.ExpiresAt))
	t.field("revoked", when(k.RevokedAt))
	t.field("rotated to", k.RotatedTo)
	t.field("last used", when(k.LastUsedAt))
	return t.flush()
}

// when is a time as people read it, empty where there is none.
func when(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.Local().Format(time.DateTime)
}
