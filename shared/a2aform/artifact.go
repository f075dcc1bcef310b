package a2aform

import (
	"encoding/json"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/task"
)

// The artifacts of every task.
const (
	OutputID = "output"
	ResultID = "result"
)

// Output is the output text that the record has: its newest part; nil: none.
func Output(t *task.Task) *a2a.Artifact {
	if t.OutputBytes == 0 {
		return nil
	}
	a := &a2a.Artifact{ID: OutputID, Name: OutputID, Parts: a2a.ContentParts{a2a.NewTextPart(t.Output)}}
	if cut := t.OutputBytes - int64(len(t.Output)); cut > 0 {
		a.Metadata = map[string]any{"mesh/left_out": cut}
	}
	return a
}

// Linked is a result that is read elsewhere.
func Linked(url string) []*a2a.Artifact {
	return one(a2a.NewFileURLPart(a2a.URL(url), "application/json"))
}

func one(p *a2a.Part) []*a2a.Artifact {
	return []*a2a.Artifact{{ID: ResultID, Name: ResultID, Parts: a2a.ContentParts{p}}}
}

// Artifacts reads a result: the artifacts that an agent made itself, a text, or any
// other value.
func Artifacts(raw json.RawMessage) []*a2a.Artifact {
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
	if v := only(raw, "message", "awaiting"); len(v) > 0 && v[0] == '"' { // a reply that asks
		return text, json.Unmarshal(v, &text) == nil
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
	if t.Kind == task.KindTurn {
		var reply struct{ Message string }
		_ = json.Unmarshal(t.Result.Inline, &reply)
		return reply.Message
	}
	if v := only(t.Result.Inline, "message"); len(v) > 0 && v[0] == '"' {
		text, _ := textOf(v)
		return text
	}
	return ""
}

// awaiting is the name of the question that the reply of a turn is; empty: it is none.
func awaiting(t *task.Task) string {
	var reply struct{ Awaiting string }
	_ = json.Unmarshal(t.Result.Inline, &reply)
	return reply.Awaiting
}

// only is the member of an object that has it, those that go with it, and no others;
// else nil.
func only(raw json.RawMessage, name string, with ...string) json.RawMessage {
	var members map[string]json.RawMessage
	if len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &members) != nil || len(members) != 1+len(with) {
		return nil
	}
	for _, other := range with {
		if members[other] == nil {
			return nil
		}
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

// Direct is the message that an agent answers with instead of a task; nil: none.
func Direct(t *task.Task) *a2a.Message {
	if t.Status != task.Completed {
		return nil
	}
	v := only(t.Result.Inline, "message")
	var m struct{ Parts a2a.ContentParts }
	if len(v) == 0 || v[0] != '{' || json.Unmarshal(v, &m) != nil || !whole(m.Parts) {
		return nil
	}
	direct := Said(t, "reply", m.Parts...)
	direct.TaskID = ""
	return direct
}
