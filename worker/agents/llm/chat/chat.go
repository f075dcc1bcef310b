// Package chat is a client of models behind OpenAI-compatible endpoints: chat
// completions (api: chat) and responses (api: responses), always as a stream.
//
// It promises that a finished answer is whole: what breaks off before the server has
// said that it is done is an error, and is asked for again within the tries of a call.
// It reads what servers really send, not only what one of them documents: see the
// tests of its reader, one for each rule. It knows nothing of tasks, tools or budgets.
//
// The wire is that of https://platform.openai.com/docs/api-reference/chat and
// /responses.
package chat

import (
	"encoding/json"
	"time"
)

// Role is who says a message.
type Role string

// The roles.
const (
	System    Role = "system"
	User      Role = "user"
	Assistant Role = "assistant"
	ToolRole  Role = "tool"
)

// Message is one part of a conversation. Calls are of an assistant's message, and each
// of them is answered by a tool's message before the next turn of the assistant.
type Message struct {
	Role    Role   `json:"role"`
	Content string `json:"content"`
	Calls   []Call `json:"calls,omitempty"`
	CallID  string `json:"call_id,omitempty"` // of a tool's message: what it answers
	// Kept are the items of a responses endpoint that it wants to see again, such as
	// its sealed reasoning.
	Kept []json.RawMessage `json:"kept,omitempty"`
}

// Call is a tool that the model wants called.
type Call struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"` // JSON, as the model wrote it; it may not parse
}

// Tool is one that the model may call.
type Tool struct {
	Name        string          `json:"name"` // [a-zA-Z0-9_-]{1,64}
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters"` // JSON Schema of an object
}

// Format asks for an answer that is JSON of a schema.
type Format struct {
	Name   string          `json:"name"`
	Schema json.RawMessage `json:"schema"`
}

// Request is what a model is asked.
type Request struct {
	Messages  []Message `json:"messages"`
	Tools     []Tool    `json:"tools,omitempty"`
	Choice    string    `json:"choice,omitempty"`     // auto, none, required, or the name of a tool; empty: auto
	MaxTokens int64     `json:"max_tokens,omitempty"` // of the answer; 0: as the model has it
	Format    *Format   `json:"format,omitempty"`
}

// Usage is what an answer has cost, in tokens. Cached is a part of Input, Reasoning one
// of Output.
type Usage struct {
	Input     int64 `json:"input"`
	Cached    int64 `json:"cached,omitempty"`
	Output    int64 `json:"output"`
	Reasoning int64 `json:"reasoning,omitempty"`
	Estimated bool  `json:"estimated,omitempty"` // the server said nothing
}

// Total is what counts against a limit of tokens.
func (u Usage) Total() int64 { return u.Input + u.Output }

// Add is both.
func (u Usage) Add(o Usage) Usage {
	return Usage{u.Input + o.Input, u.Cached + o.Cached, u.Output + o.Output, u.Reasoning + o.Reasoning, u.Estimated || o.Estimated}
}

// Answer is what a model has answered, whole.
type Answer struct {
	Message
	Finish    Finish `json:"finish"`
	Usage     Usage  `json:"usage"`
	ID        string `json:"id,omitempty"`    // of the response
	Model     string `json:"model,omitempty"` // as the server names it
	Wasted    Usage  `json:"wasted,omitzero"` // of tries that broke off
	Reasoning string `json:"-"`               // as it was shown

	First time.Duration `json:"-"` // from the request to the first bytes of the answer
}

// Finish is why an answer has ended.
type Finish string

// The reasons.
const (
	Stop     Finish = "stop"
	Length   Finish = "length"
	Calls    Finish = "tool_calls"
	Filtered Finish = "content_filter"
)

// Delta is a piece of an answer on its way. Restart says that what came before it is
// void: the answer broke off, and is asked for again.
type Delta struct {
	Restart   bool
	Text      string
	Reasoning string
}

// EstimateBytes is how many bytes are taken for a token where no server counts.
const EstimateBytes = 3

// Estimate is about how many tokens a request has.
func (r Request) Estimate() int64 {
	n := int64(0)
	for _, m := range r.Messages {
		n += m.Weight()
	}
	for _, t := range r.Tools {
		n += int64(len(t.Name) + len(t.Description) + len(t.Parameters))
	}
	if r.Format != nil {
		n += int64(len(r.Format.Schema))
	}
	return tokens(n)
}

// Weight is the bytes of a message that count.
func (m Message) Weight() int64 {
	n := int64(len(m.Content)) + 12
	for _, c := range m.Calls {
		n += int64(len(c.Name)+len(c.Arguments)) + 12
	}
	return n
}

func tokens(bytes int64) int64 { return (bytes + EstimateBytes - 1) / EstimateBytes }
