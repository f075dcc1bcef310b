package gateway

import (
	"context"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
	"agentmesh/shared/webhook"
)

// webhookCreation asks for a new webhook.
type webhookCreation struct {
	request
	Body api.WebhookRequest `body:"required"`
}

// webhookCreated is its answer, with the secret.
type webhookCreated struct {
	Body     *api.Webhook `status:"201"`
	Location string       `header:"Location" doc:"Where the webhook is read."`
	_        struct{}     `header:"Cache-Control: no-store"`
}

// createWebhook is POST /webhooks.
func (g *Gateway) createWebhook(ctx context.Context, in webhookCreation) (out webhookCreated, err error) {
	e, secret, err := g.mesh.Webhooks.Create(ctx, in.caller(), settings(in.Body))
	if err != nil {
		return out, err
	}
	return webhookCreated{Body: new(g.webhookView(e, secret)), Location: "/webhooks/" + string(e.ID)}, nil
}

func settings(r api.WebhookRequest) mesh.WebhookSettings {
	return mesh.WebhookSettings{
		URL: r.URL, Description: r.Description, Events: r.Events, Agents: r.Agents, Headers: r.Headers,
		ClientCertificate: r.ClientCertificate, ClientKey: r.ClientKey, CA: r.CA,
		Enabled: r.Enabled, Scheme: webhook.Scheme(r.Scheme), Secret: r.Secret,
	}
}

// listWebhooks is GET /webhooks.
func (g *Gateway) listWebhooks(ctx context.Context, in plain) (api.WebhookList, error) {
	all, err := g.mesh.Webhooks.List(ctx, in.caller())
	list := api.WebhookList{Webhooks: make([]api.Webhook, 0, len(all))}
	for _, e := range all {
		list.Webhooks = append(list.Webhooks, g.webhookView(e, ""))
	}
	return list, err
}

// onWebhook is a request about a webhook.
type onWebhook struct {
	request
	ID webhook.ID `path:"id"`
}

// getWebhook is GET /webhooks/{id}.
func (g *Gateway) getWebhook(ctx context.Context, in onWebhook) (api.Webhook, error) {
	e, err := g.mesh.Webhooks.Get(ctx, in.caller(), in.ID)
	if err != nil {
		return api.Webhook{}, err
	}
	return g.webhookView(e, ""), nil
}

// webhookChange asks for a change of a webhook.
type webhookChange struct {
	onWebhook
	Body api.WebhookRequest `body:"required"`
}

// updateWebhook is PATCH /webhooks/{id}.
func (g *Gateway) updateWebhook(ctx context.Context, in webhookChange) (api.Webhook, error) {
	e, err := g.mesh.Webhooks.Update(ctx, in.caller(), in.ID, settings(in.Body))
	if err != nil {
		return api.Webhook{}, err
	}
	return g.webhookView(e, ""), nil
}

// rotation asks for a new key.
type rotation struct {
	onWebhook
	Body api.RotateRequest `body:"optional"`
}

// rotateSecret is POST /webhooks/{id}/rotate-secret.
func (g *Gateway) rotateSecret(ctx context.Context, in rotation) (out fresh[api.Webhook], err error) {
	want := mesh.Rotation{Scheme: webhook.Scheme(in.Body.Scheme), Secret: in.Body.Secret}
	if in.Body.Overlap != "" {
		overlap, err := time.ParseDuration(in.Body.Overlap)
		if err != nil {
			overlap = -1 // any other text is out of range
		}
		want.Overlap = &overlap
	}
	e, secret, err := g.mesh.Webhooks.Rotate(ctx, in.caller(), in.ID, want)
	if err != nil {
		return out, err
	}
	return fresh[api.Webhook]{Body: new(g.webhookView(e, secret))}, nil
}

// deleteWebhook is DELETE /webhooks/{id}.
func (g *Gateway) deleteWebhook(ctx context.Context, in onWebhook) (deleted, error) {
	return deleted{Gone: true}, g.mesh.Webhooks.Delete(ctx, in.caller(), in.ID)
}

// tested is the answer of a test: what became of it, or that it goes on.
type tested struct {
	Ended    *api.Delivery `status:"200"`
	Open     *api.Delivery `status:"202"`
	Location string        `header:"Location" doc:"Where the delivery is read."`
}

// testWebhook is POST /webhooks/{id}/test.
func (g *Gateway) testWebhook(ctx context.Context, in onWebhook) (out tested, err error) {
	d, ended, err := g.mesh.Webhooks.Test(ctx, in.caller(), in.ID)
	if err != nil {
		return out, err
	}
	v := deliveryView(d)
	if out.Location = deliveryURL(d.ID); ended {
		out.Ended = &v
	} else {
		out.Open = &v
	}
	return out, nil
}

// missed asks for the events that a webhook missed.
type missed struct {
	onWebhook
	Body api.RedeliverRequest `body:"optional"`
}

// redeliverWebhook is POST /webhooks/{id}/redeliver.
func (g *Gateway) redeliverWebhook(ctx context.Context, in missed) (out redelivered, err error) {
	want := mesh.Missed{Cursor: in.Body.Cursor}
	for _, s := range in.Body.Statuses {
		want.Statuses = append(want.Statuses, webhook.Status(s))
	}
	if in.Body.Since != "" {
		if want.Since, err = time.Parse(time.RFC3339, in.Body.Since); err != nil {
			return out, mesh.RefuseFields(mesh.Field(`it must be a time such as "2026-05-19T10:30:00Z"`, "/since"))
		}
	}
	n, next, err := g.mesh.Webhooks.Redeliver(ctx, in.caller(), in.ID, want)
	return redelivered{&api.Redelivered{Redelivered: n, More: next != "", NextCursor: next}}, err
}
