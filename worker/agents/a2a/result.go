package a2a

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// outputID is the artifact of a mesh that has the output text of a task.
const outputID = "output"

// parts are what a job says to a remote agent.
func parts(job *agent.Job) (all []*a2a.Part) {
	if job.Instruction != "" {
		all = append(all, a2a.NewTextPart(job.Instruction))
	}
	if len(job.Input) > 0 || len(all) == 0 {
		all = append(all, a2a.NewDataPart(json.RawMessage(orNull(job.Input))))
	}
	return all
}

func orNull(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("null")
	}
	return raw
}

// settled reports whether nothing happens any more unless somebody answers.
func settled(s a2a.TaskState) bool {
	return s.Terminal() || s == a2a.TaskStateInputRequired || s == a2a.TaskStateAuthRequired
}

var (
	plainName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
	plainCode = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)
)

// question is what the task that was read asks; ok false: it works.
func (e *errand) question() (q asked, ok bool) {
	s := e.seen.Status
	switch {
	case s.State.Terminal():
		return asked{Ended: true}, true
	case !settled(s.State):
		return q, false
	}
	q = asked{Name: "input", Prompt: "The remote agent needs an answer."}
	if s.Message == nil {
		return q, true
	}
	if words := texts(s.Message.Parts); words != "" {
		q.Prompt = task.Clip(words, 4<<10)
	}
	for _, p := range s.Message.Parts {
		raw, ok := dataOf(p)
		var of struct {
			Questions []struct {
				Name, Prompt string
				Schema       json.RawMessage
			}
		}
		if !ok || json.Unmarshal(raw, &of) != nil || len(of.Questions) != 1 { // of several each is answered by its name
			continue
		}
		if one := of.Questions[0]; plainName.MatchString(one.Name) {
			q.Name, q.Schema = one.Name, boundSchema(one.Schema)
		}
	}
	return q, true
}

func boundSchema(raw json.RawMessage) json.RawMessage {
	if len(raw) > task.MaxWaitSchema {
		return nil
	}
	return raw
}

// end is the result of a remote task that has ended.
func (e *errand) end(ctx context.Context, id string) (any, error) {
	if e.seen == nil || !e.seen.Status.State.Terminal() {
		var err error
		if e.seen, err = e.get(ctx, id); err != nil {
			return nil, lasting(err)
		}
	}
	t := e.seen
	if t.Status.State == a2a.TaskStateCompleted {
		return t.result(), nil
	}
	failed := &agent.Error{Code: task.CodeAgentError, Permanent: true, Message: "the remote agent failed"}
	switch t.Status.State {
	case a2a.TaskStateRejected:
		failed.Code, failed.Message = "rejected", "the remote agent rejected the task"
	case a2a.TaskStateCanceled:
		failed.Code, failed.Message = "remote_canceled", "the remote task was canceled"
	}
	if t.Status.Message != nil {
		if words := texts(t.Status.Message.Parts); words != "" {
			failed.Message = task.Clip(words, 1<<10)
		}
	}
	if of, ok := t.Metadata["mesh/error"].(map[string]any); ok && failed.Code == task.CodeAgentError {
		if code, _ := of["code"].(string); plainCode.MatchString(code) {
			failed.Code = code
		}
	}
	return nil, failed
}

// part is a part as it came.
type part struct {
	Text      *string         `json:"text,omitempty"`
	Raw       *string         `json:"raw,omitempty"`
	URL       *string         `json:"url,omitempty"`
	Data      json.RawMessage `json:"data,omitempty"`
	MediaType string          `json:"mediaType,omitempty"`
	Filename  string          `json:"filename,omitempty"`
}

// result is what the artifacts of a task come to: one text or value as such, and
// otherwise all of them. The output text is told already, and counts where it is alone.
func (t *remoteTask) result() any {
	var all []json.RawMessage
	var only []part
	for _, raw := range t.artifacts {
		var a struct {
			ArtifactID string
			Parts      []part
		}
		if json.Unmarshal(raw, &a) == nil && (a.ArtifactID != outputID || len(t.artifacts) == 1) {
			all, only = append(all, raw), a.Parts
		}
	}
	switch {
	case len(all) == 0 && t.Status.Message != nil:
		return texts(t.Status.Message.Parts)
	case len(all) == 0:
		return nil
	case len(all) == 1 && len(only) == 1 && (only[0].Text != nil || only[0].Data != nil):
		return valueOf(only)
	}
	return map[string]any{"artifacts": all}
}

// valueOf is one text or value as such, texts as one, and other parts as they came.
func valueOf(of []part) any {
	if len(of) == 1 && of[0].Data != nil {
		return of[0].Data
	}
	var words []string
	for _, p := range of {
		if p.Text == nil {
			return map[string]any{"message": map[string]any{"parts": of}}
		}
		words = append(words, *p.Text)
	}
	return strings.Join(words, "\n\n")
}

// texts are the texts of parts.
func texts(of a2a.ContentParts) string {
	var all []string
	for _, p := range of {
		if p != nil && p.Text() != "" {
			all = append(all, p.Text())
		}
	}
	return strings.Join(all, "\n\n")
}

// dataOf is the value of a data part.
func dataOf(p *a2a.Part) (json.RawMessage, bool) {
	if p == nil || p.Data() == nil {
		return nil, false
	}
	raw, err := task.Marshal(p.Data())
	return raw, err == nil
}

// talk is what a session with a remote agent keeps.
type talk struct {
	ContextID string `json:"context_id,omitempty"`
	TaskID    string `json:"task_id,omitempty"` // that waits for an answer
}

// turn is one turn of a session: a message in the context of the session before. What
// the remote agent asks is the reply, and the next turn answers it.
func (e *errand) turn(ctx context.Context) (any, error) {
	var t talk
	_ = json.Unmarshal(e.job.Turn.State, &t)
	m := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(e.job.Instruction))
	m.ID, m.ContextID, m.TaskID = e.job.TaskID, t.ContextID, a2a.TaskID(t.TaskID)
	at, err := e.begin(ctx, map[string]any{"message": m, "configuration": map[string]any{"returnImmediately": true}}, e.job.TaskID)
	if err != nil {
		return nil, lasting(err)
	}
	if t = (talk{ContextID: at.ContextID}); at.TaskID == "" {
		return replied(valueOf(at.Parts), t)
	}
	defer e.passOn(ctx, at.TaskID)
	q, err := e.follow(ctx, at.TaskID)
	if err != nil {
		return nil, lasting(err)
	}
	if !q.Ended {
		t.TaskID = at.TaskID
		return agent.Reply{Message: q.Prompt, State: t}, nil
	}
	v, err := e.end(ctx, at.TaskID)
	if err != nil {
		return nil, err
	}
	return replied(v, t)
}

// replied is a value as the reply of a turn.
func replied(v any, t talk) (any, error) {
	text, ok := v.(string)
	if !ok {
		raw, err := task.Marshal(v)
		if err != nil {
			return nil, agent.Permanent(err)
		}
		text = string(raw)
	}
	return agent.Reply{Message: text, State: t}, nil
}
