package mesh

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"agentmesh/shared/audit"
	"agentmesh/shared/auth"
	"agentmesh/shared/event"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/webhook"
)

// Missed says which deliveries of a webhook are asked for again.
type Missed struct {
	Since    time.Time        // zero: all
	Statuses []webhook.Status // empty: dead and parked
	Cursor   string           // of the answer before, to go on
}

// Bounds of one request to deliver again; the next one goes on.
const (
	maxRedeliver  = 1000
	redeliverPage = 200
	maxStatuses   = 16 // in a request
)

// Redeliver sends a webhook the deliveries again that it missed. It returns how
// many they are, and a cursor where there may be more than one request sends again.
func (c Webhooks) Redeliver(ctx context.Context, who auth.Caller, id webhook.ID, m Missed) (n int, next string, err error) {
	defer func() { c.audit(ctx, who, audit.WebhookRedeliver, string(id), err) }()
	if len(m.Statuses) == 0 {
		m.Statuses = []webhook.Status{webhook.Dead, webhook.Parked}
	}
	if len(m.Statuses) > maxStatuses {
		return 0, "", RefuseFields(Field("there are more than "+strconv.Itoa(maxStatuses), "/statuses"))
	}
	for i, s := range m.Statuses {
		if !s.Valid() {
			return 0, "", RefuseFields(Field("it is "+strconv.Quote(Clip(string(s), 32))+", allowed are dead, parked, delivered, retrying, pending and canceled", "/statuses/"+strconv.Itoa(i)))
		}
	}
	ctx = context.WithoutCancel(ctx)
	e, err := c.Get(ctx, who, id)
	if err != nil {
		return 0, "", err
	}
	if e.Disabled != nil {
		return 0, "", disabled(e)
	}
	bound := digest("redeliver", string(e.ID), m.Since.UTC().Format(time.RFC3339Nano), fmt.Sprint(m.Statuses))
	at, err := decodeRevision(m.Cursor, bound)
	if err != nil {
		return 0, "", err
	}
	match := func(d *webhook.Delivery) bool {
		return d.Webhook == e.ID && !d.Test && slices.Contains(m.Statuses, d.Status) && !d.CreatedAt.Before(m.Since)
	}
	q := store.Search[*webhook.Delivery]{Limit: redeliverPage, Match: match, Holds: DeliveryFilter{Webhook: e.ID}.holds()}
	for more := true; more && n < maxRedeliver; more = at > 0 {
		q.From = at
		found, err := c.store.Deliveries.List(ctx, who.Tenant, q)
		if err != nil {
			return n, "", err
		}
		at = found.Next
		for _, d := range found.Items {
			if _, err := Deliveries(c).redeliver(ctx, d); err != nil {
				return n, "", err
			}
			n++
		}
	}
	if at > 0 {
		next = encodeRevision(at, bound)
	}
	return n, next, nil
}

// How long a test waits for its outcome, which is an attempt and a moment.
const (
	testWithin = 20 * time.Second
	testEvery  = 50 * time.Millisecond
)

// testEvent is the type of the event of a test.
const testEvent = event.Type("webhook.test")

// Test sends a webhook a test event: a delivery like any other, attempted once. It
// waits a while for the outcome and reports whether it has come.
func (c Webhooks) Test(ctx context.Context, who auth.Caller, id webhook.ID) (d *webhook.Delivery, ended bool, err error) {
	defer func() { c.audit(ctx, who, audit.WebhookTest, string(id), err) }()
	e, err := c.Get(ctx, who, id)
	if err != nil {
		return nil, false, err
	}
	if c.guard == nil {
		return nil, false, callbacksOff()
	}
	var faults []Invalid // the policy may have changed since the URL was accepted
	if blocked := checkURL(c.guard, e.URL, "/url", &faults); blocked != nil {
		return nil, false, blocked
	}
	if len(faults) > 0 {
		return nil, false, RefuseFields(faults...)
	}
	release, err := c.mayTest(who, e.URL)
	if err != nil {
		return nil, false, err
	}
	defer release()
	if d, err = newTest(ctx, e); err != nil {
		return nil, false, err
	}
	if err := c.store.Deliveries.Enqueue(context.WithoutCancel(ctx), d); err != nil {
		return nil, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, testWithin)
	defer cancel()
	for {
		rec, err := c.store.Deliveries.Get(ctx, d.Tenant, d.Source, d.ID)
		if err == nil && rec.Status.Final() {
			return rec, true, nil
		}
		if !c.sleep(ctx, testEvery) {
			return d, false, nil
		}
	}
}

// mayTest refuses a test where too many have gone to the same host, whoever asked
// for them: the mesh is no means to flood one. The caller is held for the outcome.
func (c Webhooks) mayTest(who auth.Caller, to string) (release func(), err error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	release, err = Tenants(c).Hold(who, HeldWait)
	if err != nil {
		return nil, err
	}
	if p := c.limits.hosts.take(strings.ToLower(u.Hostname())); !p.ok {
		release()
		return nil, limited(ErrRateLimited, p.wait, "Tests go to one host once a second, and %d at once, whoever asks for them.", pingBurst)
	}
	return release, nil
}

// newTest makes the delivery of a test event.
func newTest(ctx context.Context, e *webhook.Endpoint) (*webhook.Delivery, error) {
	now := task.Stamp(time.Now())
	body, err := task.Marshal(struct {
		Type      event.Type `json:"type"`
		WebhookID webhook.ID `json:"webhook_id"`
		Timestamp time.Time  `json:"timestamp"`
		TraceID   string     `json:"trace_id,omitempty"`
	}{testEvent, e.ID, now, telemetry.TraceID(ctx)})
	if err != nil {
		return nil, err
	}
	d := &webhook.Delivery{
		Tenant: e.Tenant, Source: webhook.Source(e.ID), EventID: string(e.ID) + "-test-" + uuid.NewString(), Type: testEvent, Webhook: e.ID, Body: body,
		CreatedAt: now, Test: true, Depth: 1, TraceParent: telemetry.TraceParent(ctx), TraceState: telemetry.TraceState(ctx),
	}
	d.ID = webhook.NewDeliveryID(d.EventID, d.Receiver())
	return d, d.To(webhook.Pending)
}
