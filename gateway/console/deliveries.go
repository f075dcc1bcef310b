package console

import (
	"net/url"
	"time"

	"agentmesh/gateway/client"
)

var (
	// deliveriesScreen lists what was sent, deliveryScreen is one of them.
	deliveriesScreen = screen{
		name: "deliveries", path: "/deliveries", title: "Deliveries", load: loadDeliveries,
		live: []string{"deliveries-rows"}, every: 3 * time.Second,
	}
	deliveryScreen = screen{
		name: "delivery", path: "/deliveries/{id}", nav: "deliveries", load: loadDelivery, named: func(body any) string { return "Delivery " + short(body.(*client.Delivery).DeliveryID) },
		live: []string{"delivery-head", "delivery-attempts"}, every: 2 * time.Second,
	}
)

// deliveriesPage is a page of deliveries and its filter.
type deliveriesPage struct {
	Filter     deliveryFilter
	Deliveries []client.Delivery
	Next       string
	Rail       []rail
	Q          url.Values
}

type deliveryFilter struct{ Status, Webhook, Type, Class, Since string }

// Narrow reports whether it is more than a status.
func (f deliveryFilter) Narrow() bool {
	f.Status = ""
	return f != deliveryFilter{}
}

func loadDeliveries(v *visit) (any, error) {
	q := v.r.URL.Query()
	p := &deliveriesPage{Q: q, Filter: deliveryFilter{v.q("status"), v.q("webhook"), v.q("type"), v.q("class"), v.q("since")}}
	for _, one := range []struct{ status, text string }{{"", "All"}, {"pending", "Pending"}, {"retrying", "Retrying"}, {"delivered", "Delivered"}, {"dead", "Given up"}, {"parked", "Parked"}} {
		p.Rail = append(p.Rail, rail{one.status, one.text, with(q, "status", one.status), p.Filter.Status == one.status})
	}
	f := deliveryFilterOf(q, v.now())
	f.Limit = rowsMost
	all, next, err := v.api.Deliveries.List(v.ctx(), f, q.Get("cursor"))
	p.Deliveries, p.Next = all, older(q, next)
	return p, err
}

// deliveryFilterOf is the filter as the API takes it.
func deliveryFilterOf(q url.Values, now time.Time) client.DeliveryFilter {
	f := client.DeliveryFilter{Status: q.Get("status"), WebhookID: q.Get("webhook"), Type: q.Get("type"), Class: q.Get("class")}
	if d := sinces[q.Get("since")]; d > 0 {
		f.Since = now.Add(-d)
	}
	return f
}

// older is the query of the page behind a cursor; empty: there is none.
func older(q url.Values, cursor string) string {
	if cursor == "" {
		return ""
	}
	return with(q, "cursor", cursor)
}

func loadDelivery(v *visit) (any, error) { return v.api.Deliveries.Get(v.ctx(), v.id()) }

// lastAttempt is the newest one of a delivery; nil: there is none.
func lastAttempt(d client.Delivery) *client.DeliveryAttempt {
	if len(d.Attempts) == 0 {
		return nil
	}
	return &d.Attempts[len(d.Attempts)-1]
}

func redeliver(v *visit) (string, error) {
	if _, err := v.api.Deliveries.Redeliver(v.ctx(), v.id()); err != nil {
		return "", err
	}
	if back := nextPage(v.form("back")); back != "" {
		return backTo(back, "redelivered"), nil
	}
	return "deliveries/" + v.id() + "?said=redelivered", nil
}
