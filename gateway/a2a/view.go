package a2a

import (
	"context"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// codeRejected is the code by which an agent refuses a task.
const codeRejected = "rejected"

// stateOf is the state of a task in the protocol. A retry never goes back to
// submitted.
func stateOf(t *task.Task) a2a.TaskState {
	switch {
	case t.Status == task.Completed:
		return a2a.TaskStateCompleted
	case t.Status == task.Canceled:
		return a2a.TaskStateCanceled
	case t.Status == task.Failed && t.Error != nil && t.Error.Code == codeRejected:
		return a2a.TaskStateRejected
	case t.Status == task.Failed:
		return a2a.TaskStateFailed
	case t.Status == task.InputRequired, len(t.Questions()) > 0:
		return a2a.TaskStateInputRequired
	case t.Status == task.Processing, t.Attempt > 0:
		return a2a.TaskStateWorking
	}
	return a2a.TaskStateSubmitted
}

// settled reports whether a message to a task is answered: it has ended, or asks.
func settled(t *task.Task) bool {
	return t.Status.Terminal() || stateOf(t) == a2a.TaskStateInputRequired
}

// contextOf is the context of a task: its session, or what its message said.
func contextOf(t *task.Task) string {
	if t.SessionID != "" {
		return t.SessionID
	}
	if id := t.Labels[contextLabel]; id != "" {
		return id
	}
	_, rest, _ := strings.Cut(string(t.ID), "_")
	return "ctx_" + rest
}

// changed is when a task changed last.
func changed(t *task.Task) time.Time {
	if t.UpdatedAt.IsZero() {
		return t.CreatedAt
	}
	return t.UpdatedAt
}

func info(t *task.Task) a2a.TaskInfo {
	return a2a.TaskInfo{TaskID: a2a.TaskID(t.ID), ContextID: contextOf(t)}
}

// said is a message of the agent, with the same id whenever it is read.
func said(t *task.Task, name string, parts ...*a2a.Part) *a2a.Message {
	m := a2a.NewMessageForTask(a2a.MessageRoleAgent, info(t), parts...)
	m.ID = string(t.ID) + "-" + name
	return m
}

// history is how much of it a client wants; nil: all.
func history(c *a2a.SendMessageConfig) *int {
	if c == nil {
		return nil
	}
	return c.HistoryLength
}

// view is a task as the protocol shows it.
func (x *exchange) view(ctx context.Context, t *task.Task, newest *int, artifacts bool) (*a2a.Task, error) {
	v := &a2a.Task{ID: a2a.TaskID(t.ID), ContextID: contextOf(t), Status: statusOf(t), Metadata: metadataOf(t)}
	v.History = historyOf(t)
	if newest != nil && *newest < len(v.History) {
		v.History = v.History[len(v.History)-*newest:]
	}
	if artifacts {
		var err error
		if v.Artifacts, err = x.artifacts(ctx, t); err != nil {
			return nil, err
		}
		if a := outputOf(t); a != nil {
			v.Artifacts = append([]*a2a.Artifact{a}, v.Artifacts...)
		}
	}
	return v, nil
}

// statusOf is the state of a task, and what its agent says to it.
func statusOf(t *task.Task) a2a.TaskStatus {
	at := changed(t)
	s := a2a.TaskStatus{State: stateOf(t), Timestamp: &at}
	switch {
	case t.Status == task.Failed && t.Error != nil:
		s.Message = said(t, "error", a2a.NewTextPart(t.Error.Message))
	case s.State == a2a.TaskStateInputRequired:
		s.Message = asked(t)
	case t.Status == task.Completed:
		if text := replyOf(t); text != "" {
			s.Message = said(t, "reply", a2a.NewTextPart(text))
		}
	case t.Status == task.Processing && t.Message != "":
		s.Message = said(t, "progress", a2a.NewTextPart(t.Message))
	}
	return s
}

func metadataOf(t *task.Task) map[string]any {
	switch {
	case t.Status == task.Failed && t.Error != nil:
		return map[string]any{"mesh/error": map[string]any{"code": t.Error.Code, "attempt": t.Error.Attempt, "retryable": t.Error.Retryable}}
	case t.Status == task.Processing && t.Percent != nil:
		return map[string]any{"mesh/progress": *t.Percent}
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
		prompt := w.Prompt
		if prompt == "" {
			prompt = w.Name
		}
		prompts = append(prompts, prompt)
	}
	if len(all) == 0 {
		return nil
	}
	return said(t, "question-"+openKey(t), a2a.NewTextPart(strings.Join(prompts, "\n\n")), a2a.NewDataPart(map[string]any{"questions": all}))
}

// openKey tells sets of open questions apart.
func openKey(t *task.Task) string {
	var names []string
	for _, w := range t.Questions() {
		names = append(names, w.Name+"."+strconv.Itoa(w.N))
	}
	return strings.Join(names, ",")
}

// historyOf is what was said: the message that made the task, the questions that it
// stood still for, and those that are open.
func historyOf(t *task.Task) []*a2a.Message {
	first := a2a.NewMessageForTask(a2a.MessageRoleUser, info(t))
	first.ID = string(t.ID) + "-message"
	var kept struct{ A2A origin }
	if json.Unmarshal(t.Metadata, &kept) == nil && kept.A2A.MessageID != "" {
		first.ID, first.Extensions = kept.A2A.MessageID, kept.A2A.Extensions
	}
	if t.Instruction != "" {
		first.Parts = append(first.Parts, a2a.NewTextPart(t.Instruction))
	}
	switch {
	case len(t.Input.Inline) > 0 && string(t.Input.Inline) != "null":
		first.Parts = append(first.Parts, a2a.NewDataPart(t.Input.Inline))
	case len(first.Parts) == 0:
		first.Parts = append(first.Parts, a2a.NewTextPart("The input is large; it is read with GET /tasks/"+string(t.ID)+"/input."))
	}
	all := []*a2a.Message{first}
	now := asked(t)
	for _, tr := range t.Transitions {
		if q := tr.Question; q != nil && (now == nil || t.Run != tr.Run) {
			all = append(all, said(t, "question-"+strconv.Itoa(tr.Run), a2a.NewTextPart(firstOf(q.Prompt, q.Name))))
		}
	}
	if now != nil {
		all = append(all, now)
	}
	return all
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// The artifacts of every task.
const (
	outputID = "output"
	resultID = "result"
)

// outputOf is the output text that the record has: its newest part.
func outputOf(t *task.Task) *a2a.Artifact {
	if t.OutputBytes == 0 {
		return nil
	}
	a := &a2a.Artifact{ID: outputID, Name: outputID, Parts: a2a.ContentParts{a2a.NewTextPart(t.Output)}}
	if cut := t.OutputBytes - int64(len(t.Output)); cut > 0 {
		a.Metadata = map[string]any{"mesh/left_out": cut}
	}
	return a
}

// maxArtifact is the largest result that is sent whole.
const maxArtifact = 1 << 20

// artifacts are those of the result of a task.
func (x *exchange) artifacts(ctx context.Context, t *task.Task) ([]*a2a.Artifact, error) {
	if t.Status != task.Completed || t.Result.IsZero() {
		return nil, nil
	}
	raw := t.Result.Inline
	if t.Result.Object != "" {
		if t.Result.Size > maxArtifact {
			url := x.cfg.Base() + "/tasks/" + string(t.ID) + "/result"
			return one(a2a.NewFileURLPart(a2a.URL(url), mediaJSON)), nil
		}
		r, err := x.mesh.Tasks.OpenValue(ctx, t.Result)
		if err == nil {
			raw, err = io.ReadAll(r)
		}
		if x.gone(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return artifactsOf(raw), nil
}

// gone reports whether a value is past its retention.
func (x *exchange) gone(err error) bool {
	if err == nil {
		return false
	}
	refused, _ := x.door.Refusal(err)
	return refused.Refusal == mesh.ErrTaskNotFound
}

func one(p *a2a.Part) []*a2a.Artifact {
	return []*a2a.Artifact{{ID: resultID, Name: resultID, Parts: a2a.ContentParts{p}}}
}

// artifactsOf reads a result: the artifacts that an agent made itself, a text, or any
// other value.
func artifactsOf(raw json.RawMessage) []*a2a.Artifact {
	if made := madeBy(raw); made != nil {
		return made
	}
	if text, ok := textOf(raw); ok {
		return one(a2a.NewTextPart(text))
	}
	if string(raw) == "null" || len(raw) == 0 {
		return nil
	}
	return one(a2a.NewDataPart(raw))
}

// textOf is a result that is a text, or has one only.
func textOf(raw json.RawMessage) (text string, ok bool) {
	if json.Unmarshal(raw, &text) == nil && len(raw) > 0 && raw[0] == '"' {
		return text, true
	}
	for _, name := range []string{"text", "message"} {
		if v := only(raw, name); len(v) > 0 && v[0] == '"' {
			return text, json.Unmarshal(v, &text) == nil
		}
	}
	return "", false
}

// replyOf is the reply of a turn.
func replyOf(t *task.Task) string {
	if v := only(t.Result.Inline, "message"); len(v) > 0 && v[0] == '"' {
		text, _ := textOf(v)
		return text
	}
	return ""
}

// only is the one member of an object, nil where it has others or none.
func only(raw json.RawMessage, name string) json.RawMessage {
	var members map[string]json.RawMessage
	if len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &members) != nil || len(members) != 1 {
		return nil
	}
	return members[name]
}

// madeBy is the artifacts of an agent that makes them itself; nil: it does not, or
// they are none.
func madeBy(raw json.RawMessage) []*a2a.Artifact {
	v := only(raw, "artifacts")
	var all []*a2a.Artifact
	if v == nil || json.Unmarshal(v, &all) != nil || len(all) == 0 {
		return nil
	}
	for _, a := range all {
		if a == nil || a.ID == "" || !whole(a.Parts) {
			return nil
		}
	}
	return all
}

func whole(parts a2a.ContentParts) bool {
	for _, p := range parts {
		if p == nil || p.Content == nil {
			return false
		}
	}
	return len(parts) > 0
}

// directOf is the message that an agent answers with instead of a task; nil: none.
func directOf(t *task.Task) *a2a.Message {
	if t.Status != task.Completed {
		return nil
	}
	v := only(t.Result.Inline, "message")
	var m struct{ Parts a2a.ContentParts }
	if len(v) == 0 || v[0] != '{' || json.Unmarshal(v, &m) != nil || !whole(m.Parts) {
		return nil
	}
	direct := said(t, "reply", m.Parts...)
	direct.TaskID = ""
	return direct
}
