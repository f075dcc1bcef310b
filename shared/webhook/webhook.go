// Package webhook holds who is told of events and what became of telling them:
// an [Endpoint] is a subscription, a [Delivery] one event on its way to one
// receiver, with every attempt on record.
//
// It knows neither HTTP nor JetStream, and no secret in the clear: those are
// sealed by whoever has the key.
package webhook

import (
	"errors"
	"fmt"
	"time"

	"agentmesh/shared/event"
	"agentmesh/shared/task"
)

// Errors of endpoints and deliveries; ask with errors.Is.
var (
	ErrNotFound = errors.New("webhook not found")
	// ErrTooMany is a webhook more than a tenant may have.
	ErrTooMany = errors.New("there are too many webhooks")
	// ErrDeliveryNotFound is a delivery that is not known, or past its retention.
	ErrDeliveryNotFound = errors.New("delivery not found")
	// ErrBlocked is an address that the egress policy forbids.
	ErrBlocked = errors.New("the address is blocked")
	// ErrURL is a URL that is refused for its form, wrapped with what is wrong.
	ErrURL = errors.New("the URL is not allowed")
	// ErrKey is a signing key that is refused, wrapped with what is wrong.
	ErrKey = errors.New("the key is not allowed")
	// ErrUnreadable are secrets that cannot be opened, all or some of them, wrapped
	// with which and what to do.
	ErrUnreadable = errors.New("its secrets cannot be opened")
	// ErrTransition is a change of a delivery's status that the table does not have.
	ErrTransition = errors.New("transition not allowed")
)

// Scheme is how an endpoint's deliveries are signed, by Standard Webhooks.
type Scheme string

// The schemes.
const (
	V1  Scheme = "v1"  // HMAC-SHA256 with a shared secret
	V1a Scheme = "v1a" // ed25519; receivers need the public key only
)

// Endpoint is a receiver that subscribes to events of a tenant.
type Endpoint struct {
	ID          ID           `json:"webhook_id"`
	Tenant      string       `json:"tenant"`
	URL         string       `json:"url"`                  // as it may be shown
	URLSealed   bool         `json:"url_sealed,omitempty"` // the whole of it is in Sealed
	Description string       `json:"description,omitempty"`
	Events      []event.Type `json:"events,omitempty"` // none: milestones and outcomes
	Agents      []string     `json:"agents,omitempty"` // none: all
	Disabled    *Disabled    `json:"disabled,omitempty"`
	Keys        []Key        `json:"keys"`                  // the current one first
	Headers     []string     `json:"headers,omitempty"`     // names; the values are sealed
	Certificate string       `json:"certificate,omitempty"` // PEM, of the client; its key is sealed
	CA          string       `json:"ca,omitempty"`          // PEM; trusted instead of the system's
	Sealed      []byte       `json:"sealed"`                // Secrets
	CreatedAt   time.Time    `json:"created_at"`
	UpdatedAt   time.Time    `json:"updated_at"`

	Rev uint64 `json:"-"` // bucket revision this copy was read or written at
}

// Disabled says why and since when an endpoint gets nothing. Its events are
// parked meanwhile.
type Disabled struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Key is what may be shown of a signing key.
type Key struct {
	ID        string    `json:"key_id"`
	Scheme    Scheme    `json:"scheme"`
	Public    string    `json:"public_key,omitempty"` // of v1a: whpk_...
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero: never
}

// Expired reports whether the key signs no more.
func (k Key) Expired(now time.Time) bool { return !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt) }

// Signing are the keys that have not expired, the current one first.
func (e *Endpoint) Signing(now time.Time) (keys []Key) {
	for _, k := range e.Keys {
		if !k.Expired(now) {
			keys = append(keys, k)
		}
	}
	return keys
}

// Secrets is what of an endpoint is stored sealed.
type Secrets struct {
	Keys      map[string]string `json:"keys"` // by key id: whsec_... or whsk_...
	Headers   map[string]string `json:"headers,omitempty"`
	ClientKey string            `json:"client_key,omitempty"` // PEM
	URL       string            `json:"url,omitempty"`        // the whole of it, where the endpoint's leaves something out
}

// Lost says what of an endpoint's secrets s does not have; nil when it has all.
func (e *Endpoint) Lost(s Secrets) error {
	for _, k := range e.Keys {
		if s.Keys[k.ID] == "" {
			return fmt.Errorf("%w: give it a new one with rotate-secret", ErrUnreadable)
		}
	}
	for _, name := range e.Headers {
		if _, ok := s.Headers[name]; !ok {
			return fmt.Errorf("%w: the values of its headers are lost, set headers again", ErrUnreadable)
		}
	}
	if e.URLSealed && s.URL == "" {
		return fmt.Errorf("%w: its URL is lost, set url again", ErrUnreadable)
	}
	if e.Certificate != "" && s.ClientKey == "" {
		return fmt.Errorf("%w: the key of its client certificate is lost, set client_certificate and client_key again", ErrUnreadable)
	}
	return nil
}

// Purpose is what the endpoint's secrets are sealed for.
func (e *Endpoint) Purpose() string { return "webhook " + e.Tenant + " " + string(e.ID) }

// Filter is what the endpoint wants.
func (e *Endpoint) Filter() event.Filter { return event.Filter{Types: e.Events, Agents: e.Agents} }

// Delivery is one event on its way to one receiver. The same JSON is the queue
// message, as long as nothing was attempted, and from then on the record.
type Delivery struct {
	ID      DeliveryID `json:"delivery_id"` // also the webhook-id
	Tenant  string     `json:"tenant"`
	Source  Source     `json:"source"` // the task or schedule, or of a test the webhook
	EventID string     `json:"event_id"`
	Type    event.Type `json:"type"`
	Agent   string     `json:"agent,omitempty"`

	// Webhook is the subscription, empty for a callback.
	Webhook   ID     `json:"webhook_id,omitempty"`
	URL       string `json:"url,omitempty"`        // of a callback, as it may be shown
	SealedURL []byte `json:"sealed_url,omitempty"` // the whole of it, where URL is not
	SecretRef ID     `json:"secret_ref,omitempty"` // of a callback: the webhook whose keys sign
	// Push is the push configuration of the task, in whose form the body is. URL is
	// as it was then: where it goes is read when it is sent.
	Push string `json:"push_id,omitempty"`

	Body      []byte    `json:"body"`            // frozen when the event was read
	Depth     int       `json:"depth,omitempty"` // of the chain of events: one more than its task's
	Status    Status    `json:"status"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at,omitzero"`

	// NextAt is when it is attempted next, zero: at once.
	NextAt time.Time `json:"next_attempt_at,omitzero"`
	// Failures counts the failed attempts of the present round of the schedule:
	// asking for another delivery starts it over.
	Failures int       `json:"failures,omitempty"`
	Attempts []Attempt `json:"attempts,omitempty"` // the newest MaxAttempts
	Signed   int64     `json:"signed,omitempty"`   // highest timestamp sent, Unix seconds
	Test     bool      `json:"test,omitempty"`     // attempted once, also while disabled

	TraceParent string `json:"traceparent,omitempty"` // W3C, of the task
	TraceState  string `json:"tracestate,omitempty"`
	// Cause and Previous are spans in W3C form, where they were recorded: the
	// attempt of the task that made the event, and the last attempt of this
	// delivery. An attempt links to both.
	Cause    string `json:"cause_traceparent,omitempty"`
	Previous string `json:"previous_traceparent,omitempty"`

	Rev uint64 `json:"-"` // bucket revision, 0: there is no record yet
}

// DepthHeader is the header of a delivery that says how many events lie behind it.
// A receiver that makes a task because of it passes it on.
const DepthHeader = "Mesh-Event-Depth"

// MaxAttempts bounds the attempts kept of a delivery.
const MaxAttempts = 50

// Attempt is one request to a receiver.
type Attempt struct {
	At         time.Time     `json:"at"`
	URL        string        `json:"url"`
	StatusCode int           `json:"status_code,omitempty"` // 0: no answer
	Duration   time.Duration `json:"duration_ns"`
	Class      Class         `json:"class"`
	Error      string        `json:"error,omitempty"`
	Answer     string        `json:"answer,omitempty"`   // its first 4 KiB
	Location   string        `json:"location,omitempty"` // of a redirect, which is not followed
	// NextAt is when the next attempt was set for.
	NextAt time.Time `json:"next_attempt_at,omitzero"`
}

// Class is what an attempt came to.
type Class string

// The classes of attempts.
const (
	ClassDelivered   Class = "delivered"
	ClassConfig      Class = "config_error"      // the receiver's or the endpoint's settings are wrong
	ClassThrottled   Class = "throttled"         // 408, 425, 429
	ClassServer      Class = "server_error"      // 5xx
	ClassRedirect    Class = "redirect"          // 3xx: never followed
	ClassTimeout     Class = "timeout"           // no whole answer in time
	ClassConnection  Class = "connection_failed" // refused, reset, no such name
	ClassTLS         Class = "tls_error"         // certificates, of either side
	ClassBlocked     Class = "callback_blocked"  // the egress policy forbids the address
	ClassAborted     Class = "aborted"           // the receiver wants this event no more
	ClassGone        Class = "gone"              // the receiver wants no event any more
	ClassEgressProxy Class = "egress_proxy"      // our own proxy: not the receiver's doing
	ClassKey         Class = "no_signing_key"    // nothing to sign with
)

// Classes lists them.
var Classes = []Class{
	ClassDelivered, ClassConfig, ClassThrottled, ClassServer, ClassRedirect, ClassTimeout, ClassConnection, ClassTLS, ClassBlocked, ClassAborted,
	ClassGone, ClassEgressProxy, ClassKey,
}

// Callback is the receiver in the id of a callback's delivery.
const Callback = "callback"

// Receiver is the receiver in the delivery's id.
func (d *Delivery) Receiver() string {
	switch {
	case d.Push != "":
		return "push " + d.Push
	case d.Webhook == "":
		return Callback
	}
	return string(d.Webhook)
}

// Note appends an attempt.
func (d *Delivery) Note(a Attempt) {
	d.Attempts = append(d.Attempts, a)
	if over := len(d.Attempts) - MaxAttempts; over > 0 {
		d.Attempts = d.Attempts[over:]
	}
}

// Validate refuses what cannot be delivered, so that whoever reads one need not
// check.
func (d *Delivery) Validate() error {
	switch {
	case !d.ID.Valid(), !task.ValidTenant(d.Tenant), !d.Status.Valid(), (d.Webhook == "") == (d.URL == ""),
		!d.Source.Valid(), d.Webhook != "" && !d.Webhook.Valid(), d.Push != "" && (d.Webhook != "" || !ValidPushID(d.Push)):
		return task.ErrBadRecord
	}
	return nil
}
