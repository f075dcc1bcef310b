package gateway

import (
	"net/http"
	"time"

	"agentmesh/shared/event"
	"agentmesh/shared/mesh"
	"agentmesh/shared/webhook"
)

// WebhookRequest is the body of POST and PATCH /webhooks. A member that a PATCH
// leaves out stays as it is.
type WebhookRequest struct {
	URL               *string            `json:"url,omitempty" format:"uri" doc:"Where events are POSTed."`
	Description       *string            `json:"description,omitempty" maxLength:"1024"`
	Events            *[]string          `json:"events,omitempty" doc:"Types of events; milestones and outcomes when empty."`
	Agents            *[]string          `json:"agents,omitempty" doc:"Only of these agents; all when empty."`
	Headers           *map[string]string `json:"headers,omitempty" doc:"Up to 20, sent with each delivery; kept sealed. A PATCH replaces all of them."`
	ClientCertificate *string            `json:"client_certificate,omitempty" doc:"PEM: shown to the receiver (mutual TLS). Needs client_key."`
	ClientKey         *string            `json:"client_key,omitempty" doc:"PEM; kept sealed."`
	CA                *string            `json:"ca,omitempty" doc:"PEM: the certificate authority of the receiver, instead of the system's."`
	Enabled           *bool              `json:"enabled,omitempty" doc:"While it is false events are parked."`
	Scheme            webhook.Scheme     `json:"scheme,omitempty" enum:"v1,v1a" doc:"POST: how deliveries are signed, v1 (HMAC-SHA256, default) or v1a (ed25519)."`
	Secret            string             `json:"secret,omitempty" doc:"POST: a key of your own, whsec_... for v1, whsk_... for v1a; a new one is made when left out."`
}

// RotateRequest is the body of POST /webhooks/{id}/rotate-secret; it may be left
// out.
type RotateRequest struct {
	Scheme  webhook.Scheme `json:"scheme,omitempty" enum:"v1,v1a" doc:"Of the new key; that of the present one when left out."`
	Secret  string         `json:"secret,omitempty" doc:"A key of your own."`
	Overlap string         `json:"overlap,omitempty" example:"24h" doc:"How long the old keys go on signing beside the new one: 0s to 720h, 24h when left out."`
}

// Webhook is a webhook as clients see it.
type Webhook struct {
	WebhookID         string        `json:"webhook_id"`
	URL               string        `json:"url"`
	Description       string        `json:"description,omitempty"`
	Events            []event.Type  `json:"events" doc:"Empty: milestones and outcomes."`
	Agents            []string      `json:"agents" doc:"Empty: all."`
	Enabled           bool          `json:"enabled"`
	DisabledReason    string        `json:"disabled_reason,omitempty"`
	DisabledAt        *time.Time    `json:"disabled_at,omitempty"`
	Unreadable        string        `json:"unreadable,omitempty" doc:"Its secrets cannot be opened, so nothing is sent to it; and what to do."`
	Headers           []string      `json:"headers,omitempty" doc:"Their names; the values are secret."`
	ClientCertificate string        `json:"client_certificate,omitempty"`
	CA                string        `json:"ca,omitempty"`
	Keys              []webhook.Key `json:"keys" doc:"The current one first; all that have not expired sign."`
	Secret            string        `json:"secret,omitempty" doc:"Shown once, when the key is made: the shared secret of v1. Of v1a the public_key is all that receivers need."`
	CreatedAt         time.Time     `json:"created_at"`
	UpdatedAt         time.Time     `json:"updated_at"`
}

// WebhookList is the answer of GET /webhooks.
type WebhookList struct {
	Webhooks []Webhook `json:"webhooks"`
}

func (g *Gateway) webhookView(e *webhook.Endpoint, secret string) Webhook {
	v := Webhook{
		WebhookID: e.ID, URL: e.URL, Description: e.Description, Events: e.Events, Agents: e.Agents, Enabled: e.Disabled == nil,
		Headers: e.Headers, ClientCertificate: e.Certificate, CA: e.CA, Secret: secret, CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt,
		Keys: []webhook.Key{},
	}
	v.Keys = append(v.Keys, e.Signing(time.Now())...)
	if v.Events == nil {
		v.Events = []event.Type{}
	}
	if v.Agents == nil {
		v.Agents = []string{}
	}
	if e.Disabled != nil {
		v.DisabledReason, v.DisabledAt = e.Disabled.Reason, at(e.Disabled.At)
	}
	if lost := g.mesh.Webhooks.Unreadable(e); lost != nil {
		v.Unreadable = lost.Error()
	}
	return v
}

// createWebhook is POST /webhooks.
func (g *Gateway) createWebhook(w http.ResponseWriter, r *http.Request) error {
	var req WebhookRequest
	if err := g.readInto(w, r, &req); err != nil {
		return err
	}
	e, secret, err := g.mesh.Webhooks.Create(r.Context(), callerOf(r), mesh.WebhookSettings(req))
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/webhooks/"+e.ID)
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, http.StatusCreated, g.webhookView(e, secret))
}

// listWebhooks is GET /webhooks.
func (g *Gateway) listWebhooks(w http.ResponseWriter, r *http.Request) error {
	all, err := g.mesh.Webhooks.List(r.Context(), callerOf(r))
	if err != nil {
		return err
	}
	list := WebhookList{Webhooks: make([]Webhook, 0, len(all))}
	for _, e := range all {
		list.Webhooks = append(list.Webhooks, g.webhookView(e, ""))
	}
	return writeJSON(w, http.StatusOK, list)
}

// getWebhook is GET /webhooks/{id}.
func (g *Gateway) getWebhook(w http.ResponseWriter, r *http.Request) error {
	e, err := g.mesh.Webhooks.Get(r.Context(), callerOf(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, g.webhookView(e, ""))
}

// updateWebhook is PATCH /webhooks/{id}.
func (g *Gateway) updateWebhook(w http.ResponseWriter, r *http.Request) error {
	var req WebhookRequest
	if err := g.readInto(w, r, &req); err != nil {
		return err
	}
	e, err := g.mesh.Webhooks.Update(r.Context(), callerOf(r), r.PathValue("id"), mesh.WebhookSettings(req))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, g.webhookView(e, ""))
}

// rotateSecret is POST /webhooks/{id}/rotate-secret.
func (g *Gateway) rotateSecret(w http.ResponseWriter, r *http.Request) error {
	var req RotateRequest
	if err := g.readOptional(w, r, &req); err != nil {
		return err
	}
	rotation := mesh.Rotation{Scheme: req.Scheme, Secret: req.Secret}
	if req.Overlap != "" {
		overlap, err := time.ParseDuration(req.Overlap)
		if err != nil {
			overlap = -1 // any other text is out of range
		}
		rotation.Overlap = &overlap
	}
	e, secret, err := g.mesh.Webhooks.Rotate(r.Context(), callerOf(r), r.PathValue("id"), rotation)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, http.StatusOK, g.webhookView(e, secret))
}

// deleteWebhook is DELETE /webhooks/{id}.
func (g *Gateway) deleteWebhook(w http.ResponseWriter, r *http.Request) error {
	if err := g.mesh.Webhooks.Delete(r.Context(), callerOf(r), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// testWebhook is POST /webhooks/{id}/test.
func (g *Gateway) testWebhook(w http.ResponseWriter, r *http.Request) error {
	d, ended, err := g.mesh.Webhooks.Test(r.Context(), callerOf(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	status := http.StatusAccepted
	if ended {
		status = http.StatusOK
	}
	w.Header().Set("Location", deliveryURL(d.ID))
	return writeJSON(w, status, deliveryView(d))
}

// redeliverWebhook is POST /webhooks/{id}/redeliver.
func (g *Gateway) redeliverWebhook(w http.ResponseWriter, r *http.Request) error {
	var req RedeliverRequest
	if err := g.readOptional(w, r, &req); err != nil {
		return err
	}
	missed := mesh.Missed{Statuses: req.Statuses, Cursor: req.Cursor}
	if req.Since != "" {
		var err error
		if missed.Since, err = time.Parse(time.RFC3339, req.Since); err != nil {
			return mesh.RefuseFields(mesh.Field(`it must be a time such as "2026-05-19T10:30:00Z"`, "/since"))
		}
	}
	n, next, err := g.mesh.Webhooks.Redeliver(r.Context(), callerOf(r), r.PathValue("id"), missed)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, Redelivered{Redelivered: n, More: next != "", NextCursor: next})
}
