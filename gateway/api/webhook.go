package api

import "time"

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
	Scheme            string             `json:"scheme,omitempty" enum:"v1,v1a" doc:"POST: how deliveries are signed, v1 (HMAC-SHA256, default) or v1a (ed25519)."`
	Secret            string             `json:"secret,omitempty" doc:"POST: a key of your own, whsec_... for v1, whsk_... for v1a; a new one is made when left out."`
}

// RotateRequest is the body of POST /webhooks/{id}/rotate-secret; it may be left
// out.
type RotateRequest struct {
	Scheme  string `json:"scheme,omitempty" enum:"v1,v1a" doc:"Of the new key; that of the present one when left out."`
	Secret  string `json:"secret,omitempty" doc:"A key of your own."`
	Overlap string `json:"overlap,omitempty" example:"24h" doc:"How long the old keys go on signing beside the new one: 0s to 720h, 24h when left out."`
}

// Webhook is a webhook as clients see it.
type Webhook struct {
	WebhookID         string    `json:"webhook_id"`
	URL               string    `json:"url"`
	Description       string    `json:"description,omitempty"`
	Events            []string  `json:"events" doc:"Empty: milestones and outcomes."`
	Agents            []string  `json:"agents" doc:"Empty: all."`
	Enabled           bool      `json:"enabled"`
	DisabledReason    string    `json:"disabled_reason,omitempty"`
	DisabledAt        time.Time `json:"disabled_at,omitzero"`
	Unreadable        string    `json:"unreadable,omitempty" doc:"Its secrets cannot be opened, so nothing is sent to it; and what to do."`
	Headers           []string  `json:"headers,omitempty" doc:"Their names; the values are secret."`
	ClientCertificate string    `json:"client_certificate,omitempty"`
	CA                string    `json:"ca,omitempty"`
	Keys              []Key     `json:"keys" doc:"The current one first; all that have not expired sign."`
	Secret            string    `json:"secret,omitempty" doc:"Shown once, when the key is made: the shared secret of v1. Of v1a the public_key is all that receivers need."`
	CreatedAt         time.Time `json:"created_at"`
	UpdatedAt         time.Time `json:"updated_at"`
}

// WebhookList is the answer of GET /webhooks.
type WebhookList struct {
	Webhooks []Webhook `json:"webhooks"`
}

// Key is what is shown of a key that signs deliveries.
type Key struct {
	ID        string    `json:"key_id"`
	Scheme    string    `json:"scheme"`
	Public    string    `json:"public_key,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// VerifyRequest is the body of POST /webhooks/{id}/verify: a request as its receiver
// got it.
type VerifyRequest struct {
	Headers map[string]string `json:"headers" doc:"At least webhook-id, webhook-timestamp and webhook-signature, in any case; others are not looked at."`
	Body    string            `json:"body" doc:"The body as text, byte for byte, at most 1 MiB."`
}

// Verdict says whether a webhook's keys have signed a request. It has no signature.
type Verdict struct {
	Valid  bool      `json:"valid" doc:"One of the keys has signed it."`
	KeyID  string    `json:"key_id,omitempty" doc:"That one."`
	Scheme string    `json:"scheme,omitempty"`
	SentAt time.Time `json:"sent_at,omitzero" doc:"When it says that it was sent."`
	Reason string    `json:"reason,omitempty" enum:"headers_missing,headers_malformed,no_signature_matches,timestamp_too_far" doc:"timestamp_too_far also of a valid one: a receiver that looks at the time refuses it."`
	Detail string    `json:"detail" doc:"What that means, and what to do."`
}

// Jwk is a public key (RFC 8037).
type Jwk struct {
	Kty string `json:"kty"`
	Crv string `json:"crv"`
	Use string `json:"use"`
	Alg string `json:"alg"`
	Kid string `json:"kid" doc:"The key's thumbprint (RFC 7638)."`
	X   string `json:"x"`
}

// KeySet is the answer of GET /.well-known/webhooks/jwks.json.
type KeySet struct {
	Keys []Jwk `json:"keys"`
}
