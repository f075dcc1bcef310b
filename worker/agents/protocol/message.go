package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// types are those of messages.
var types = []string{"progress", "milestone", "output", "result", "reply", "error"}

// message is a line that is one. Its names are exact.
type message struct {
	kind   string
	fields map[string]json.RawMessage
	job    *agent.Job // is told of what is odd
}

// parse tells a message of one of the types from text. A line that was meant as a message and is
// none is a fault: taken for text it would be lost, or become the result.
func parse(line []byte, types []string) (m message, ok bool, err error) {
	trimmed := bytes.Trim(bytes.TrimPrefix(line, mark), blanks)
	if err := json.Unmarshal(trimmed, &m.fields); err != nil {
		if kind := meant(trimmed, types); kind != "" {
			return m, false, bad("the %s message %s is no JSON object: %v", kind, task.Clip(string(trimmed), maxShown), err)
		}
		return m, false, nil
	}
	if json.Unmarshal(m.fields["type"], &m.kind) != nil || !slices.Contains(types, m.kind) {
		return m, false, nil
	}
	return m, true, nil
}

// typeField matches what stands where a member of an object begins, also where
// the quotes are those of Python or JavaScript.
var typeField = regexp.MustCompile(`^\s*["']?type["']?\s*:\s*["']?([a-z]*)(["']?)(.?)`)

// meant is the type of the message that a line was meant to be which is no JSON:
// one that is cut short, two in a row, a value that JSON does not have. Empty: it
// is text.
func meant(line []byte, types []string) string {
	depth, quote := 0, byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote != 0:
			if c == '\\' {
				i++
			} else if c == quote {
				quote = 0
			}
			continue
		case c == '"', c == '\'':
			quote = c
			continue
		case c == '{', c == '[':
			depth++
		case c == '}', c == ']':
			depth--
		}
		if depth != 1 || c != '{' && c != ',' {
			continue
		}
		field := typeField.FindSubmatch(line[i+1:])
		if field == nil {
			continue
		}
		value, closed, more := string(field[1]), len(field[2]) > 0, len(field[3]) > 0
		for _, kind := range types {
			if closed && value == kind || !closed && !more && strings.HasPrefix(kind, value) {
				return kind
			}
		}
	}
	return ""
}

// take acts on a message.
func (s *stream) take(m message) error {
	m.job = s.job
	switch m.kind {
	case "progress":
		percent, ok := m.percent()
		if !ok {
			m.warn(`"percent" is no number from 0 to 100: it was left out`)
			return nil
		}
		text, _ := m.text("message")
		s.job.Progress(percent, text)
	case "milestone":
		s.milestone(m)
	case "output":
		text, ok := m.text("text")
		if !ok && m.fields["text"] == nil {
			m.warn(`"text" is missing`)
		}
		return s.output(strings.ToValidUTF8(text, "\uFFFD"))
	case "result":
		if m.fields["result"] == nil {
			return m.lacks("result")
		}
		if len(m.fields["result"]) > s.limit {
			return tooLarge("the result", s.limit)
		}
		s.outcome.Result = m.fields["result"]
	case "reply":
		return s.reply(m)
	case "error":
		return s.failure(m)
	default:
		return s.durable(m)
	}
	return nil
}

// durable keeps a message before the next one is read.
func (s *stream) durable(m message) error {
	ack, wanted, err := s.book.take(s.ctx, m)
	if err == nil && wanted && s.acks != nil {
		s.acks(ack)
	}
	return err
}

func (s *stream) milestone(m message) {
	name, _ := m.text("name")
	if name == "" {
		m.warn(`"name" is missing: it was left out`)
		return
	}
	text, _ := m.text("message")
	var data any
	if raw := m.fields["data"]; raw != nil && string(raw) != "null" {
		data = raw
	}
	if err := s.job.Milestone(s.ctx, name, text, data); err != nil && s.ctx.Err() == nil {
		m.warn("it could not be stored")
	}
}

func (s *stream) reply(m message) error {
	r := &agent.Reply{}
	if raw := m.fields["message"]; raw != nil && json.Unmarshal(raw, &r.Message) != nil {
		return bad(`the reply message %s has a "message" that is no text`, m.clip())
	}
	if r.Message == "" {
		return m.lacks("message")
	}
	if raw := m.fields["state"]; raw != nil {
		r.State = raw
	}
	s.outcome.Reply = r
	return nil
}

// failure takes an error message. However odd, it is an error.
func (s *stream) failure(m message) error {
	code, _ := m.text("code")
	text, _ := m.text("message")
	if code == "" && text == "" {
		return m.lacks("message")
	}
	s.outcome.Err = &agent.Error{Code: code, Message: text}
	switch v := strings.ToLower(strings.Trim(string(m.fields["retryable"]), `"`)); v {
	case "false", "0":
		s.outcome.Err.Permanent = true
	case "", "true", "1", "null":
	default:
		m.warn(`"retryable" is neither true nor false: it counts as true`)
	}
	return nil
}

// text is a member that should be a text. Another value is taken as its JSON,
// with a warning.
func (m message) text(name string) (text string, ok bool) {
	raw := m.fields[name]
	if raw == nil || string(raw) == "null" {
		return "", false
	}
	if json.Unmarshal(raw, &text) != nil {
		m.warn(fmt.Sprintf("%q is no text: its JSON was taken", name))
		text = string(raw)
	}
	return text, true
}

// percent is that of a progress message, 0 where it has none. A text such as
// "70%" is taken, with a warning.
func (m message) percent() (int, bool) {
	raw := string(m.fields["percent"])
	if raw == "" || raw == "null" {
		return 0, true
	}
	var text string
	if json.Unmarshal([]byte(raw), &text) == nil {
		m.warn(`"percent" is a text, not a number`)
		raw = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "%"))
	}
	v, err := strconv.ParseFloat(raw, 64) // beyond its range it is infinite, with an error
	if math.IsNaN(v) || err != nil && !math.IsInf(v, 0) {
		return 0, false
	}
	return int(min(max(v, 0), 100)), true
}

// warn tells the agent's author, without the values: a hundred equal mistakes are
// one warning.
func (m message) warn(what string) { m.job.Warn("a " + m.kind + " message: " + what) }

func (m message) lacks(name string) error {
	return bad("the %s message %s has no %q", m.kind, m.clip(), name)
}

func (m message) clip() string {
	raw, _ := task.Marshal(m.fields)
	return task.Clip(string(raw), maxShown)
}

// maxShown is how much of a message an error shows, in bytes.
const maxShown = 120
