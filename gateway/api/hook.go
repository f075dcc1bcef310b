package api

import (
	"encoding/json"
	"time"
)

// HookRequest is the body of POST and PATCH of hooks. A member that a PATCH leaves
// out stays as it is.
type HookRequest struct {
	Name   *string     `json:"name,omitempty" maxLength:"64" doc:"One of your own."`
	Verify *HookVerify `json:"verify,omitempty" doc:"Who is believed. A PATCH that leaves the secrets out keeps them."`
	Accept *[]HookRule `json:"accept,omitempty" doc:"Each must hold of a delivery, or it is answered with 204. All count when there are none."`

	Task    *HookTask    `json:"task,omitempty" doc:"What a delivery starts. One of task, session and signal."`
	Session *HookSession `json:"session,omitempty" doc:"What a delivery says."`
	Signal  *HookSignal  `json:"signal,omitempty" doc:"Which waiting task a delivery answers."`

	MaxBody    *int64 `json:"max_body,omitempty" minimum:"1" maximum:"26214400" doc:"In bytes; 1 MiB when left out."`
	KeepBodies *bool  `json:"keep_bodies,omitempty" doc:"Show the beginnings of bodies in /recent."`
}

// HookVerify says how requests to a hook are verified and told apart. All but
// style, secrets and id is for the styles hmac and token.
type HookVerify struct {
	Style     string   `json:"style" enum:"standard,github,stripe,slack,hmac,token"`
	Secrets   []string `json:"secrets,omitempty" doc:"One, or two while one takes the place of the other. They are shown never."`
	ID        string   `json:"id,omitempty" doc:"Where the id of a delivery is: a header, a JSON pointer into the body, or none: then every call is a new one. The style says it, but for hmac and token."`
	Header    string   `json:"header,omitempty" doc:"Of the signature, or the token."`
	Prefix    string   `json:"prefix,omitempty" doc:"Before the signature or the token, such as sha256=."`
	Encoding  string   `json:"encoding,omitempty" enum:"hex,base64"`
	Algorithm string   `json:"algorithm,omitempty" enum:"sha256,sha512"`
	Key       string   `json:"key,omitempty" enum:"text,base64" doc:"How a secret becomes the key."`
	Content   string   `json:"content,omitempty" example:"{timestamp}.{body}" doc:"What is signed."`
	Timestamp string   `json:"timestamp,omitempty" doc:"The header of the time in Unix seconds, at most 300 s from now."`
	Username  string   `json:"username,omitempty" doc:"Of HTTP Basic, whose password is the secret."`
}

// HookRule is a condition of a delivery.
type HookRule struct {
	Header string   `json:"header,omitempty"`
	JSON   string   `json:"json,omitempty" doc:"A JSON pointer into the body."`
	In     []string `json:"in"`
}

// HookTask is the task that a delivery starts.
type HookTask struct {
	Work
	Input *HookInput `json:"input,omitempty"`
}

// HookInput says what of a delivery the task gets.
type HookInput struct {
	From    string          `json:"from,omitempty" doc:"body (default), headers, request (both), or a JSON pointer into the body."`
	Headers []string        `json:"headers,omitempty" doc:"Those that the agent may see; never credentials."`
	Merge   json.RawMessage `json:"merge,omitempty" doc:"Members that are always in the input, in the place of those of the body."`
}

// HookSession is what a delivery says, and where: in the session of its key, which is
// opened with its first message.
type HookSession struct {
	Agent string `json:"agent,omitempty"`
	Key   string `json:"key" example:"/event/channel" doc:"A JSON pointer."`
	Text  string `json:"text" example:"/event/text" doc:"A JSON pointer."`
}

// HookSignal is which waiting task a delivery answers: its body is the answer.
type HookSignal struct {
	Task string `json:"task" example:"/data/object/metadata/task_id" doc:"A JSON pointer to the id."`
	Name string `json:"name" doc:"What the task waits for."`
}

// Hook is a hook as clients see it.
type Hook struct {
	HookID string     `json:"hook_id"`
	URL    string     `json:"url" doc:"Where the sender POSTs, without an API key: whoever knows it may knock."`
	Name   string     `json:"name,omitempty"`
	Verify HookVerify `json:"verify"`
	Keys   []HookKey  `json:"keys" doc:"The secrets without the secrets, the current one first."`
	Accept []HookRule `json:"accept"`

	Task    *HookTask    `json:"task,omitempty"`
	Session *HookSession `json:"session,omitempty"`
	Signal  *HookSignal  `json:"signal,omitempty"`

	MaxBody    int64  `json:"max_body"`
	KeepBodies bool   `json:"keep_bodies,omitempty"`
	Paused     bool   `json:"paused"`
	Note       string `json:"note,omitempty" doc:"Why it is paused."`

	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// HookKey is a secret of a hook, without the secret.
type HookKey struct {
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// HookList is the answer of GET /hooks.
type HookList struct {
	Hooks []Hook `json:"hooks"`
}

// RotateHook is the body of POST /hooks/{id}/rotate-secret.
type RotateHook struct {
	Secret  string `json:"secret" doc:"The new one, as the sender has it."`
	Overlap string `json:"overlap,omitempty" example:"24h" doc:"How long the one before is believed beside it: 24h when left out, at most 720h."`
}

// PauseHook is the body of POST /hooks/{id}/pause; it may be left out.
type PauseHook struct {
	Note string `json:"note,omitempty" maxLength:"256" doc:"Why."`
}

// HookAccepted is the answer to a delivery.
type HookAccepted struct {
	TaskID    string `json:"task_id,omitempty"`
	StatusURL string `json:"status_url,omitempty"`
}

// HookRecent is the answer of GET /hooks/{id}/recent.
type HookRecent struct {
	Deliveries []HookReceipt `json:"deliveries" doc:"The newest 50 requests, newest first; not more than 25 that were not verified, where there are others."`
	Counts     HookCounts    `json:"counts"`
}

// HookReceipt is one request to a hook and what became of it.
type HookReceipt struct {
	At          time.Time `json:"at"`
	DeliveryID  string    `json:"delivery_id,omitempty"`
	Outcome     string    `json:"outcome" enum:"accepted,repeated,challenge,ignored,rejected,refused"`
	Cause       string    `json:"cause,omitempty"`
	TaskID      string    `json:"task_id,omitempty"`
	StatusURL   string    `json:"status_url,omitempty"`
	Size        int       `json:"size" doc:"Of the body, in bytes."`
	BodyDiffers bool      `json:"body_differs,omitempty" doc:"The delivery had come before, with another body: that one stands."`
	Body        string    `json:"body,omitempty" doc:"Its first 2 KiB, where the hook keeps bodies."`
}

// HookCounts are how many requests to a hook had which outcome.
type HookCounts struct {
	Accepted    int `json:"accepted"`
	Repeated    int `json:"repeated" doc:"The delivery was known."`
	Challenge   int `json:"challenge" doc:"Asked whether anybody is there."`
	Ignored     int `json:"ignored" doc:"By accept."`
	Rejected    int `json:"rejected" doc:"Not verified."`
	Refused     int `json:"refused" doc:"Verified, and not taken."`
	BodyDiffers int `json:"body_differs"`
}
