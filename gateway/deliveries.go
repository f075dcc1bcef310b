package gateway

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

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

func deliveryViews(all []*webhook.Delivery) []Delivery {
	views := make([]Delivery, 0, len(all))
	for _, d := range all {
		views = append(views, deliveryView(d))
	}
	return views
}

func deliveryURL(id string) string { return "/deliveries/" + id }

// listDeliveries is GET /deliveries.
func (g *Gateway) listDeliveries(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	limit, err := pageLimit(q)
	if err != nil {
		return err
	}
	f := mesh.DeliveryFilter{Status: webhook.Status(q.Get("status")), Webhook: q.Get("webhook_id"), Type: event.Type(q.Get("type"))}
	if f.Status != "" && !f.Status.Valid() {
		return mesh.Refuse(problem.ErrBadQuery, "status is %q, allowed are %v.", mesh.Clip(string(f.Status), 32), webhook.Statuses)
	}
	found, err := g.mesh.Deliveries.List(r.Context(), callerOf(r), f, limit, q.Get("cursor"))
	if err != nil {
		return err
	}
	if found.Next != "" {
		q.Set("cursor", found.Next)
		w.Header().Set("Link", "<"+r.URL.Path+"?"+q.Encode()+`>; rel="next"`)
	}
	return writeJSON(w, http.StatusOK, DeliveryList{Deliveries: deliveryViews(found.Deliveries), NextCursor: found.Next, Scanned: found.Scanned})
}

// getDelivery is GET /deliveries/{id}.
func (g *Gateway) getDelivery(w http.ResponseWriter, r *http.Request) error {
	d, err := g.mesh.Deliveries.Get(r.Context(), callerOf(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	v := deliveryView(d)
	v.Payload = d.Body
	return writeJSON(w, http.StatusOK, v)
}

// redeliverOne is POST /deliveries/{id}/redeliver.
func (g *Gateway) redeliverOne(w http.ResponseWriter, r *http.Request) error {
	d, err := g.mesh.Deliveries.Redeliver(r.Context(), callerOf(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	w.Header().Set("Location", deliveryURL(d.ID))
	return writeJSON(w, http.StatusAccepted, deliveryView(d))
}

// actionDeliveries is GET /actions/{id}/deliveries.
func (g *Gateway) actionDeliveries(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	all, err := g.mesh.Deliveries.Of(r.Context(), callerOf(r), id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, DeliveryList{Deliveries: deliveryViews(all)})
}

// redeliverAction is POST /actions/{id}/redeliver: all that its callback was
// sent, again.
func (g *Gateway) redeliverAction(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	again, err := g.mesh.Deliveries.RedeliverTask(r.Context(), callerOf(r), id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, Redelivered{Redelivered: len(again), Deliveries: deliveryViews(again)})
}
