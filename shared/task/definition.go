package task

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"
)

// Definition is what the mesh knows of an agent. It is kept in the registry,
// where it outlives the workers.
type Definition struct {
	Name        string   `json:"name"` // [a-z0-9-]{1,40}
	Description string   `json:"description,omitempty"`
	Version     string   `json:"version,omitempty"`
	Greeting    string   `json:"greeting,omitempty"`
	Concurrency int      `json:"concurrency,omitempty"`   // slots per worker process; default 8
	MaxInFlight int      `json:"max_in_flight,omitempty"` // in the whole mesh; default 1000
	Timeout     Duration `json:"timeout,omitzero"`        // of one attempt; default 5m
	Retry       Retry    `json:"retry,omitzero"`
	// SuspendAfter is how long an attempt waits in place, without its slot, before it
	// lets go of its task; default 30s.
	SuspendAfter Duration `json:"suspend_after,omitzero"`
	// OnNewVersion is what becomes of a task's steps when another version of the agent
	// goes on with it; default continue.
	OnNewVersion OnNewVersion    `json:"on_new_version,omitempty"`
	InputSchema  json.RawMessage `json:"input_schema,omitempty"` // JSON Schema 2020-12, checked by the gateway
	// OutputSchema is what a task's result looks like, JSON Schema 2020-12. The worker
	// checks it: any other result fails the task. A turn's reply is none.
	OutputSchema json.RawMessage `json:"output_schema,omitempty"`
	Default      bool            `json:"default,omitempty"` // serves tasks that name no agent

	// What the agent says of itself to other protocols.
	Tags     []string `json:"tags,omitempty"`
	Examples []string `json:"examples,omitempty"` // of what to ask it for
	Skills   []Skill  `json:"skills,omitempty"`   // none: the agent itself is one
	// Conversation says that it is talked to in sessions, also without a greeting.
	Conversation bool `json:"conversation,omitempty"`
	// NoA2A hides it from clients of A2A.
	NoA2A bool `json:"no_a2a,omitempty"`
	// Annotations are hints about what it does, for those who decide whether to ask it.
	Annotations Annotations `json:"annotations,omitzero"`
	// AsTool is what it asks of clients of MCP.
	AsTool AsTool `json:"mcp,omitzero"`

	// Elsewhere says that its tasks begin something elsewhere: a worker is told of one that
	// is canceled while it waits, too. Its worker sets it.
	Elsewhere bool `json:"elsewhere,omitempty"`

	// Budgets bound what tenants may use of the agent's models.
	Budgets []Budget `json:"budgets,omitempty"`

	// Limits of a session with the agent.
	History       History `json:"history,omitempty"`        // default full
	MaxTranscript int     `json:"max_transcript,omitempty"` // bytes of the transcript that the agent sees; default 512 KiB
	MaxTurns      int     `json:"max_turns,omitempty"`      // default 1000
}

// History is what becomes of a session whose transcript has reached its limit.
type History string

// The histories: a full one takes no more messages; of a window the agent sees
// the newest part.
const (
	HistoryFull   History = "full"
	HistoryWindow History = "window"
)

// OnNewVersion is what becomes of what another version of an agent has finished.
type OnNewVersion string

// The ways on: the steps are taken over, or are dropped and the task begins anew, or it
// fails.
const (
	VersionContinue OnNewVersion = "continue"
	VersionRestart  OnNewVersion = "restart"
	VersionFail     OnNewVersion = "fail"
)

// Valid reports whether it is one of them; empty is the first.
func (v OnNewVersion) Valid() bool {
	return v == "" || v == VersionContinue || v == VersionRestart || v == VersionFail
}

// Retry is the policy of an agent's attempts. Attempt n+1 starts at a random
// time within [0, min(MaxBackoff, Backoff * 2^(n-1))] after attempt n failed
// (full jitter).
type Retry struct {
	MaxAttempts int      `json:"max_attempts,omitempty"` // default 3
	Backoff     Duration `json:"backoff,omitzero"`       // default 1s
	MaxBackoff  Duration `json:"max_backoff,omitzero"`   // default 1m
}

// Limits of a definition. A task must end within its record's retention.
const (
	MaxTimeout  = 24 * time.Hour
	MaxAttempts = 100
	// MaxTranscript keeps a session within one message of the store.
	MaxTranscript = 512 << 10
)

// WithDefaults fills what the definition leaves open.
func (d Definition) WithDefaults() Definition {
	def := func(v *int, to int) {
		if *v == 0 {
			*v = to
		}
	}
	dur := func(v *Duration, to time.Duration) {
		if *v == 0 {
			*v = Duration(to)
		}
	}
	def(&d.Concurrency, 8)
	def(&d.MaxInFlight, 1000)
	def(&d.Retry.MaxAttempts, 3)
	def(&d.MaxTranscript, MaxTranscript)
	def(&d.MaxTurns, 1000)
	if d.History == "" {
		d.History = HistoryFull
	}
	dur(&d.Timeout, 5*time.Minute)
	dur(&d.Retry.Backoff, time.Second)
	dur(&d.Retry.MaxBackoff, time.Minute)
	return d
}

// Patience is SuspendAfter with its default.
func (d Definition) Patience() time.Duration {
	return time.Duration(cmp.Or(d.SuspendAfter, Duration(30*time.Second)))
}

// Converses says whether one talks with the agent in a session.
func (d Definition) Converses() bool { return d.Greeting != "" || d.Conversation }

// Digest tells definitions apart: equal ones have the same.
func (d Definition) Digest() string {
	data, _ := json.Marshal(d) // of plain fields; a schema that is no JSON is told by Validate
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// Validate names the first field that is out of its range.
func (d Definition) Validate() error {
	if !ValidAgent(d.Name) {
		return fmt.Errorf("agent %q: name must match [a-z0-9-]{1,40}", d.Name)
	}
	for _, f := range []struct {
		name      string
		v, lo, hi int64
		show      func(int64) string
	}{
		{"concurrency", int64(d.Concurrency), 1, 10_000, count},
		{"max_in_flight", int64(d.MaxInFlight), 1, 100_000, count},
		{"retry.max_attempts", int64(d.Retry.MaxAttempts), 1, MaxAttempts, count},
		{"max_transcript", int64(d.MaxTranscript), 1 << 10, MaxTranscript, count},
		{"max_turns", int64(d.MaxTurns), 1, 1_000_000, count},
		{"timeout", int64(d.Timeout), int64(time.Millisecond), int64(MaxTimeout), duration},
		{"suspend_after", int64(d.Patience()), int64(time.Millisecond), int64(time.Hour), duration},
		{"retry.backoff", int64(d.Retry.Backoff), 1, int64(time.Hour), duration},
		{"retry.max_backoff", int64(d.Retry.MaxBackoff), int64(d.Retry.Backoff), int64(24 * time.Hour), duration},
	} {
		if f.v < f.lo || f.v > f.hi {
			return fmt.Errorf("agent %s: %s is %s, allowed is %s to %s", d.Name, f.name, f.show(f.v), f.show(f.lo), f.show(f.hi))
		}
	}
	if d.History != HistoryFull && d.History != HistoryWindow {
		return fmt.Errorf("agent %s: history is %q, allowed are full and window", d.Name, d.History)
	}
	if !d.OnNewVersion.Valid() {
		return fmt.Errorf("agent %s: on_new_version is %q, allowed are continue, restart and fail", d.Name, d.OnNewVersion)
	}
	if len(d.InputSchema) > 0 && !json.Valid(d.InputSchema) {
		return fmt.Errorf("agent %s: input_schema is not JSON", d.Name)
	}
	if len(d.OutputSchema) > 0 && !json.Valid(d.OutputSchema) {
		return fmt.Errorf("agent %s: output_schema is not JSON", d.Name)
	}
	return d.validateAbout()
}

func count(n int64) string    { return fmt.Sprint(n) }
func duration(n int64) string { return time.Duration(n).String() }

// Delay is how long to wait after attempt n (from 1) failed, with full jitter.
func (r Retry) Delay(n int) time.Duration {
	return time.Duration(rand.Int64N(int64(r.Ceiling(n)) + 1))
}

// Ceiling is the longest Delay after attempt n.
func (r Retry) Ceiling(n int) time.Duration {
	d := time.Duration(r.Backoff)
	for range n - 1 {
		if d >= time.Duration(r.MaxBackoff)/2 {
			return time.Duration(r.MaxBackoff)
		}
		d *= 2
	}
	return min(d, time.Duration(r.MaxBackoff))
}
