package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"agentmesh/gateway/api"
)

// The wire types, which the gateway writes.
type (
	// Webhook is a subscription to events.
	Webhook = api.Webhook
	// WebhookKey is what is shown of a signing key.
	WebhookKey = api.Key
	// WebhookRequest creates or changes a webhook. A field that a change leaves
	// nil stays as it is.
	WebhookRequest = api.WebhookRequest
	// Delivery is one event on its way to one receiver.
	Delivery = api.Delivery
	// DeliveryAttempt is one request to a receiver.
	DeliveryAttempt = api.DeliveryAttempt
	// Key is a public key that signs deliveries (RFC 8037).
	Key = api.Jwk
)

var jsonBody = http.Header{"Content-Type": {"application/json"}}

// Create subscribes to events. The secret is in the answer, this once.
func (c Webhooks) Create(ctx context.Context, r WebhookRequest) (*Webhook, error) {
	return c.sendWebhook(ctx, http.MethodPost, "/webhooks", r)
}

// Update changes what r names.
func (c Webhooks) Update(ctx context.Context, id string, r WebhookRequest) (*Webhook, error) {
	return c.sendWebhook(ctx, http.MethodPatch, "/webhooks/"+url.PathEscape(id), r)
}

// RotateSecret gives a webhook a new key, of the scheme (empty: as before). The
// old ones sign beside it for overlap.
func (c Webhooks) RotateSecret(ctx context.Context, id, scheme string, overlap time.Duration) (*Webhook, error) {
	return c.sendWebhook(ctx, http.MethodPost, "/webhooks/"+url.PathEscape(id)+"/rotate-secret", api.RotateRequest{Scheme: scheme, Overlap: overlap.String()})
}

func (c Webhooks) sendWebhook(ctx context.Context, method, path string, r any) (*Webhook, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var w Webhook
	err = c.call(ctx, method, path, jsonBody, body, &w)
	return &w, err
}

// Get reads a webhook.
func (c Webhooks) Get(ctx context.Context, id string) (*Webhook, error) {
	var w Webhook
	err := c.call(ctx, http.MethodGet, "/webhooks/"+url.PathEscape(id), nil, nil, &w)
	return &w, err
}

// List lists the webhooks.
func (c Webhooks) List(ctx context.Context) ([]Webhook, error) {
	var out api.WebhookList
	err := c.call(ctx, http.MethodGet, "/webhooks", nil, nil, &out)
	return out.Webhooks, err
}

// Delete deletes a webhook.
func (c Webhooks) Delete(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/webhooks/"+url.PathEscape(id), nil, nil, nil)
}

// Test sends a test event and returns what became of it.
func (c Webhooks) Test(ctx context.Context, id string) (*Delivery, error) {
	var d Delivery
	err := c.call(ctx, http.MethodPost, "/webhooks/"+url.PathEscape(id)+"/test", nil, nil, &d)
	return &d, err
}

// Redeliver sends a webhook again what died or was parked since a time,
// and returns how much that is.
func (c Webhooks) Redeliver(ctx context.Context, id string, since time.Time) (int, error) {
	var in api.RedeliverRequest
	if !since.IsZero() {
		in.Since = since.Format(time.RFC3339)
	}
	for n := 0; ; {
		body, err := json.Marshal(in)
		if err != nil {
			return n, err
		}
		var out api.Redelivered
		err = c.call(ctx, http.MethodPost, "/webhooks/"+url.PathEscape(id)+"/redeliver", jsonBody, body, &out)
		if n += out.Redelivered; err != nil || out.NextCursor == "" {
			return n, err
		}
		in.Cursor = out.NextCursor
	}
}

// KeySet reads the public keys that sign what a tenant is sent; empty: default.
func (c Webhooks) KeySet(ctx context.Context, tenant string) ([]Key, error) {
	path := "/.well-known/webhooks/jwks.json"
	if tenant != "" {
		path += "?tenant=" + url.QueryEscape(tenant)
	}
	var out api.KeySet
	err := c.call(ctx, http.MethodGet, path, nil, nil, &out)
	return out.Keys, err
}

// Verify says whether one of a webhook's keys has signed a request, whose headers and
// body are as its receiver got them.
func (c Webhooks) Verify(ctx context.Context, id string, headers map[string]string, body string) (*api.Verdict, error) {
	raw, err := json.Marshal(api.VerifyRequest{Headers: headers, Body: body})
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	var v api.Verdict
	err = c.call(ctx, http.MethodPost, "/webhooks/"+url.PathEscape(id)+"/verify", jsonBody, raw, &v)
	return &v, err
}
