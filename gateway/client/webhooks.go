package client

import (
	"agentmesh/gateway/api"
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tmaxmax/go-sse"
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

// CreateWebhook subscribes to events. The secret is in the answer, this once.
func (c *Client) CreateWebhook(ctx context.Context, r WebhookRequest) (*Webhook, error) {
	return c.sendWebhook(ctx, http.MethodPost, "/webhooks", r)
}

// UpdateWebhook changes what r names.
func (c *Client) UpdateWebhook(ctx context.Context, id string, r WebhookRequest) (*Webhook, error) {
	return c.sendWebhook(ctx, http.MethodPatch, "/webhooks/"+url.PathEscape(id), r)
}

// RotateSecret gives a webhook a new key, of the scheme (empty: as before). The
// old ones sign beside it for overlap.
func (c *Client) RotateSecret(ctx context.Context, id, scheme string, overlap time.Duration) (*Webhook, error) {
	return c.sendWebhook(ctx, http.MethodPost, "/webhooks/"+url.PathEscape(id)+"/rotate-secret", api.RotateRequest{Scheme: scheme, Overlap: overlap.String()})
}

func (c *Client) sendWebhook(ctx context.Context, method, path string, r any) (*Webhook, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var w Webhook
	err = c.call(ctx, method, path, jsonBody, body, &w)
	return &w, err
}

// Webhook reads a webhook.
func (c *Client) Webhook(ctx context.Context, id string) (*Webhook, error) {
	var w Webhook
	err := c.call(ctx, http.MethodGet, "/webhooks/"+url.PathEscape(id), nil, nil, &w)
	return &w, err
}

// Webhooks lists the webhooks.
func (c *Client) Webhooks(ctx context.Context) ([]Webhook, error) {
	var out api.WebhookList
	err := c.call(ctx, http.MethodGet, "/webhooks", nil, nil, &out)
	return out.Webhooks, err
}

// DeleteWebhook deletes a webhook.
func (c *Client) DeleteWebhook(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/webhooks/"+url.PathEscape(id), nil, nil, nil)
}

// TestWebhook sends a test event and returns what became of it.
func (c *Client) TestWebhook(ctx context.Context, id string) (*Delivery, error) {
	var d Delivery
	err := c.call(ctx, http.MethodPost, "/webhooks/"+url.PathEscape(id)+"/test", nil, nil, &d)
	return &d, err
}

// RedeliverWebhook sends a webhook again what died or was parked since a time,
// and returns how much that is.
func (c *Client) RedeliverWebhook(ctx context.Context, id string, since time.Time) (int, error) {
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

// DeliveryFilter chooses deliveries. Empty fields choose all.
type DeliveryFilter struct {
	Status    string
	WebhookID string
	Type      string
	Limit     int // of a page, 1..200; 0: 50
}

// Query is the filter as the gateway takes it.
func (f DeliveryFilter) Query() url.Values {
	q := url.Values{}
	for k, v := range map[string]string{"status": f.Status, "webhook_id": f.WebhookID, "type": f.Type} {
		if v != "" {
			q.Set(k, v)
		}
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return q
}

// Deliveries reads a page of deliveries, newest change first. next is empty
// after the last page.
func (c *Client) Deliveries(ctx context.Context, f DeliveryFilter, cursor string) (page []Delivery, next string, err error) {
	q := f.Query()
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	var out api.DeliveryList
	err = c.call(ctx, http.MethodGet, "/deliveries?"+q.Encode(), nil, nil, &out)
	return out.Deliveries, out.NextCursor, err
}

// ActionDeliveries lists what was sent of an action, and every attempt.
func (c *Client) ActionDeliveries(ctx context.Context, id string) ([]Delivery, error) {
	var out api.DeliveryList
	err := c.call(ctx, http.MethodGet, "/actions/"+url.PathEscape(id)+"/deliveries", nil, nil, &out)
	return out.Deliveries, err
}

// RedeliverAction sends the callbacks of an action again.
func (c *Client) RedeliverAction(ctx context.Context, id string) ([]Delivery, error) {
	var out api.DeliveryList
	err := c.call(ctx, http.MethodPost, "/actions/"+url.PathEscape(id)+"/redeliver", nil, nil, &out)
	return out.Deliveries, err
}

// Delivery reads a delivery with its payload.
func (c *Client) Delivery(ctx context.Context, id string) (*Delivery, error) {
	var d Delivery
	err := c.call(ctx, http.MethodGet, "/deliveries/"+url.PathEscape(id), nil, nil, &d)
	return &d, err
}

// Redeliver starts a delivery's schedule over.
func (c *Client) Redeliver(ctx context.Context, id string) (*Delivery, error) {
	var d Delivery
	err := c.call(ctx, http.MethodPost, "/deliveries/"+url.PathEscape(id)+"/redeliver", nil, nil, &d)
	return &d, err
}

// KeySet reads the public keys that sign what a tenant is sent; empty: default.
func (c *Client) KeySet(ctx context.Context, tenant string) ([]Key, error) {
	path := "/.well-known/webhooks/jwks.json"
	if tenant != "" {
		path += "?tenant=" + url.QueryEscape(tenant)
	}
	var out api.KeySet
	err := c.call(ctx, http.MethodGet, path, nil, nil, &out)
	return out.Keys, err
}

// MeshEvent is an event of any task, with the JSON that webhooks get.
type MeshEvent struct {
	ID   string // resumes after it; empty within the events of one change
	Type string // such as "task.completed"
	Data json.RawMessage
}

// MeshFilter chooses events. Empty fields choose all.
type MeshFilter struct {
	Types  []string
	Agents []string
	After  string // id of an event to go on after; empty: new events only
}

// MeshEvents follows the events of all tasks until ctx ends. A broken
// connection is taken up again where it was: an event may come twice, none is
// missed. After some time without success the error is yielded and the sequence
// ends.
func (c *Client) MeshEvents(ctx context.Context, f MeshFilter) iter.Seq2[MeshEvent, error] {
	return func(yield func(MeshEvent, error) bool) {
		q := url.Values{}
		if len(f.Types) > 0 {
			q.Set("type", strings.Join(f.Types, ","))
		}
		if len(f.Agents) > 0 {
			q.Set("agent", strings.Join(f.Agents, ","))
		}
		s := &stream{c: c, path: "/events?" + q.Encode(), last: f.After}
		err := s.read(ctx, func(raw sse.Event) (more bool) {
			e := MeshEvent{Type: raw.Type, Data: json.RawMessage(raw.Data)}
			if raw.LastEventID != s.last {
				e.ID, s.last = raw.LastEventID, raw.LastEventID
			}
			return len(raw.Data) == 0 || yield(e, nil)
		})
		if err != nil {
			yield(MeshEvent{}, err)
		}
	}
}
