package api

import "encoding/json"

// Work is what a schedule or a hook has a task do, but for its input.
type Work struct {
	Agent       string            `json:"agent,omitempty" pattern:"^[a-z0-9-]{1,40}$"`
	Instruction string            `json:"instruction,omitempty" maxLength:"65536"`
	Labels      map[string]string `json:"labels,omitempty"`
	Metadata    json.RawMessage   `json:"metadata,omitempty"`
	Timeout     string            `json:"timeout,omitempty" example:"5m"`
	MaxAttempts *int              `json:"max_attempts,omitempty" minimum:"1" maximum:"100"`

	CallbackURL       string   `json:"callback_url,omitempty" format:"uri" doc:"Shown without its query, which is stored sealed."`
	CallbackEvents    []string `json:"callback_events,omitempty"`
	CallbackSecretRef string   `json:"callback_secret_ref,omitempty"`
}
