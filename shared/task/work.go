package task

import "encoding/json"

// Work is what a schedule or a hook has a task do, but for its input.
type Work struct {
	Agent       string            `json:"agent,omitempty"`
	Instruction string            `json:"instruction,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Metadata    json.RawMessage   `json:"metadata,omitempty"`
	Timeout     Duration          `json:"timeout,omitzero"`
	MaxAttempts int               `json:"max_attempts,omitempty"`

	// CallbackURL is the URL as it may be shown: its query is left out, and the whole of it
	// is in CallbackSealed. A record of an earlier version has it here.
	CallbackURL       string   `json:"callback_url,omitempty"`
	CallbackSealed    []byte   `json:"callback_sealed_url,omitempty"`
	CallbackEvents    []string `json:"callback_events,omitempty"`
	CallbackSecretRef string   `json:"callback_secret_ref,omitempty"`
}
