package gateway

import (
	"context"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/webhook"
)

// webhooks are the operations on webhooks.
type webhooks struct{ mesh *mesh.Mesh }

func (h webhooks) routes() []route {
	const one = "/webhooks/{id}"
	return []route{
		operation("POST", "/webhooks", auth.WebhooksWrite, "createWebhook", "Subscribe to events; the secret is shown this once", h.createWebhook,
			mesh.ErrCallbackBlocked, mesh.ErrTooManyWebhooks, mesh.ErrConflict, mesh.ErrCallbacksOff),
		operation("GET", "/webhooks", auth.WebhooksRead, "listWebhooks", "List webhooks", h.listWebhooks),
		operation("GET", one, auth.WebhooksRead, "getWebhook", "Read a webhook", h.getWebhook, mesh.ErrWebhookNotFound),
		operation("PATCH", one, auth.WebhooksWrite, "updateWebhook", "Change a webhook, enable or disable it", h.updateWebhook,
			mesh.ErrWebhookNotFound, mesh.ErrCallbackBlocked, mesh.ErrWebhookUnreadable, mesh.ErrConflict, mesh.ErrCallbacksOff),
		operation("DELETE", one, auth.WebhooksWrite, "deleteWebhook", "Delete a webhook; what is on its way to it is canceled", h.deleteWebhook, mesh.ErrWebhookNotFound, mesh.ErrConflict),
		operation("POST", one+"/rotate-secret", auth.WebhooksWrite, "rotateSecret", "Give a webhook a new key; the old ones sign beside it for a while", h.rotateSecret,
			mesh.ErrWebhookNotFound, mesh.ErrConflict, mesh.ErrCallbacksOff),
		operation("POST", one+"/test", auth.WebhooksWrite, "testWebhook", "Send a test event, once, and answer with what became of it", h.testWebhook,
			mesh.ErrWebhookNotFound, mesh.ErrCallbackBlocked, mesh.ErrValidationFailed, mesh.ErrCallbacksOff, mesh.ErrTooManyWaits),
		operation("POST", one+"/verify", auth.WebhooksRead, "verifySignature", "Check whether one of a webhook's keys has signed a request", h.verify,
			mesh.ErrWebhookNotFound, mesh.ErrWebhookUnreadable, mesh.ErrCallbacksOff, mesh.ErrTooLarge),
		operation("POST", one+"/redeliver", auth.DeliveriesWrite, "redeliverWebhook", "Send a webhook again what it missed", h.redeliverWebhook,
			mesh.ErrWebhookNotFound, mesh.ErrWebhookDisabled, mesh.ErrBadCursor, mesh.ErrConflict),
	}
}

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
func (h webhooks) createWebhook(ctx context.Context, in webhookCreation) (out webhookCreated, err error) {
	e, secret, err := h.mesh.Webhooks.Create(ctx, in.caller(), settings(in.Body))
	if err != nil {
		return out, err
	}
	return webhookCreated{Body: new(h.webhookView(e, secret)), Location: "/webhooks/" + string(e.ID)}, nil
}

func settings(r api.WebhookRequest) mesh.WebhookSettings {
	return mesh.WebhookSettings{
		URL: r.URL, Description: r.Description, Events: r.Events, Agents: r.Agents, Headers: r.Headers,
		ClientCertificate: r.ClientCertificate, ClientKey: r.ClientKey, CA: r.CA,
		Enabled: r.Enabled, Scheme: webhook.Scheme(r.Scheme), Secret: r.Secret,
	}
}

// listWebhooks is GET /webhooks.
func (h webhooks) listWebhooks(ctx context.Context, in plain) (api.WebhookList, error) {
	all, err := h.mesh.Webhooks.List(ctx, in.caller())
	list := api.WebhookList{Webhooks: make([]api.Webhook, 0, len(all))}
	for _, e := range all {
		list.Webhooks = append(list.Webhooks, h.webhookView(e, ""))
	}
	return list, err
}

// onWebhook is a request about a webhook.
type onWebhook struct {
	request
	ID webhook.ID `path:"id"`
}

// getWebhook is GET /webhooks/{id}.
func (h webhooks) getWebhook(ctx context.Context, in onWebhook) (api.Webhook, error) {
	e, err := h.mesh.Webhooks.Get(ctx, in.caller(), in.ID)
	if err != nil {
		return api.Webhook{}, err
	}
	return h.webhookView(e, ""), nil
}

// webhookChange asks for a change of a webhook.
type webhookChange struct {
	onWebhook
	Body api.WebhookRequest `body:"required"`
}

// updateWebhook is PATCH /webhooks/{id}.
func (h webhooks) updateWebhook(ctx context.Context, in webhookChange) (api.Webhook, error) {
	e, err := h.mesh.Webhooks.Update(ctx, in.caller(), in.ID, settings(in.Body))
	if err != nil {
		return api.Webhook{}, err
	}
	return h.webhookView(e, ""), nil
}

// rotation asks for a new key.
type rotation struct {
	onWebhook
	Body api.RotateRequest `body:"optional"`
}

// rotateSecret is POST /webhooks/{id}/rotate-secret.
func (h webhooks) rotateSecret(ctx context.Context, in rotation) (out fresh[api.Webhook], err error) {
	want := mesh.Rotation{Scheme: webhook.Scheme(in.Body.Scheme), Secret: in.Body.Secret}
	if in.Body.Overlap != "" {
		overlap, err := time.ParseDuration(in.Body.Overlap)
		if err != nil {
			overlap = -1 // any other text is out of range
		}
		want.Overlap = &overlap
	}
	e, secret, err := h.mesh.Webhooks.Rotate(ctx, in.caller(), in.ID, want)
	if err != nil {
		return out, err
	}
	return fresh[api.Webhook]{Body: new(h.webhookView(e, secret))}, nil
}

// deleteWebhook is DELETE /webhooks/{id}.
func (h webhooks) deleteWebhook(ctx context.Context, in onWebhook) (deleted, error) {
	return deleted{Gone: true}, h.mesh.Webhooks.Delete(ctx, in.caller(), in.ID)
}

// tested is the answer of a test: what became of it, or that it goes on.
type tested struct {
	Ended    *api.Delivery `status:"200"`
	Open     *api.Delivery `status:"202"`
	Location string        `header:"Location" doc:"Where the delivery is read."`
}

// testWebhook is POST /webhooks/{id}/test.
func (h webhooks) testWebhook(ctx context.Context, in onWebhook) (out tested, err error) {
	d, ended, err := h.mesh.Webhooks.Test(ctx, in.caller(), in.ID)
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
func (h webhooks) redeliverWebhook(ctx context.Context, in missed) (out redelivered, err error) {
	want := mesh.Missed{Cursor: in.Body.Cursor}
	for _, s := range in.Body.Statuses {
		want.Statuses = append(want.Statuses, webhook.Status(s))
	}
	if in.Body.Since != "" {
		if want.Since, err = readTime(in.Body.Since); err != nil {
			return out, mesh.RefuseFields(mesh.Field(`it must be a time such as "2026-05-19T10:30:00Z"`, "/since"))
		}
	}
	n, next, err := h.mesh.Webhooks.Redeliver(ctx, in.caller(), in.ID, want)
	return redelivered{&api.Redelivered{Redelivered: n, More: next != "", NextCursor: next}}, err
}

func (h webhooks) webhookView(e *webhook.Endpoint, secret string) api.Webhook {
	v := api.Webhook{
		WebhookID: string(e.ID), URL: shownURL(e.URL), Description: e.Description, Events: make([]string, 0, len(e.Events)), Agents: e.Agents, Enabled: e.Disabled == nil,
		Headers: e.Headers, ClientCertificate: e.Certificate, CA: e.CA, Secret: secret, CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt,
		Keys: []api.Key{},
	}
	for _, k := range e.Signing(time.Now()) {
		v.Keys = append(v.Keys, api.Key{ID: k.ID, Scheme: string(k.Scheme), Public: k.Public, CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt})
	}
	for _, name := range e.Events {
		v.Events = append(v.Events, string(name))
	}
	if v.Agents == nil {
		v.Agents = []string{}
	}
	if e.Disabled != nil {
		v.DisabledReason, v.DisabledAt = e.Disabled.Reason, e.Disabled.At
	}
	if lost := h.mesh.Webhooks.Unreadable(e); lost != nil {
		v.Unreadable = lost.Error()
	}
	return v
}
