package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"agentmesh/gateway/problem"
	"agentmesh/shared/event"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/webhook"
)

// Delivery is one event on its way to one receiver, as clients see it.
type Delivery struct {
	DeliveryID string            `json:"delivery_id" doc:"Also the webhook-id of its requests."`
	EventID    string            `json:"event_id"`
	Type       event.Type        `json:"type"`
	TaskID     string            `json:"task_id,omitempty"`
	ActionID   string            `json:"action_id,omitempty" doc:"Of an action: the same as task_id."`
	Agent      string            `json:"agent,omitempty"`
	WebhookID  string            `json:"webhook_id,omitempty" doc:"The subscription; none for a callback."`
	URL        string            `json:"url,omitempty"`
	Status     webhook.Status    `json:"status" enum:"pending,retrying,delivered,dead,parked,canceled"`
	CreatedAt  time.Time         `json:"created_at"`
	UpdatedAt  *time.Time        `json:"updated_at,omitempty"`
	NextAt     *time.Time        `json:"next_attempt_at,omitempty"`
	Attempts   []DeliveryAttempt `json:"attempts"`
	Payload    json.RawMessage   `json:"payload,omitempty" doc:"What is sent, in GET /deliveries/{id}."`
	TraceID    string            `json:"trace_id,omitempty"`
}

// DeliveryAttempt is one request to a receiver.
type DeliveryAttempt struct {
	At         time.Time     `json:"at"`
	URL        string        `json:"url"`
	StatusCode int           `json:"status_code,omitempty"`
	DurationMS float64       `json:"duration_ms"`
	Class      webhook.Class `json:"class"`
	Error      string        `json:"error,omitempty"`
	Answer     string        `json:"answer,omitempty" doc:"The first 4 KiB of the answer's body."`
	Location   string        `json:"location,omitempty" doc:"Of a redirect; it is not followed."`
	NextAt     *time.Time    `json:"next_attempt_at,omitempty"`
}

// DeliveryList is a page of deliveries.
type DeliveryList struct {
	Deliveries []Delivery `json:"deliveries"`
	NextCursor string     `json:"next_cursor" doc:"Empty on the last page. A page may be short and still have a next one."`
	Scanned    int        `json:"scanned" doc:"How many records were looked at for this page."`
}

// RedeliverRequest is the body of POST /webhooks/{id}/redeliver; it may be left
// out.
type RedeliverRequest struct {
	Since    string           `json:"since,omitempty" format:"date-time" doc:"Events since this time; all when left out."`
	Statuses []webhook.Status `json:"statuses,omitempty" doc:"Deliveries with these statuses; dead and parked when left out."`
	Cursor   string           `json:"cursor,omitempty" doc:"The next_cursor of the answer before, to go on; since and statuses as before."`
}

// Redelivered says what comes again.
type Redelivered struct {
	Redelivered int        `json:"redelivered"`
	More        bool       `json:"more,omitempty" doc:"There may be more than one request sends again: repeat it with the next_cursor."`
	NextCursor  string     `json:"next_cursor,omitempty"`
	Deliveries  []Delivery `json:"deliveries,omitempty"`
}

func deliveryView(d *webhook.Delivery) Delivery {
	v := Delivery{
		DeliveryID: d.ID, EventID: d.EventID, Type: d.Type, TaskID: d.Source, Agent: d.Agent, WebhookID: d.Webhook, URL: d.URL,
		Status: d.Status, CreatedAt: d.CreatedAt, UpdatedAt: at(d.UpdatedAt), NextAt: at(d.NextAt),
		Attempts: []DeliveryAttempt{}, TraceID: telemetry.TraceIDOf(d.TraceParent),
	}
	switch {
	case d.Test:
		v.TaskID = ""
	case strings.HasPrefix(d.Source, task.PrefixAction):
		v.ActionID = d.Source
	}
	for _, a := range d.Attempts {
		v.URL = a.URL
		v.Attempts = append(v.Attempts, DeliveryAttempt{
			At: a.At, URL: a.URL, StatusCode: a.StatusCode, DurationMS: float64(a.Duration.Microseconds()) / 1000, Class: a.Class,
			Error: a.Error, Answer: a.Answer, Location: a.Location, NextAt: at(a.NextAt),
		})
	}
	return v
}

// listDeliveries is GET /deliveries.
func (g *Gateway) listDeliveries(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	limit := 50
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxPage {
			return mesh.Refuse(problem.ErrBadQuery, "limit is %q, allowed is 1 to %d.", mesh.Clip(s, 32), maxPage)
		}
		limit = n
	}
	status := webhook.Status(q.Get("status"))
	if status != "" && !status.Valid() {
		return mesh.Refuse(problem.ErrBadQuery, "status is %q, allowed are %v.", mesh.Clip(string(status), 32), webhook.Statuses)
	}
	bound := mesh.Digest("deliveries", string(status), q.Get("webhook_id"), q.Get("type"))
	at, err := mesh.DecodeCursor(q.Get("cursor"), bound)
	if err != nil {
		return err
	}
	match := func(d *webhook.Delivery) bool {
		return (status == "" || d.Status == status) && (q.Get("webhook_id") == "" || d.Webhook == q.Get("webhook_id")) &&
			(q.Get("type") == "" || string(d.Type) == q.Get("type"))
	}
	found, err := g.store.ListDeliveries(r.Context(), tenant, at, limit, match)
	if err != nil {
		return err
	}
	page := DeliveryList{Deliveries: make([]Delivery, 0, len(found.Items)), Scanned: found.Scanned}
	for _, d := range found.Items {
		page.Deliveries = append(page.Deliveries, deliveryView(d))
	}
	if found.Next > 0 {
		page.NextCursor = mesh.EncodeCursor(found.Next, bound)
		q.Set("cursor", page.NextCursor)
		w.Header().Set("Link", "<"+r.URL.Path+"?"+q.Encode()+`>; rel="next"`)
	}
	return writeJSON(w, http.StatusOK, page)
}

// deliveryOf reads a delivery by an id that a client sent.
func (g *Gateway) deliveryOf(ctx context.Context, id string) (*webhook.Delivery, error) {
	if !task.ValidDeliveryID(id) {
		return nil, webhook.ErrDeliveryNotFound
	}
	d, err := g.store.Delivery(ctx, tenant, "*", id)
	if errors.Is(err, webhook.ErrDeliveryNotFound) {
		return g.store.QueuedDelivery(ctx, tenant, id)
	}
	return d, err
}

// getDelivery is GET /deliveries/{id}.
func (g *Gateway) getDelivery(w http.ResponseWriter, r *http.Request) error {
	d, err := g.deliveryOf(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	v := deliveryView(d)
	v.Payload = d.Body
	return writeJSON(w, http.StatusOK, v)
}

// redeliver starts a delivery's schedule over, from now.
func (g *Gateway) redeliver(ctx context.Context, d *webhook.Delivery) (*webhook.Delivery, error) {
	if d.Webhook != "" {
		e, err := g.store.Webhook(ctx, d.Tenant, d.Webhook)
		if err != nil {
			return nil, err
		}
		if e.Disabled != nil && !d.Test {
			return nil, mesh.Refuse(mesh.ErrWebhookDisabled, "Enable it first: PATCH /webhooks/%s with {\"enabled\":true}.", e.ID)
		}
	}
	for range 5 {
		if d.Rev == 0 {
			return d, nil // it waits for its first attempt
		}
		d.Status, d.Failures, d.NextAt, d.UpdatedAt = webhook.Pending, 0, time.Time{}, task.Stamp(time.Now())
		err := g.store.SaveDelivery(ctx, d)
		if err == nil {
			return d, g.store.DeliverAgain(ctx, d)
		}
		if !errors.Is(err, task.ErrConflict) {
			return nil, err
		}
		if d, err = g.store.Delivery(ctx, d.Tenant, d.Source, d.ID); err != nil {
			return nil, err
		}
	}
	return nil, mesh.Refuse(mesh.ErrConflict, "The delivery is being attempted in this moment. Try again.")
}

// redeliverOne is POST /deliveries/{id}/redeliver.
func (g *Gateway) redeliverOne(w http.ResponseWriter, r *http.Request) error {
	ctx := context.WithoutCancel(r.Context())
	d, err := g.deliveryOf(ctx, r.PathValue("id"))
	if err == nil {
		d, err = g.redeliver(ctx, d)
	}
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/deliveries/"+d.ID)
	return writeJSON(w, http.StatusAccepted, deliveryView(d))
}

// deliveriesOf lists the deliveries of a task, those too that wait for their
// first attempt and are only in the queue.
func (g *Gateway) deliveriesOf(ctx context.Context, id string) ([]*webhook.Delivery, error) {
	t, err := g.store.Find(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	all, err := g.store.DeliveriesOf(ctx, tenant, id)
	if err != nil || t.Callback == nil {
		return all, err
	}
	f := event.Filter{}
	for _, name := range t.Callback.Events {
		f.Types = append(f.Types, event.Type(name))
	}
	events, err := event.Base(g.cfg.PublicURL).Of(t, 0, func(name event.Type) bool { return f.Match(name, t.Agent) })
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		want := webhook.DeliveryID(e.ID, webhook.Callback)
		if slices.ContainsFunc(all, func(d *webhook.Delivery) bool { return d.ID == want }) {
			continue
		}
		d, err := g.store.QueuedDelivery(ctx, tenant, want)
		if err == nil {
			all = append(all, d)
		} else if !errors.Is(err, webhook.ErrDeliveryNotFound) && !errors.Is(err, task.ErrBadRecord) {
			return nil, err
		}
	}
	slices.SortStableFunc(all, func(a, b *webhook.Delivery) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return all, nil
}

// actionDeliveries is GET /actions/{id}/deliveries.
func (g *Gateway) actionDeliveries(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	all, err := g.deliveriesOf(r.Context(), id)
	if err != nil {
		return err
	}
	page := DeliveryList{Deliveries: make([]Delivery, 0, len(all))}
	for _, d := range all {
		page.Deliveries = append(page.Deliveries, deliveryView(d))
	}
	return writeJSON(w, http.StatusOK, page)
}

// redeliverAction is POST /actions/{id}/redeliver: all that its callback was
// sent, again.
func (g *Gateway) redeliverAction(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	ctx := context.WithoutCancel(r.Context())
	all, err := g.deliveriesOf(ctx, id)
	if err != nil {
		return err
	}
	var again Redelivered
	for _, d := range all {
		if d.Webhook != "" {
			continue
		}
		d, err := g.redeliver(ctx, d)
		if err != nil {
			return err
		}
		again.Redelivered++
		again.Deliveries = append(again.Deliveries, deliveryView(d))
	}
	if again.Redelivered == 0 {
		return mesh.Refuse(mesh.ErrNothingToRedeliver, "Nothing was sent to the callback of this action yet.")
	}
	return writeJSON(w, http.StatusAccepted, again)
}

// maxRedeliver bounds one request to deliver again; the next goes on.
const maxRedeliver = 1000

// redeliverWebhook is POST /webhooks/{id}/redeliver: the events that a webhook
// missed since a time.
func (g *Gateway) redeliverWebhook(w http.ResponseWriter, r *http.Request) error {
	var req RedeliverRequest
	if err := g.readOptional(w, r, &req); err != nil {
		return err
	}
	var since time.Time
	if req.Since != "" {
		var err error
		if since, err = time.Parse(time.RFC3339, req.Since); err != nil {
			return mesh.RefuseFields(mesh.Field(`it must be a time such as "2026-05-19T10:30:00Z"`, "/since"))
		}
	}
	statuses := req.Statuses
	if len(statuses) == 0 {
		statuses = []webhook.Status{webhook.Dead, webhook.Parked}
	}
	for i, s := range statuses {
		if !s.Valid() {
			return mesh.RefuseFields(mesh.Field("it is "+strconv.Quote(mesh.Clip(string(s), 32))+", allowed are dead, parked, delivered, retrying, pending and canceled", "/statuses/"+strconv.Itoa(i)))
		}
	}
	ctx := context.WithoutCancel(r.Context())
	e, err := g.webhookOf(ctx, r.PathValue("id"))
	if err != nil {
		return err
	}
	if e.Disabled != nil {
		return mesh.Refuse(mesh.ErrWebhookDisabled, "Enable it first: PATCH /webhooks/%s with {\"enabled\":true}.", e.ID)
	}
	match := func(d *webhook.Delivery) bool {
		return d.Webhook == e.ID && !d.Test && slices.Contains(statuses, d.Status) && !d.CreatedAt.Before(since)
	}
	bound := mesh.Digest("redeliver", e.ID, req.Since, fmt.Sprint(statuses))
	next, err := mesh.DecodeCursor(req.Cursor, bound)
	if err != nil {
		return err
	}
	var again Redelivered
	for more := true; more && again.Redelivered < maxRedeliver; more = next > 0 {
		found, err := g.store.ListDeliveries(ctx, tenant, next, maxPage, match)
		if err != nil {
			return err
		}
		next = found.Next
		for _, d := range found.Items {
			if _, err := g.redeliver(ctx, d); err != nil {
				return err
			}
			again.Redelivered++
		}
	}
	if next > 0 {
		again.More, again.NextCursor = true, mesh.EncodeCursor(next, bound)
	}
	return writeJSON(w, http.StatusAccepted, again)
}

// testWithin is how long a test waits for its outcome: an attempt and a moment.
const (
	testWithin = 20 * time.Second
	testEvery  = 50 * time.Millisecond
)

// testWebhook is POST /webhooks/{id}/test: a delivery like any other, attempted
// once.
func (g *Gateway) testWebhook(w http.ResponseWriter, r *http.Request) error {
	e, err := g.webhookOf(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	if g.cfg.Guard == nil {
		return mesh.Refuse(mesh.ErrCallbacksOff, "Send the request to a gateway that takes callbacks.")
	}
	var faults []mesh.Invalid // the policy may have changed since the URL was accepted
	if blocked := mesh.CheckURL(g.cfg.Guard, e.URL, "/url", &faults); blocked != nil {
		return blocked
	}
	if len(faults) > 0 {
		return mesh.RefuseFields(faults...)
	}
	now := task.Stamp(time.Now())
	const name = event.Type("webhook.test")
	body, err := task.Marshal(struct {
		Type      event.Type `json:"type"`
		WebhookID string     `json:"webhook_id"`
		Timestamp time.Time  `json:"timestamp"`
		TraceID   string     `json:"trace_id,omitempty"`
	}{name, e.ID, now, telemetry.TraceID(r.Context())})
	if err != nil {
		return err
	}
	d := &webhook.Delivery{
		Tenant: tenant, Source: e.ID, EventID: e.ID + "-test-" + uuid.NewString(), Type: name, Webhook: e.ID, Body: body,
		Status: webhook.Pending, CreatedAt: now, Test: true, Depth: 1, TraceParent: telemetry.TraceParent(r.Context()), TraceState: telemetry.TraceState(r.Context()),
	}
	d.ID = webhook.DeliveryID(d.EventID, d.Receiver())
	if err := g.store.EnqueueDelivery(context.WithoutCancel(r.Context()), d, nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), testWithin)
	defer cancel()
	defer context.AfterFunc(g.closing, cancel)()
	tick := time.NewTicker(testEvery)
	defer tick.Stop()
	w.Header().Set("Location", "/deliveries/"+d.ID)
	for {
		rec, err := g.store.Delivery(ctx, tenant, d.Source, d.ID)
		if err == nil && rec.Status.Final() {
			return writeJSON(w, http.StatusOK, deliveryView(rec))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return writeJSON(w, http.StatusAccepted, deliveryView(d))
		}
	}
}
