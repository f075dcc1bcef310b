// Package a2aform is the form of a task in A2A 1.0: its state, what it says, its
// artifacts, and the updates that tell of its life.
//
// It promises that the same record has the same form whoever asks, and that an
// update has the same bytes whichever later revision of the record it is read from.
// It reads records and nothing else; its types are those of a2a-go.
package a2aform

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/task"
)

// ContextLabel is the label of a task with its context, where a client has named it.
const ContextLabel = "a2a/context"

// codeRejected is the code by which an agent refuses a task.
const codeRejected = "rejected"

// Origin is what a task keeps of the message that made it, for its agent, in the
// member a2a of its metadata. Nothing in it says who asks.
type Origin struct {
	MessageID       string          `json:"message_id"`
	Metadata        json.RawMessage `json:"metadata,omitempty"`
	RequestMetadata json.RawMessage `json:"request_metadata,omitempty"`
	References      []string        `json:"references,omitempty"`
	Extensions      []string        `json:"extensions,omitempty"`
}

// State is the state of a task in the protocol. A retry never goes back to
// submitted.
func State(t *task.Task) a2a.TaskState {
	switch {
	case t.Status.Terminal():
		return outcome(t)
	case t.Status == task.InputRequired, len(t.Questions()) > 0:
		return a2a.TaskStateInputRequired
	case t.Status == task.Processing, t.Attempt > 0:
		return a2a.TaskStateWorking
	}
	return a2a.TaskStateSubmitted
}

func outcome(t *task.Task) a2a.TaskState {
	switch {
	case t.Status == task.Completed:
		return a2a.TaskStateCompleted
	case t.Status == task.Canceled:
		return a2a.TaskStateCanceled
	case t.Error != nil && t.Error.Code == codeRejected:
		return a2a.TaskStateRejected
	}
	return a2a.TaskStateFailed
}

// Settled reports whether a message to a task is answered: it has ended, or asks.
func Settled(t *task.Task) bool {
	return t.Status.Terminal() || State(t) == a2a.TaskStateInputRequired
}

// Context is the context of a task: what its message said, or its session.
func Context(t *task.Task) string {
	if id := t.Labels[ContextLabel]; id != "" {
		return id
	}
	if t.SessionID != "" {
		return t.SessionID
	}
	_, rest, _ := strings.Cut(string(t.ID), "_")
	return "ctx_" + rest
}

// Changed is when a task changed last.
func Changed(t *task.Task) time.Time {
	if t.UpdatedAt.IsZero() {
		return t.CreatedAt
	}
	return t.UpdatedAt
}

func info(t *task.Task) a2a.TaskInfo {
	return a2a.TaskInfo{TaskID: a2a.TaskID(t.ID), ContextID: Context(t)}
}

// Said is a message of the agent, with the same id whenever it is read.
func Said(t *task.Task, name string, parts ...*a2a.Part) *a2a.Message {
	m := a2a.NewMessageForTask(a2a.MessageRoleAgent, info(t), parts...)
	m.ID = string(t.ID) + "-" + name
	return m
}

// Status is the state of a task, and what its agent says to it.
func Status(t *task.Task) a2a.TaskStatus {
	at := Changed(t)
	s := a2a.TaskStatus{State: State(t), Timestamp: &at}
	switch {
	case t.Status.Terminal():
		s.Message = lastWords(t)
	case s.State == a2a.TaskStateInputRequired:
		s.Message = asked(t)
	case t.Status == task.Processing && t.Message != "":
		s.Message = Said(t, "progress", a2a.NewTextPart(t.Message))
	}
	return s
}

// lastWords is what an agent says at the end; nil: nothing.
func lastWords(t *task.Task) *a2a.Message {
	if t.Status == task.Failed && t.Error != nil {
		return Said(t, "error", a2a.NewTextPart(t.Error.Message))
	}
	if text := replyOf(t); t.Status == task.Completed && text != "" {
		return Said(t, "reply", a2a.NewTextPart(text))
	}
	return nil
}

// Metadata is what a status says besides.
func Metadata(t *task.Task) map[string]any {
	switch {
	case t.Status == task.Failed && t.Error != nil:
		return map[string]any{"mesh/error": map[string]any{"code": t.Error.Code, "attempt": t.Error.Attempt, "retryable": t.Error.Retryable}}
	case t.Status == task.Processing && t.Percent != nil:
		return map[string]any{"mesh/progress": *t.Percent}
	case t.Status == task.Completed && t.Kind == task.KindTurn:
		if name := awaiting(t); name != "" {
			return map[string]any{"mesh/awaiting": name}
		}
	}
	return nil
}

// question is one open question, as clients get it.
type question struct {
	Name   string          `json:"name"`
	Prompt string          `json:"prompt,omitempty"`
	Schema json.RawMessage `json:"schema,omitempty"`
	Until  time.Time       `json:"until,omitzero"`
}

// asked is the message with the open questions of a task; nil: none is open.
func asked(t *task.Task) *a2a.Message {
	var all []question
	var prompts []string
	for _, w := range t.Questions() {
		all = append(all, question{w.Name, w.Prompt, w.Schema, w.Until})
		prompts = append(prompts, firstOf(w.Prompt, w.Name))
	}
	if len(all) == 0 {
		return nil
	}
	return Said(t, "question-"+OpenKey(t), a2a.NewTextPart(strings.Join(prompts, "\n\n")), a2a.NewDataPart(map[string]any{"questions": all}))
}

// OpenKey tells sets of open questions apart.
func OpenKey(t *task.Task) string {
	var names []string
	for _, w := range t.Questions() {
		names = append(names, w.Name+"."+strconv.Itoa(w.N))
	}
	return strings.Join(names, ",")
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
