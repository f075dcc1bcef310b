package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

func webhookCommand() *cobra.Command {
	f := &clientFlags{}
	return f.bind(group("webhook", "Subscribe to events",
		webhookCreateCommand(f), webhookUpdateCommand(f), webhookListCommand(f), webhookGetCommand(f), webhookDeleteCommand(f),
		webhookRotateCommand(f), webhookTestCommand(f), webhookVerifyCommand(f), webhookRedeliverCommand(f)))
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
	completeFlag(cmd, "agents", someAgents)
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
		headers, err := headersOf(w.headers)
		if err != nil {
			return r, err
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

// headersOf reads headers, each "Name: value".
func headersOf(lines []string) (map[string]string, error) {
	headers := map[string]string{}
	for _, h := range lines {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, Usage(`header is %q, it must look like "Name: value"`, h)
		}
		headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return headers, nil
}

// webhookCall is a call that is answered by a webhook.
func webhookCall(doing string, requests []request, ask func(context.Context, *client.Client) (*client.Webhook, error)) call[*client.Webhook] {
	return call[*client.Webhook]{doing: doing, requests: requests, ask: ask, show: showWebhook}
}

func webhookCreateCommand(f *clientFlags) *cobra.Command {
	w := &webhookFlags{}
	cmd := &cobra.Command{Use: "create URL", Short: "Subscribe a URL to events; the secret is shown this once", Args: one("URL")}
	w.bind(cmd)
	cmd.Flags().StringVar(&w.scheme, "scheme", "v1", "how deliveries are signed: v1 (shared secret) or v1a (ed25519)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		w.url = args[0]
		r, err := w.request(cmd)
		if err != nil {
			return err
		}
		return webhookCall("create webhook", post("/webhooks", r), func(ctx context.Context, c *client.Client) (*client.Webhook, error) {
			return c.Webhooks.Create(ctx, r)
		}).run(cmd, f)
	}
	return cmd
}

func webhookUpdateCommand(f *clientFlags) *cobra.Command {
	w := &webhookFlags{}
	cmd := completes(&cobra.Command{Use: "update ID", Short: "Change a webhook, enable or disable it", Args: one("webhook id")}, someWebhooks)
	w.bind(cmd)
	cmd.Flags().StringVar(&w.url, "url", "", "where events are sent")
	cmd.Flags().BoolVar(&w.enable, "enable", false, "send events again; what was parked stays so until it is redelivered")
	cmd.Flags().BoolVar(&w.disable, "disable", false, "park events")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := w.request(cmd)
		if err != nil {
			return err
		}
		return webhookCall("update webhook", patch(at("webhooks", args[0]), r), func(ctx context.Context, c *client.Client) (*client.Webhook, error) {
			return c.Webhooks.Update(ctx, args[0], r)
		}).run(cmd, f)
	}
	return cmd
}

func webhookListCommand(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List webhooks", Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return call[[]client.Webhook]{
				doing: "list webhooks", requests: get("/webhooks"), show: showWebhooks,
				ask: func(ctx context.Context, c *client.Client) ([]client.Webhook, error) { return c.Webhooks.List(ctx) },
			}.run(cmd, f)
		},
	}
}

func webhookGetCommand(f *clientFlags) *cobra.Command {
	return completes(&cobra.Command{
		Use: "get ID", Short: "Show a webhook", Args: one("webhook id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return webhookCall("get webhook", get(at("webhooks", args[0])), func(ctx context.Context, c *client.Client) (*client.Webhook, error) {
				return c.Webhooks.Get(ctx, args[0])
			}).run(cmd, f)
		},
	}, someWebhooks)
}

func webhookDeleteCommand(f *clientFlags) *cobra.Command {
	return completes(&cobra.Command{
		Use: "delete ID", Short: "Delete a webhook; what is on its way to it is canceled", Args: one("webhook id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return call[nothing]{
				doing: "delete webhook", requests: remove(at("webhooks", args[0])),
				ask: func(ctx context.Context, c *client.Client) (nothing, error) {
					return nothing{}, c.Webhooks.Delete(ctx, args[0])
				},
			}.run(cmd, f)
		},
	}, someWebhooks)
}

func webhookRotateCommand(f *clientFlags) *cobra.Command {
	var scheme string
	var overlap time.Duration
	cmd := completes(&cobra.Command{Use: "rotate ID", Short: "Give a webhook a new key; the old ones sign beside it for a while", Args: one("webhook id")}, someWebhooks)
	cmd.Flags().StringVar(&scheme, "scheme", "", "of the new key: v1 or v1a; as before when left out")
	cmd.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "how long the old keys go on signing")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body := map[string]string{"overlap": overlap.String()}
		if scheme != "" {
			body["scheme"] = scheme
		}
		return webhookCall("rotate key", post(at("webhooks", args[0], "rotate-secret"), body), func(ctx context.Context, c *client.Client) (*client.Webhook, error) {
			return c.Webhooks.RotateSecret(ctx, args[0], scheme, overlap)
		}).run(cmd, f)
	}
	return cmd
}

func webhookTestCommand(f *clientFlags) *cobra.Command {
	return completes(&cobra.Command{
		Use: "test ID", Short: "Send a test event and show what became of it", Args: one("webhook id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return call[*client.Delivery]{
				doing: "test webhook", requests: post(at("webhooks", args[0], "test"), nil), show: showDelivery,
				ask: func(ctx context.Context, c *client.Client) (*client.Delivery, error) {
					return c.Webhooks.Test(ctx, args[0])
				},
				outcome: func(d *client.Delivery) error { return failedIf(d.Status != "delivered") },
			}.run(cmd, f)
		},
	}, someWebhooks)
}

func webhookRedeliverCommand(f *clientFlags) *cobra.Command {
	var since time.Duration
	cmd := completes(&cobra.Command{Use: "redeliver ID", Short: "Send a webhook again what died or was parked", Args: one("webhook id")}, someWebhooks)
	cmd.Flags().DurationVar(&since, "since", 0, "only events of this last while, such as 24h; all when left out")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var from time.Time
		body := map[string]string{}
		if since > 0 {
			from = time.Now().Add(-since)
			body["since"] = from.Format(time.RFC3339)
		}
		return call[int]{
			doing: "redeliver", requests: post(at("webhooks", args[0], "redeliver"), body),
			ask: func(ctx context.Context, c *client.Client) (int, error) {
				return c.Webhooks.Redeliver(ctx, args[0], from)
			},
			show: func(out io.Writer, n int) error {
				_, err := fmt.Fprintf(out, "%v deliveries come again\n", n)
				return err
			},
		}.run(cmd, f)
	}
	return cmd
}
