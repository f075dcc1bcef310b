package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"agentmesh/gateway/client"
)

func showWebhooks(out io.Writer, all []client.Webhook) error {
	t := newTable(out, "WEBHOOK", "STATE", "EVENTS", "URL")
	for _, w := range all {
		t.row(w.WebhookID, webhookState(&w), eventsOf(&w), w.URL)
	}
	return t.flush()
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

func showWebhook(out io.Writer, w *client.Webhook) error {
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
	return t.flush()
}
