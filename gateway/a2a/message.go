package a2a

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/uuid"

	"agentmesh/shared/a2aform"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// sending is the params of both ways to send a message. The message is read as it
// came: the values of its data parts keep their numbers.
type sending struct {
	Tenant   string                 `json:"tenant,omitempty"`
	Config   *a2a.SendMessageConfig `json:"configuration,omitempty"`
	Message  *message               `json:"message,omitempty"`
	Metadata json.RawMessage        `json:"metadata,omitempty"`
}

type message struct {
	ID         string          `json:"messageId"`
	ContextID  string          `json:"contextId"`
	TaskID     string          `json:"taskId"`
	Role       string          `json:"role"`
	Parts      []part          `json:"parts"`
	Metadata   json.RawMessage `json:"metadata,omitempty"`
	Extensions []string        `json:"extensions,omitempty"`
	References []string        `json:"referenceTaskIds,omitempty"`
}

type part struct {
	Text      *string         `json:"text,omitempty"`
	Raw       *[]byte         `json:"raw,omitempty"`
	URL       *string         `json:"url,omitempty"`
	Data      json.RawMessage `json:"data,omitempty"`
	Filename  string          `json:"filename,omitempty"`
	MediaType string          `json:"mediaType,omitempty"`
}

// file is a part that is a file, as the agent gets it. Nobody fetches its URL.
type file struct {
	Filename  string  `json:"filename,omitempty"`
	MediaType string  `json:"mediaType,omitempty"`
	Bytes     *[]byte `json:"bytes,omitempty"`
	URL       string  `json:"url,omitempty"`
}

// content is what the parts of a message say.
type content struct {
	text  string
	texts int
	data  []json.RawMessage
	files []file
}

// check refuses a message that is none.
func (s *sending) check() error {
	var faults []mesh.Invalid
	fault := func(pointer, detail string) { faults = append(faults, mesh.Field(detail, pointer)) }
	m := s.Message
	if m == nil {
		return invalid(mesh.Field("is missing", "/message"))
	}
	if m.ID == "" || len(m.ID) > 256 {
		fault("/message/messageId", "must have 1 to 256 bytes")
	}
	if m.Role != string(a2a.MessageRoleUser) {
		fault("/message/role", "must be ROLE_USER")
	}
	if len(m.Parts) == 0 {
		fault("/message/parts", "must have at least one part")
	}
	for i, p := range m.Parts {
		n := 0
		for _, set := range []bool{p.Text != nil, p.Raw != nil, p.URL != nil, len(p.Data) > 0} {
			if set {
				n++
			}
		}
		if n != 1 && len(faults) < mesh.MaxFaults {
			fault("/message/parts/"+strconv.Itoa(i), "must have exactly one of text, raw, url and data")
		}
	}
	if c := s.Config; c != nil && c.HistoryLength != nil && *c.HistoryLength < 0 {
		fault("/configuration/historyLength", "must not be negative")
	}
	if len(faults) > 0 {
		return invalid(faults...)
	}
	return s.modes()
}

// modes refuses a client that takes nothing of what agents give.
func (s *sending) modes() error {
	if s.Config == nil || len(s.Config.AcceptedOutputModes) == 0 {
		return nil
	}
	ours := []string{"*/*", "text/*", mediaText, "application/*", mediaJSON}
	if slices.ContainsFunc(s.Config.AcceptedOutputModes, func(mode string) bool { return slices.Contains(ours, mode) }) {
		return nil
	}
	return refuse(a2a.ErrUnsupportedContentType, "", "Agents answer with text/plain and application/json; accept one of them, or leave acceptedOutputModes out.")
}

func (m *message) content() (c content) {
	var texts []string
	for _, p := range m.Parts {
		switch {
		case p.Text != nil:
			texts = append(texts, *p.Text)
		case len(p.Data) > 0:
			c.data = append(c.data, p.Data)
		case p.Raw != nil:
			c.files = append(c.files, file{p.Filename, p.MediaType, p.Raw, ""})
		case p.URL != nil:
			c.files = append(c.files, file{p.Filename, p.MediaType, nil, *p.URL})
		}
	}
	c.text, c.texts = strings.Join(texts, "\n\n"), len(texts)
	return c
}

var contextID = regexp.MustCompile(`^[A-Za-z0-9._~:-]{1,128}$`)

// origin is what a task keeps of the message.
func (s *sending) origin() (json.RawMessage, error) {
	m := s.Message
	meta, err := task.Marshal(map[string]a2aform.Origin{"a2a": {MessageID: m.ID, Metadata: m.Metadata, RequestMetadata: s.Metadata, References: m.References, Extensions: m.Extensions}})
	if err != nil {
		return nil, fmt.Errorf("keep metadata of a message: %w", err)
	}
	return meta, nil
}

// submission is the task that a message asks for.
func (s *sending) submission(agent string, schema json.RawMessage) (*mesh.Submission, error) {
	m, c := s.Message, s.Message.content()
	id := m.ContextID
	switch {
	case id == "":
		id = "ctx_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	case strings.HasPrefix(id, "ses_"):
		return nil, invalid(mesh.Field("this agent has no sessions; its contexts are names", "/message/contextId"))
	case !contextID.MatchString(id):
		return nil, invalid(mesh.Field("it must match "+contextID.String(), "/message/contextId"))
	}
	meta, err := s.origin()
	if err != nil {
		return nil, err
	}
	sub := &mesh.Submission{Kind: task.KindTask, Agent: agent, Metadata: meta, Labels: map[string]string{a2aform.ContextLabel: id}}
	switch {
	case len(c.data) == 0 && len(c.files) == 0:
		if needsObject(schema) {
			return nil, invalid(mesh.Field("this agent takes one data part, whose schema is in its card", "/message/parts"))
		}
		sub.Instruction = c.text
	case len(c.data) == 1 && len(c.files) == 0:
		sub.Input, sub.Instruction = c.data[0], c.text
	default:
		sub.Input, err = task.Marshal(struct {
			Text  string            `json:"text,omitempty"`
			Data  []json.RawMessage `json:"data,omitempty"`
			Files []file            `json:"files,omitempty"`
		}{c.text, c.data, c.files})
	}
	return sub, err
}

// needsObject reports whether a schema takes objects only.
func needsObject(schema json.RawMessage) bool {
	var s struct{ Type string }
	return json.Unmarshal(schema, &s) == nil && s.Type == "object"
}

// answer is one answer to a question.
type answer struct {
	name  string
	value json.RawMessage
}

// answers reads a message as answers to the open questions.
func (c content) answers(open []task.Wait) ([]answer, error) {
	switch {
	case len(c.data) > 1 || len(c.files) > 0:
		return nil, invalid(mesh.Field("an answer is text, or one data part", "/message/parts"))
	case len(c.data) == 0:
		return []answer{{open[0].Name, task.TextValue(c.text, open[0].Schema)}}, nil
	case len(open) == 1:
		return []answer{{open[0].Name, c.data[0]}}, nil
	}
	var given map[string]json.RawMessage
	if json.Unmarshal(c.data[0], &given) != nil || len(given) == 0 {
		return nil, invalid(mesh.Field("several questions are open; send an object with an answer for each name", "/message/parts"))
	}
	var all []answer
	for _, w := range open {
		if v, ok := given[w.Name]; ok {
			all = append(all, answer{w.Name, v})
			delete(given, w.Name)
		}
	}
	for name := range given {
		return nil, invalid(mesh.Field("no question of this name is open", "/message/parts/data/"+mesh.Pointer(mesh.Clip(name, 128))))
	}
	return all, nil
}
