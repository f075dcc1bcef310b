// Package protocol is how an agent of any language talks with the mesh: it
// receives one JSON object, and answers in lines. A line that is a JSON object
// with a known type is a message; any other line is output text.
//
//	{"type":"progress","percent":70,"message":".."}
//	{"type":"milestone","name":"..","message":"..","data":{}}
//	{"type":"output","text":".."}
//	{"type":"result","result":any}
//	{"type":"reply","message":"..","state":{}}     of a turn
//	{"type":"error","code":"..","message":"..","retryable":false}
//
// It promises that every stream of bytes has a defined outcome, within bounds
// of memory. It knows neither processes nor HTTP.
package protocol

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// Limits of what an agent may send.
const (
	MaxLine = 1 << 20  // bytes of a line
	MaxText = 32 << 20 // bytes of output text that becomes the result
)

// Request is the object that an agent receives for one attempt.
type Request struct {
	TaskID      string            `json:"task_id"`
	Kind        task.Kind         `json:"kind"`
	Agent       string            `json:"agent"`
	Attempt     int               `json:"attempt"` // from 1
	Instruction string            `json:"instruction,omitempty"`
	Input       json.RawMessage   `json:"input,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Deadline    *time.Time        `json:"deadline,omitempty"`
	TraceParent string            `json:"traceparent,omitempty"`
	Session     *Session          `json:"session,omitempty"` // of a turn
}

// Session is the conversation that a turn belongs to.
type Session struct {
	SessionID string          `json:"session_id"`
	Messages  []agent.Message `json:"messages"` // oldest first; the last one is the new one
	State     json.RawMessage `json:"state"`    // an object, empty before the first reply
}

// Encode is the object of a job as one line of JSON, without a line break.
func Encode(job *agent.Job) ([]byte, error) {
	r := Request{
		TaskID: job.TaskID, Kind: job.Kind, Agent: job.Agent, Attempt: job.Attempt,
		Instruction: job.Instruction, Input: job.Input, Labels: job.Labels, TraceParent: job.TraceParent,
	}
	if !job.Deadline.IsZero() {
		r.Deadline = &job.Deadline
	}
	if t := job.Turn; t != nil {
		r.Session = &Session{SessionID: t.SessionID, Messages: t.Messages, State: t.State}
		if t.State == nil {
			r.Session.State = json.RawMessage("{}")
		}
	}
	return task.Marshal(r)
}

// message is any line that is a message.
type message struct {
	Type      string          `json:"type"`
	Percent   *float64        `json:"percent"`
	Name      string          `json:"name"`
	Message   string          `json:"message"`
	Data      json.RawMessage `json:"data"`
	Text      *string         `json:"text"`
	Result    json.RawMessage `json:"result"`
	State     json.RawMessage `json:"state"`
	Code      string          `json:"code"`
	Retryable *bool           `json:"retryable"`
}

// Outcome is what an agent's lines came to.
type Outcome struct {
	Result json.RawMessage // of the last result message, nil without one
	Reply  *agent.Reply    // of the last reply message, nil without one
	Err    *agent.Error    // of the last error message
	Text   string          // all output text
}

// Value is the result of an agent that ended well: its error, else its reply or
// result, else the text it put out.
func (o *Outcome) Value() (any, error) {
	switch {
	case o.Err != nil:
		return nil, o.Err
	case o.Reply != nil:
		return *o.Reply, nil
	case o.Result != nil:
		return o.Result, nil
	}
	return map[string]string{"text": o.Text}, nil
}

// Read reads an agent's lines until the end of r and reports what they say to
// the job. A fault of the agent is an *agent.Error with the code
// agent_bad_output; any other error is that of r.
func Read(ctx context.Context, r io.Reader, job *agent.Job) (*Outcome, error) {
	o, text := &Outcome{}, strings.Builder{}
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := readLine(lines)
		if len(line) > 0 {
			if err := o.take(ctx, line, job, &text); err != nil {
				return nil, err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			o.Text = strings.ToValidUTF8(text.String(), "\uFFFD")
			return o, nil
		case err != nil:
			return nil, err
		}
	}
}

// readLine reads a line with its line break, or what there is before an error.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		piece, err := r.ReadSlice('\n')
		if len(line) == 0 && err == nil {
			return piece, nil // the common line fits the buffer
		}
		// At the limit without a line break: do not wait for more.
		if line = append(line, piece...); len(line) > MaxLine || len(line) == MaxLine && err != nil {
			return nil, bad("a line is longer than %d bytes; send large results in pieces or store them elsewhere", MaxLine)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// take acts on one line.
func (o *Outcome) take(ctx context.Context, line []byte, job *agent.Job, text *strings.Builder) error {
	m, ok, err := parse(line)
	if err != nil {
		return err
	}
	if !ok {
		return output(job, text, string(line))
	}
	switch m.Type {
	case "progress":
		job.Progress(percent(m.Percent), m.Message)
	case "milestone":
		var data any
		if m.Data != nil {
			data = m.Data
		}
		if err := job.Milestone(ctx, m.Name, m.Message, data); err != nil && ctx.Err() == nil {
			return bad("%s", err)
		}
	case "output":
		return output(job, text, *m.Text)
	case "result":
		o.Result = bytes.Clone(m.Result)
	case "reply":
		o.Reply = &agent.Reply{Message: m.Message}
		if m.State != nil {
			o.Reply.State = json.RawMessage(bytes.Clone(m.State))
		}
	case "error":
		o.Err = &agent.Error{Code: m.Code, Message: m.Message, Permanent: m.Retryable != nil && !*m.Retryable}
	}
	return nil
}

func percent(p *float64) int {
	if p == nil {
		return 0
	}
	return int(min(max(*p, 0), 100))
}

func output(job *agent.Job, text *strings.Builder, s string) error {
	if text.Len()+len(s) > MaxText {
		return &agent.Error{
			Code: task.CodeResultTooLarge, Permanent: true,
			Message: fmt.Sprintf("the output text is over %d bytes: store it elsewhere and return a reference", MaxText),
		}
	}
	text.WriteString(s)
	job.Output(s)
	return nil
}

// parse tells a message from text. A message of a known type that lacks what
// the type needs is a fault: the agent meant something that would be lost.
func parse(line []byte) (m message, ok bool, err error) {
	trimmed := bytes.TrimSpace(line)
	if len(trimmed) < 2 || trimmed[0] != '{' {
		return m, false, nil
	}
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(trimmed, &head); err != nil {
		if brokenReply.Match(trimmed) { // taken for text it would become the reply
			return m, false, bad("the reply message %s: %v", clip(trimmed), err)
		}
		return m, false, nil
	}
	switch head.Type {
	case "progress", "milestone", "output", "result", "reply", "error":
	default:
		return m, false, nil
	}
	if err := json.Unmarshal(trimmed, &m); err != nil {
		return m, false, bad("the %s message %s: %v", head.Type, clip(trimmed), err)
	}
	missing := ""
	switch {
	case m.Type == "milestone" && m.Name == "":
		missing = "name"
	case m.Type == "output" && m.Text == nil:
		missing = "text"
	case m.Type == "result" && m.Result == nil:
		missing = "result"
	case m.Type == "reply" && m.Message == "":
		missing = "message"
	case m.Type == "error" && m.Message == "" && m.Code == "":
		missing = "message"
	}
	if missing != "" {
		return m, false, bad("the %s message %s has no %q", m.Type, clip(trimmed), missing)
	}
	return m, true, nil
}

// brokenReply matches what begins as a reply and may not be JSON.
var brokenReply = regexp.MustCompile(`^\{\s*"type"\s*:\s*"reply"`)

func bad(format string, args ...any) error {
	return &agent.Error{Code: task.CodeAgentBadOutput, Message: "bad output: " + fmt.Sprintf(format, args...), Permanent: true}
}

func clip(b []byte) string {
	if len(b) <= 120 {
		return string(b)
	}
	return strings.ToValidUTF8(string(b[:120]), "") + "…"
}
