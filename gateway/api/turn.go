package api

import (
	"encoding/json"
	"time"
)

// PostMessage is the body of POST /sessions/{id}/messages.
type PostMessage struct {
	Text    string          `json:"text,omitempty" maxLength:"65536" doc:"What the user says."`
	Message string          `json:"message,omitempty" maxLength:"65536" doc:"The same as text."`
	Answer  json.RawMessage `json:"answer,omitempty" doc:"Instead of text: the answer to the question that the session awaits, as JSON."`
	OnBusy  string          `json:"on_busy,omitempty" enum:"reject,wait,interrupt" doc:"While another turn is open: refuse with 409 (default), wait behind it and all that wait already (at most 32), or cancel them all."`
	Agent   string          `json:"agent,omitempty" doc:"If sent, it must be the session's agent."`
}

// TurnReply is what a turn came to.
type TurnReply struct {
	SessionID string  `json:"session_id"`
	Message   *string `json:"message" doc:"The agent's reply; null unless the turn is completed."`
	Awaiting  string  `json:"awaiting,omitempty" doc:"The message is a question of this name: the next message answers it."`
	TurnID    string  `json:"turn_id"`
	Status    string  `json:"status" enum:"completed,failed,canceled"`
	Error     *Error  `json:"error,omitempty"`
	TraceID   string  `json:"trace_id,omitempty"`
}

// AcceptedTurn is the body of a 202: the turn goes on.
type AcceptedTurn struct {
	SessionID string    `json:"session_id"`
	TurnID    string    `json:"turn_id"`
	Status    string    `json:"status" enum:"pending"`
	StatusURL string    `json:"status_url"`
	Agent     string    `json:"agent"`
	CreatedAt time.Time `json:"created_at"`
	TraceID   string    `json:"trace_id,omitempty"`
	Warning   string    `json:"warning,omitempty" doc:"What the client should know, such as that nobody has served the agent for a day."`
}

// Turn is a turn as clients see it: a task, whose message is the reply once it
// is completed.
type Turn struct {
	Task
	Text      string `json:"text" doc:"What the user said."`
	Message   string `json:"message,omitempty" doc:"The agent's reply of a completed turn, else its latest progress message."`
	Awaiting  string `json:"awaiting,omitempty" doc:"The message is a question of this name: the next message answers it."`
	Continues string `json:"continues,omitempty" doc:"The id of the turn whose question it answers."`
}
