package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"agentmesh/shared/session"
	"agentmesh/shared/task"
)

// Turn is a job's part in a session: the transcript and the agent's own state.
// The mesh keeps both.
type Turn struct {
	SessionID string
	Messages  []Message       // oldest first; the last one is the user's new message
	State     json.RawMessage // a JSON object, as the last reply left it; nil before the first
}

// Message is one thing that was said in a session.
type Message = session.Message

// Text is the user's new message.
func (t *Turn) Text() string { return t.Messages[len(t.Messages)-1].Text }

// Bind decodes the state into v, and leaves v alone before the first reply. The
// error is permanent: the same state will not decode next time either.
func (t *Turn) Bind(v any) error {
	if t.State == nil {
		return nil
	}
	if err := json.Unmarshal(t.State, v); err != nil {
		return Permanent(fmt.Errorf("decode the state of session %s: %w", t.SessionID, err))
	}
	return nil
}

// Reply is what a handler returns for a turn. The message and the state are
// kept together or not at all.
//
// A handler that knows nothing of sessions may return anything else: a text, an
// object with message (and state) or with text, or any value, whose JSON is the
// reply.
type Reply struct {
	Message string `json:"message"`
	// State must encode as a JSON object within 128 KiB; nil leaves the state
	// as it is.
	State any `json:"state,omitempty"`
}

// ReplyOf reads what a handler returned for a turn. state is nil where the
// handler left it as it is. The error is permanent: the handler made a mistake.
func ReplyOf(v any) (message string, state json.RawMessage, err error) {
	switch v := v.(type) {
	case nil:
		return "", nil, nil
	case string:
		message = strings.ToValidUTF8(v, "\uFFFD")
		return message, nil, checkReply(message, nil)
	}
	raw, err := encode(v)
	if err != nil {
		return "", nil, badReply("the reply is not JSON: %v", err)
	}
	switch raw[0] {
	case '"':
		err = json.Unmarshal(raw, &message)
	case '{':
		message, state, err = replyOf(raw)
	default:
		message = string(raw)
	}
	if err != nil {
		return "", nil, badReply("%v", err)
	}
	return message, state, checkReply(message, state)
}

// replyOf reads an object as a reply. Names are exact.
func replyOf(raw json.RawMessage) (message string, state json.RawMessage, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return "", nil, err
	}
	text := func(name string) bool {
		var s *string
		if fields[name] != nil && err == nil {
			err = json.Unmarshal(fields[name], &s)
		}
		if s != nil {
			message = *s
		}
		return s != nil || err != nil
	}
	switch {
	case text("message"):
	case text("text"):
		message = strings.TrimRight(message, "\r\n") // lines of a program
	default:
		return string(raw), nil, nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("message and text must be texts: %w", err)
	}
	if state = fields["state"]; string(state) == "null" {
		state = nil
	}
	return message, state, nil
}

func checkReply(message string, state json.RawMessage) error {
	switch {
	case session.Size(message) > session.MaxReply:
		return &Error{Code: task.CodeResultTooLarge, Permanent: true, Message: fmt.Sprintf("the reply has %d bytes, allowed are %d", session.Size(message), session.MaxReply)}
	case state != nil && state[0] != '{':
		return badReply("the state must be a JSON object")
	case len(state) > session.MaxState:
		return &Error{Code: task.CodeResultTooLarge, Permanent: true, Message: fmt.Sprintf("the state has %d bytes, allowed are %d: keep large things elsewhere and a reference in the state", len(state), session.MaxState)}
	}
	return nil
}

func badReply(format string, args ...any) error {
	return &Error{Code: task.CodeAgentBadOutput, Message: "bad reply: " + fmt.Sprintf(format, args...), Permanent: true}
}

// Conversation makes an agent of a function that answers one message of a
// session. It gets the state that it left in *state before, zero at first, and
// what it leaves there is kept with the reply; S must encode as a JSON object.
// job.Turn has the transcript. Set the name, a greeting and whatever else the
// definition needs.
//
// A task outside of a session is answered as the first message of a session
// that is forgotten.
func Conversation[S any](f func(ctx context.Context, job *Job, text string, state *S) (reply string, err error)) Agent {
	return Agent{Handler: func(ctx context.Context, job *Job) (any, error) {
		var state S
		text := job.Instruction
		if job.Turn != nil {
			text = job.Turn.Text()
			if err := job.Turn.Bind(&state); err != nil {
				return nil, err
			}
		}
		reply, err := f(ctx, job, text, &state)
		if err != nil {
			return nil, err
		}
		return Reply{Message: reply, State: state}, nil
	}}
}
