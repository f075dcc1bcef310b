package api

import "time"

// CreateAction is the body of POST /actions: that of a task with a callback_url.
type CreateAction struct {
	CreateTask
	CallbackURL string `json:"callback_url" format:"uri" doc:"Where the outcome is POSTed, signed."`
}

// AcceptedAction is the body of the 202 of an action.
type AcceptedAction struct {
	ActionID    string    `json:"action_id"`
	Status      string    `json:"status" enum:"initiated"`
	Message     string    `json:"message"`
	StatusURL   string    `json:"status_url"`
	Agent       string    `json:"agent"`
	CreatedAt   time.Time `json:"created_at"`
	RetriedFrom string    `json:"retried_from,omitempty"`
	TraceID     string    `json:"trace_id,omitempty"`
	TraceURL    string    `json:"trace_url,omitempty"`
	Warning     string    `json:"warning,omitempty" doc:"What the client should know, such as that nobody has served the agent for a day."`
}
