package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"agentmesh/gateway/api"
)

// DeliveryFilter chooses deliveries. Empty fields choose all.
type DeliveryFilter struct {
	Status    string // one, or several separated by commas
	WebhookID string
	Type      string
	Class     string    // of the last attempt, such as "timeout"
	Since     time.Time // created then or later
	Limit     int       // of a page, 1..200; 0: 50
}

// Query is the filter as the gateway takes it.
func (f DeliveryFilter) Query() url.Values {
	q := url.Values{}
	for k, v := range map[string]string{"status": f.Status, "webhook_id": f.WebhookID, "type": f.Type, "class": f.Class} {
		if v != "" {
			q.Set(k, v)
		}
	}
	if !f.Since.IsZero() {
		q.Set("since", f.Since.Format(time.RFC3339Nano))
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return q
}

// List reads a page of deliveries, newest change first. next is empty
// after the last page.
func (c Deliveries) List(ctx context.Context, f DeliveryFilter, cursor string) (page []Delivery, next string, err error) {
	q := f.Query()
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	var out api.DeliveryList
	err = c.call(ctx, http.MethodGet, "/deliveries?"+q.Encode(), nil, nil, &out)
	return out.Deliveries, out.NextCursor, err
}

// Pages reads page after page of deliveries, newest change first.
func (c Deliveries) Pages(ctx context.Context, f DeliveryFilter) iter.Seq2[*api.DeliveryList, error] {
	return pages(ctx, c.wire, "/deliveries", f.Query(), func(p *api.DeliveryList) string { return p.NextCursor })
}

// Deliveries lists what was sent of an action, and every attempt.
func (c Actions) Deliveries(ctx context.Context, id string) ([]Delivery, error) {
	var out api.DeliveryList
	err := c.call(ctx, http.MethodGet, "/actions/"+url.PathEscape(id)+"/deliveries", nil, nil, &out)
	return out.Deliveries, err
}

// Redeliver sends the callbacks of an action again.
func (c Actions) Redeliver(ctx context.Context, id string) ([]Delivery, error) {
	var out api.DeliveryList
	err := c.call(ctx, http.MethodPost, "/actions/"+url.PathEscape(id)+"/redeliver", nil, nil, &out)
	return out.Deliveries, err
}

// Get reads a delivery with its payload.
func (c Deliveries) Get(ctx context.Context, id string) (*Delivery, error) {
	var d Delivery
	err := c.call(ctx, http.MethodGet, "/deliveries/"+url.PathEscape(id), nil, nil, &d)
	return &d, err
}

// Redeliver starts a delivery's schedule over.
func (c Deliveries) Redeliver(ctx context.Context, id string) (*Delivery, error) {
	var d Delivery
	err := c.call(ctx, http.MethodPost, "/deliveries/"+url.PathEscape(id)+"/redeliver", nil, nil, &d)
	return &d, err
}

// Deliveries lists what was sent of a task, or of an action.
func (c Tasks) Deliveries(ctx context.Context, id string) ([]Delivery, error) {
	var out api.DeliveryList
	err := c.call(ctx, http.MethodGet, "/tasks/"+url.PathEscape(id)+"/deliveries", nil, nil, &out)
	return out.Deliveries, err
}
