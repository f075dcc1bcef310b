package api

import (
	"encoding/json"
	"time"
)

// Delivery is one event on its way to one receiver, as clients see it.
type Delivery struct {
	DeliveryID string            `json:"delivery_id" doc:"Also the webhook-id of its requests."`
	EventID    string            `json:"event_id"`
	Type       string            `json:"type"`
	TaskID     string            `json:"task_id,omitempty"`
	ActionID   string            `json:"action_id,omitempty" doc:"Of an action: the same as task_id."`
	ScheduleID string            `json:"schedule_id,omitempty" doc:"Of an event of a schedule, which has no task."`
	Agent      string            `json:"agent,omitempty"`
	WebhookID  string            `json:"webhook_id,omitempty" doc:"The subscription; none for a callback."`
	PushID     string            `json:"push_id,omitempty" doc:"The push notification configuration of the task, over A2A."`
	URL        string            `json:"url,omitempty"`
	Status     string            `json:"status" enum:"pending,retrying,delivered,dead,parked,canceled"`
	CreatedAt  time.Time         `json:"created_at"`
	UpdatedAt  time.Time         `json:"updated_at,omitzero"`
	NextAt     time.Time         `json:"next_attempt_at,omitzero"`
	Attempts   []DeliveryAttempt `json:"attempts"`
	Payload    json.RawMessage   `json:"payload,omitempty" doc:"What is sent, in GET /deliveries/{id}."`
	TraceID    string            `json:"trace_id,omitempty"`
}

// DeliveryAttempt is one request to a receiver.
type DeliveryAttempt struct {
	At         time.Time `json:"at"`
	URL        string    `json:"url"`
	StatusCode int       `json:"status_code,omitempty"`
	DurationMS float64   `json:"duration_ms"`
	Class      string    `json:"class"`
	Error      string    `json:"error,omitempty"`
	Answer     string    `json:"answer,omitempty" doc:"The first 4 KiB of the answer's body."`
	Location   string    `json:"location,omitempty" doc:"Of a redirect; it is not followed."`
	NextAt     time.Time `json:"next_attempt_at,omitzero"`
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
	Since    string   `json:"since,omitempty" format:"date-time" doc:"Events since this time; all when left out."`
	Statuses []string `json:"statuses,omitempty" doc:"Deliveries with these statuses; dead and parked when left out."`
	Cursor   string   `json:"cursor,omitempty" doc:"The next_cursor of the answer before, to go on; since and statuses as before."`
}

// Redelivered says what comes again.
type Redelivered struct {
	Redelivered int        `json:"redelivered"`
	More        bool       `json:"more,omitempty" doc:"There may be more than one request sends again: repeat it with the next_cursor."`
	NextCursor  string     `json:"next_cursor,omitempty"`
	Deliveries  []Delivery `json:"deliveries,omitempty"`
}
