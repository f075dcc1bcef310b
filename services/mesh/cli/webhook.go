package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

func webhookCommand() *cobra.Command {
	f := &clientFlags{}
	return group("webhook", "Subscribe to events", f,
		webhookCreateCommand(f), webhookUpdateCommand(f), webhookListCommand(f), webhookGetCommand(f), webhookDeleteCommand(f),
		webhookRotateCommand(f), webhookTestCommand(f), webhookRedeliverCommand(f))
}

// webhookFlags are the fields of a webhook.
type webhookFlags struct {
	url, description, scheme, certificate, key, ca string
	events, agents, headers                        []string
	enable, disable                                bool
}

func (w *webhookFlags) bind(cmd *cobra.Command) {
	p := cmd.Flags()
	p.StringVar(&w.description, "description", "", "what it is for")
	p.StringSliceVar(&w.events, "events", nil, "types of events, such as task.completed; milestones and outcomes when empty")
	p.StringSliceVar(&w.agents, "agents", nil, "only events of these agents; all when empty")
	p.StringArrayVar(&w.headers, "header", nil, `header to send, as "Name: value"; repeat it for more`)
	p.StringVar(&w.certificate, "cert", "", "file of the client certificate (PEM)")
	p.StringVar(&w.key, "key", "", "file of the client certificate's key (PEM)")
	p.StringVar(&w.ca, "ca", "", "file of the receiver's certificate authority (PEM)")
}

// request reads the flags that were set.
func (w *webhookFlags) request(cmd *cobra.Command) (r client.WebhookRequest, err error) {
	set := cmd.Flags().Changed
	if w.url != "" {
		r.URL = &w.url
	}
	if set("description") {
		r.Description = &w.description
	}
	if set("events") {
		r.Events = &w.events
	}
	if set("agents") {
		r.Agents = &w.agents
	}
	if set("header") {
		headers := map[string]string{}
		for _, h := range w.headers {
			name, value, ok := strings.Cut(h, ":")
			if !ok {
				return r, Usage(`header is %q, it must look like "Name: value"`, h)
			}
			headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
		r.Headers = &headers
	}
	for _, file := range []struct {
		name string
		to   **string
	}{{w.certificate, &r.ClientCertificate}, {w.key, &r.ClientKey}, {w.ca, &r.CA}} {
		if file.name == "" {
			continue
		}
		text, err := os.ReadFile(file.name)
		if err != nil {
			return r, fmt.Errorf("read PEM: %w", err)
		}
		pem := string(text)
		*file.to = &pem
	}
	yes, no := true, false
	switch {
	case w.enable && w.disable:
		return r, Usage("choose one of --enable and --disable")
	case w.enable:
		r.Enabled = &yes
	case w.disable:
		r.Enabled = &no
	}
	r.Scheme = w.scheme
	return r, nil
}

func webhookCreateCommand(f *clientFlags) *cobra.Command {
	w := &webhookFlags{}
	cmd := &cobra.Command{
		Use: "create URL", Short: "Subscribe a URL to events; the secret is shown this once", Args: anID("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w.url = args[0]
			r, err := w.request(cmd)
			if err != nil {
				return err
			}
			return f.run(cmd, "create webhook", request{
				method: http.MethodPost, path: "/webhooks", body: r, show: showWebhook,
				call: func(ctx context.Context, c *client.Client) (any, error) { return c.CreateWebhook(ctx, r) },
			})
		},
	}
	w.bind(cmd)
	cmd.Flags().StringVar(&w.scheme, "scheme", "v1", "how deliveries are signed: v1 (shared secret) or v1a (ed25519)")
	return cmd
}

func webhookUpdateCommand(f *clientFlags) *cobra.Command {
	w := &webhookFlags{}
	cmd := &cobra.Command{
		Use: "update ID", Short: "Change a webhook, enable or disable it", Args: anID("webhook id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := w.request(cmd)
			if err != nil {
				return err
			}
			return f.run(cmd, "update webhook", request{
				method: http.MethodPatch, path: "/webhooks/" + url.PathEscape(args[0]), body: r, show: showWebhook,
				call: func(ctx context.Context, c *client.Client) (any, error) { return c.UpdateWebhook(ctx, args[0], r) },
			})
		},
	}
	w.bind(cmd)
	cmd.Flags().StringVar(&w.url, "url", "", "where events are sent")
	cmd.Flags().BoolVar(&w.enable, "enable", false, "send events again; what was parked stays so until it is redelivered")
	cmd.Flags().BoolVar(&w.disable, "disable", false, "park events")
	return cmd
}

func webhookListCommand(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List webhooks", Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, "list webhooks", request{
				method: http.MethodGet, path: "/webhooks",
				call: func(ctx context.Context, c *client.Client) (any, error) { return c.Webhooks(ctx) },
				show: func(out io.Writer, v any) {
					all, _ := v.([]client.Webhook)
					t := newTable(out, "WEBHOOK", "STATE", "EVENTS", "URL")
					for _, w := range all {
						t.row(w.WebhookID, webhookState(&w), eventsOf(&w), w.URL)
					}
					_ = t.flush()
				},
			})
		},
	}
}

func webhookState(w *client.Webhook) string {
	if w.Enabled {
		return "enabled"
	}
	return "disabled"
}

func eventsOf(w *client.Webhook) string {
	if len(w.Events) == 0 {
		return "milestones and outcomes"
	}
	return strings.Join(w.Events, ",")
}

func showWebhook(out io.Writer, v any) {
	w, _ := v.(*client.Webhook)
	t := newTable(out)
	t.field("webhook", w.WebhookID)
	t.field("url", w.URL)
	t.field("description", w.Description)
	t.field("state", strings.TrimSpace(webhookState(w)+" "+w.DisabledReason))
	t.field("events", eventsOf(w))
	t.field("agents", strings.Join(w.Agents, ","))
	for _, k := range w.Keys {
		until := ""
		if !k.ExpiresAt.IsZero() {
			until = ", signs until " + k.ExpiresAt.Local().Format(time.DateTime)
		}
		t.field("key", fmt.Sprintf("%s %s %s%s", k.ID, k.Scheme, k.Public, until))
	}
	if w.Secret != "" {
		t.field("secret", w.Secret+" (shown this once)")
	}
	_ = t.flush()
}

func webhookGetCommand(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "Show a webhook", Args: anID("webhook id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, "get webhook", request{
				method: http.MethodGet, path: "/webhooks/" + url.PathEscape(args[0]), show: showWebhook,
				call: func(ctx context.Context, c *client.Client) (any, error) { return c.Webhook(ctx, args[0]) },
			})
		},
	}
}

func webhookDeleteCommand(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Short: "Delete a webhook; what is on its way to it is canceled", Args: anID("webhook id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, "delete webhook", request{
				method: http.MethodDelete, path: "/webhooks/" + url.PathEscape(args[0]),
				call: func(ctx context.Context, c *client.Client) (any, error) { return nil, c.DeleteWebhook(ctx, args[0]) },
				show: func(io.Writer, any) {},
			})
		},
	}
}

func webhookRotateCommand(f *clientFlags) *cobra.Command {
	var scheme string
	var overlap time.Duration
	cmd := &cobra.Command{
		Use: "rotate ID", Short: "Give a webhook a new key; the old ones sign beside it for a while", Args: anID("webhook id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]string{"overlap": overlap.String()}
			if scheme != "" {
				body["scheme"] = scheme
			}
			return f.run(cmd, "rotate key", request{
				method: http.MethodPost, path: "/webhooks/" + url.PathEscape(args[0]) + "/rotate-secret", body: body, show: showWebhook,
				call: func(ctx context.Context, c *client.Client) (any, error) {
					return c.RotateSecret(ctx, args[0], scheme, overlap)
				},
			})
		},
	}
	cmd.Flags().StringVar(&scheme, "scheme", "", "of the new key: v1 or v1a; as before when left out")
	cmd.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "how long the old keys go on signing")
	return cmd
}

func webhookTestCommand(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "test ID", Short: "Send a test event and show what became of it", Args: anID("webhook id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var d *client.Delivery
			err := f.run(cmd, "test webhook", request{
				method: http.MethodPost, path: "/webhooks/" + url.PathEscape(args[0]) + "/test", show: showDelivery,
				call: func(ctx context.Context, c *client.Client) (_ any, err error) {
					d, err = c.TestWebhook(ctx, args[0])
					return d, err
				},
			})
			if err == nil && d != nil && d.Status != "delivered" {
				return &ExitError{Code: ExitFailed}
			}
			return err
		},
	}
}

func webhookRedeliverCommand(f *clientFlags) *cobra.Command {
	var since time.Duration
	cmd := &cobra.Command{
		Use: "redeliver ID", Short: "Send a webhook again what died or was parked", Args: anID("webhook id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var from time.Time
			body := map[string]string{}
			if since > 0 {
				from = time.Now().Add(-since)
				body["since"] = from.Format(time.RFC3339)
			}
			return f.run(cmd, "redeliver", request{
				method: http.MethodPost, path: "/webhooks/" + url.PathEscape(args[0]) + "/redeliver", body: body,
				call: func(ctx context.Context, c *client.Client) (any, error) {
					return c.RedeliverWebhook(ctx, args[0], from)
				},
				show: func(out io.Writer, v any) { fmt.Fprintf(out, "%v deliveries come again\n", v) },
			})
		},
	}
	cmd.Flags().DurationVar(&since, "since", 0, "only events of this last while, such as 24h; all when left out")
	return cmd
}
