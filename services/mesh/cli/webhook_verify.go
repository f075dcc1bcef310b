package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
)

func webhookVerifyCommand(f *clientFlags) *cobra.Command {
	var lines []string
	var text string
	cmd := completes(&cobra.Command{Use: "verify ID", Short: "Check whether one of a webhook's keys has signed a request", Args: one("webhook id")}, someWebhooks)
	cmd.Flags().StringArrayVar(&lines, "header", nil, `header of the request, as "Name: value": webhook-id, webhook-timestamp and webhook-signature`)
	cmd.Flags().StringVar(&text, "body", "", "its body, @file, or - for standard input")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		headers, err := headersOf(lines)
		if err != nil {
			return err
		}
		body, err := textFlag("body", text, cmd.InOrStdin())
		if err != nil {
			return err
		}
		return call[*api.Verdict]{
			doing: "verify", requests: post(at("webhooks", args[0], "verify"), api.VerifyRequest{Headers: headers, Body: string(body)}), show: showVerdict,
			ask: func(ctx context.Context, c *client.Client) (*api.Verdict, error) {
				return c.Webhooks.Verify(ctx, args[0], headers, string(body))
			},
			outcome: func(v *api.Verdict) error { return failedIf(!v.Valid) },
		}.run(cmd, f)
	}
	return cmd
}

func showVerdict(out io.Writer, v *api.Verdict) error {
	t := newTable(out)
	t.field("valid", fmt.Sprint(v.Valid))
	t.field("key", v.KeyID)
	t.field("sent", clock(v.SentAt))
	t.field("reason", v.Reason)
	t.field("detail", v.Detail)
	return t.flush()
}
