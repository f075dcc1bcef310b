// Package hook is the noun of webhooks that come in: a hook says how somebody
// else's requests are verified, which of them count, and what one of them does.
//
// It promises that nothing of a request is parsed before its signature was checked
// over the bytes as they came, with every secret and in constant time, and that
// only headers that the owner has named can reach an agent, never credentials. It
// knows neither HTTP servers nor where hooks are stored.
package hook

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"agentmesh/shared/ids"
	"agentmesh/shared/task"
)

// ID is the id of a hook: 128 random bits, since whoever knows it may knock.
type ID string

const prefix = "hok_"

// NewID makes an id.
func NewID() ID {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails
	return ID(prefix + hex.EncodeToString(raw[:]))
}

// Valid reports whether id is one of a hook.
func (id ID) Valid() bool { return ids.Valid(string(id), prefix) }

// Errors that others ask for with errors.Is.
var (
	ErrNotFound   = errors.New("no such hook")
	ErrTooMany    = errors.New("too many hooks")
	ErrUnreadable = errors.New("the secrets of the hook do not open")
)

// Bounds of a hook.
const (
	DefaultBody = 1 << 20
	MaxBody     = 25 << 20
	MaxSecrets  = 2 // the one that is used, and the one before
	maxName     = 64
	maxRules    = 16
	maxValues   = 64
	maxText     = 256 // of a header's name, a pointer, a value
	maxMerge    = 64 << 10
	maxHeaders  = 32
)

// Spec is what the owner of a hook has said: who is believed, and what a delivery
// does. One of Task, Session and Signal is set.
type Spec struct {
	Name   string `json:"name,omitempty"`
	Verify Verify `json:"verify"`
	Accept []Rule `json:"accept,omitempty"` // each must hold; none: all deliveries count

	Task    *Work   `json:"task,omitempty"`
	Session *Talk   `json:"session,omitempty"`
	Signal  *Signal `json:"signal,omitempty"`

	MaxBody    int64 `json:"max_body,omitempty"`    // default DefaultBody
	KeepBodies bool  `json:"keep_bodies,omitempty"` // of the newest deliveries, the beginnings
}

// Rule is one condition of a delivery: a header or a value of the body is one of a
// list.
type Rule struct {
	Header string   `json:"header,omitempty"`
	JSON   string   `json:"json,omitempty"` // a JSON pointer
	In     []string `json:"in"`
}

// Work is the task that a delivery starts.
type Work struct {
	task.Work
	Input Input `json:"input,omitzero"`
}

// Input says what of a delivery the task gets.
type Input struct {
	From    string          `json:"from,omitempty"`    // body (default), headers, request, or a JSON pointer into the body
	Headers []string        `json:"headers,omitempty"` // those that the agent may see
	Merge   json.RawMessage `json:"merge,omitempty"`   // members that are always there, and win
}

// Talk is what a delivery says in a session: the one of its key, which is opened
// with its first message.
type Talk struct {
	Agent string `json:"agent,omitempty"`
	Key   string `json:"key"`  // a JSON pointer
	Text  string `json:"text"` // a JSON pointer
}

// Signal is the waiting task that a delivery answers.
type Signal struct {
	Task string `json:"task"` // a JSON pointer to its id
	Name string `json:"name"` // of what it waits for
}

// Key is one of a hook's secrets, without the secret.
type Key struct {
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero: never
}

// Hook is the record of a hook.
type Hook struct {
	Spec

	ID        ID        `json:"hook_id"`
	Tenant    string    `json:"tenant"`
	Paused    bool      `json:"paused,omitempty"`
	Note      string    `json:"note,omitempty"` // why it is paused
	Keys      []Key     `json:"keys"`           // the current one first
	Sealed    []byte    `json:"sealed"`         // the secrets, in the order of Keys
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`

	Rev uint64 `json:"-"` // the revision that this copy was read or written at
}

// Purpose is what the hook's secrets are sealed for.
func (h *Hook) Purpose() string { return "hook " + h.Tenant + " " + string(h.ID) }

// Live are the secrets that have not expired, in the order of the keys.
func (h *Hook) Live(secrets []string, now time.Time) (live []string) {
	for i, k := range h.Keys {
		if i < len(secrets) && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt)) {
			live = append(live, secrets[i])
		}
	}
	return live
}
