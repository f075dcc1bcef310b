package a2a

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/task"
)

// oldForm writes answers in the form of A2A 0.3.
type oldForm struct {
	rest bool // of HTTP+JSON, else of JSON-RPC
	asks bool // a question ends the stream
}

// oldCanceled is how HTTP+JSON of 0.3 spells it.
const oldCanceled = "TASK_STATE_CANCELLED"

// The kinds of what JSON-RPC of 0.3 answers with; HTTP+JSON has none.
const (
	oldKindTask     = "task"
	oldKindMessage  = "message"
	oldKindStatus   = "status-update"
	oldKindArtifact = "artifact-update"
)

type oldTask struct {
	Kind      string         `json:"kind,omitempty"`
	ID        a2a.TaskID     `json:"id"`
	ContextID string         `json:"contextId"`
	Status    oldStatus      `json:"status"`
	Artifacts []oldArtifact  `json:"artifacts,omitempty"`
	History   []*oldMessage  `json:"history,omitempty"`
	Metadata  map[string]any `json:"metadata,omitempty"`
}

type oldStatus struct {
	State     string      `json:"state"`
	Message   *oldMessage `json:"message,omitempty"`
	Timestamp *time.Time  `json:"timestamp,omitempty"`
}

type oldMessage struct {
	Kind       string           `json:"kind,omitempty"`
	MessageID  string           `json:"messageId"`
	ContextID  string           `json:"contextId,omitempty"`
	TaskID     a2a.TaskID       `json:"taskId,omitempty"`
	Role       string           `json:"role"`
	Parts      []map[string]any `json:"parts,omitempty"`
	Content    []map[string]any `json:"content,omitempty"` // of HTTP+JSON
	Metadata   map[string]any   `json:"metadata,omitempty"`
	Extensions []string         `json:"extensions,omitempty"`
	References []a2a.TaskID     `json:"referenceTaskIds,omitempty"`
}

type oldArtifact struct {
	ArtifactID  a2a.ArtifactID   `json:"artifactId"`
	Name        string           `json:"name,omitempty"`
	Description string           `json:"description,omitempty"`
	Parts       []map[string]any `json:"parts"`
	Metadata    map[string]any   `json:"metadata,omitempty"`
	Extensions  []string         `json:"extensions,omitempty"`
}

type oldStatusUpdate struct {
	Kind      string         `json:"kind,omitempty"`
	TaskID    a2a.TaskID     `json:"taskId"`
	ContextID string         `json:"contextId"`
	Status    oldStatus      `json:"status"`
	Final     bool           `json:"final"`
	Metadata  map[string]any `json:"metadata,omitempty"`
}

type oldArtifactUpdate struct {
	Kind      string         `json:"kind,omitempty"`
	TaskID    a2a.TaskID     `json:"taskId"`
	ContextID string         `json:"contextId"`
	Artifact  oldArtifact    `json:"artifact"`
	Append    bool           `json:"append,omitempty"`
	LastChunk bool           `json:"lastChunk,omitempty"`
	Metadata  map[string]any `json:"metadata,omitempty"`
}

// write is an answer of 1.0 in the form of 0.3.
func (f *oldForm) write(v any) any {
	switch v := v.(type) {
	case a2a.StreamResponse:
		return f.event(v.Event)
	case *a2a.Task:
		return f.task(v)
	case *a2a.PushConfig:
		return f.push(v)
	case *pushList:
		all := make([]any, 0, len(v.Configs))
		for _, c := range v.Configs {
			all = append(all, f.push(c))
		}
		if f.rest {
			return map[string]any{"configs": all}
		}
		return all
	case *a2a.ListTasksResponse:
		all := make([]oldTask, 0, len(v.Tasks))
		for _, t := range v.Tasks {
			all = append(all, f.task(t))
		}
		return map[string]any{"tasks": all, "nextPageToken": v.NextPageToken}
	}
	if f.rest {
		return struct{}{}
	}
	return json.RawMessage("null")
}

// event is a task, a message or an update: over HTTP+JSON with its name around it.
func (f *oldForm) event(e a2a.Event) any {
	name, v := "", any(nil)
	switch e := e.(type) {
	case *a2a.Task:
		name, v = "task", f.task(e)
	case *a2a.Message:
		name, v = "message", f.message(e)
	case *a2a.TaskStatusUpdateEvent:
		final := e.Status.State.Terminal() || f.asks && e.Status.State == a2a.TaskStateInputRequired
		name, v = "statusUpdate", oldStatusUpdate{f.kind(oldKindStatus), e.TaskID, e.ContextID, f.status(e.Status), final, e.Metadata}
	case *a2a.TaskArtifactUpdateEvent:
		name, v = "artifactUpdate", oldArtifactUpdate{f.kind(oldKindArtifact), e.TaskID, e.ContextID, f.artifact(e.Artifact), e.Append, e.LastChunk, e.Metadata}
	}
	if f.rest {
		return map[string]any{name: v}
	}
	return v
}

func (f *oldForm) kind(name string) string {
	if f.rest {
		return ""
	}
	return name
}

func (f *oldForm) task(t *a2a.Task) oldTask {
	v := oldTask{Kind: f.kind(oldKindTask), ID: t.ID, ContextID: t.ContextID, Status: f.status(t.Status), Metadata: t.Metadata}
	for _, a := range t.Artifacts {
		v.Artifacts = append(v.Artifacts, f.artifact(a))
	}
	for _, m := range t.History {
		v.History = append(v.History, f.message(m))
	}
	return v
}

// state is the name of a state: input-required, or as in 1.0 but for one letter.
func (f *oldForm) state(s a2a.TaskState) string {
	switch {
	case f.rest && s == a2a.TaskStateCanceled:
		return oldCanceled
	case f.rest:
		return string(s)
	}
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(string(s), "TASK_STATE_")), "_", "-")
}

func (f *oldForm) status(s a2a.TaskStatus) oldStatus {
	return oldStatus{f.state(s.State), f.message(s.Message), s.Timestamp}
}

func (f *oldForm) message(m *a2a.Message) *oldMessage {
	if m == nil {
		return nil
	}
	v := &oldMessage{
		Kind: f.kind(oldKindMessage), MessageID: m.ID, ContextID: m.ContextID, TaskID: m.TaskID, Role: string(m.Role),
		Metadata: m.Metadata, Extensions: m.Extensions, References: m.ReferenceTasks,
	}
	if parts := f.parts(m.Parts); f.rest {
		v.Content = parts
	} else {
		v.Parts, v.Role = parts, strings.ToLower(strings.TrimPrefix(v.Role, "ROLE_"))
	}
	return v
}

func (f *oldForm) artifact(a *a2a.Artifact) oldArtifact {
	return oldArtifact{a.ID, a.Name, a.Description, f.parts(a.Parts), a.Metadata, a.Extensions}
}

func (f *oldForm) parts(of a2a.ContentParts) []map[string]any {
	all := make([]map[string]any, 0, len(of))
	for _, p := range of {
		v := map[string]any{}
		meta := p.Metadata
		switch c := p.Content.(type) {
		case a2a.Text:
			v["kind"], v["text"] = "text", string(c)
		case a2a.Raw:
			v["kind"], v["file"] = "file", f.file(p, "bytes", base64.StdEncoding.EncodeToString(c))
		case a2a.URL:
			v["kind"], v["file"] = "file", f.file(p, "uri", string(c))
		case a2a.Data:
			v["kind"] = "data"
			v["data"], meta = f.data(c.Value, meta)
		}
		if f.rest {
			delete(v, "kind")
		}
		if len(meta) > 0 {
			v["metadata"] = meta
		}
		all = append(all, v)
	}
	return all
}

// file is a file. Over HTTP+JSON its bytes are encoded twice, as most clients read them.
func (f *oldForm) file(p *a2a.Part, name, value string) map[string]any {
	v := map[string]any{}
	if p.MediaType != "" {
		v["mimeType"] = p.MediaType
	}
	if p.Filename != "" {
		v["name"] = p.Filename
	}
	switch {
	case f.rest && name == "uri":
		name = "fileWithUri"
	case f.rest:
		name, value = "fileWithBytes", base64.StdEncoding.EncodeToString([]byte(value))
	}
	v[name] = value
	return v
}

// data is a value: in 0.3 it is an object, so any other is put into one.
func (f *oldForm) data(value any, meta map[string]any) (any, map[string]any) {
	if raw, err := task.Marshal(value); err == nil && !strings.HasPrefix(string(raw), "{") {
		value, meta = map[string]any{"value": value}, maps.Clone(meta)
		if meta == nil {
			meta = map[string]any{}
		}
		meta["data_part_compat"] = true
	}
	if f.rest {
		value = map[string]any{"data": value}
	}
	return value, meta
}

func (f *oldForm) push(c *a2a.PushConfig) map[string]any {
	v := map[string]any{"id": c.ID, "url": c.URL}
	if c.Auth != nil {
		v["authentication"] = map[string]any{"schemes": []string{c.Auth.Scheme}}
	}
	if f.rest {
		return map[string]any{"name": "tasks/" + string(c.TaskID) + "/pushNotificationConfigs/" + c.ID, "pushNotificationConfig": v}
	}
	return map[string]any{"taskId": c.TaskID, "pushNotificationConfig": v}
}
