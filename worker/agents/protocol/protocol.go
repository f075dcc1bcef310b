// Package protocol is how an agent of any language talks with the mesh: it
// receives one JSON object, and answers in lines. A line that is a JSON object
// with a known type is a message; any other line is output text, which is passed
// on as it comes. Names and types are exact. A line that was meant as a message
// and is none is a fault, since an error must not become a result; a side note
// (progress, milestone, output) that is not as it should be costs a warning.
//
//	{"type":"progress","percent":70,"message":".."}
//	{"type":"milestone","name":"..","message":"..","data":{}}
//	{"type":"output","text":".."}
//	{"type":"result","result":any}
//	{"type":"reply","message":"..","state":{}}     of a turn
//	{"type":"error","code":"..","message":"..","retryable":false}
//
// What an agent that keeps steps says besides, see [Book], is durable in the order
// of its lines, and each of them is as it should be or a fault:
//
//	{"type":"step","name":"..","n":0,"key":any,"value":any,"error":{"code":"..","message":".."},"ack":true}
//	{"type":"started","name":".."}
//	{"type":"checkpoint","value":any}
//	{"type":"sleep","name":"..","for":"24h"}                                   it ends then, and so for
//	{"type":"ask","name":"..","prompt":"..","schema":{},"timeout":"48h"}
//	{"type":"wait","name":"..","timeout":"10m"}
//
// It promises that every stream of bytes has a defined outcome, within bounds
// of memory. It knows neither processes nor HTTP.
package protocol

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
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
	Metadata    json.RawMessage   `json:"metadata,omitempty"`
	ScheduledAt *time.Time        `json:"scheduled_at,omitempty"` // of a schedule's run: when it was due
	Session     *Session          `json:"session,omitempty"`      // of a turn

	// Of agents that keep steps.
	Run        int              `json:"run,omitempty"` // from 1: how often the task was begun or gone on with
	Steps      []agent.PastStep `json:"steps,omitempty"`
	Checkpoint json.RawMessage  `json:"checkpoint,omitempty"`
	StepsURL   string           `json:"steps_url,omitempty"` // where a service keeps steps while it runs
	Lease      string           `json:"lease,omitempty"`     // what it shows there
}

// Session is the conversation that a turn belongs to.
type Session struct {
	SessionID string          `json:"session_id"`
	Messages  []agent.Message `json:"messages"` // oldest first; the last one is the new one
	State     json.RawMessage `json:"state"`    // an object, empty before the first reply
}

// Encode is the object of a job as one line of JSON, without a line break.
func Encode(job *agent.Job) ([]byte, error) { return task.Marshal(request(job)) }

func request(job *agent.Job) Request {
	r := Request{
		TaskID: job.TaskID, Kind: job.Kind, Agent: job.Agent, Attempt: job.Attempt,
		Instruction: job.Instruction, Input: job.Input, Labels: job.Labels, TraceParent: job.TraceParent, Metadata: job.Metadata,
	}
	if !job.Deadline.IsZero() {
		r.Deadline = &job.Deadline
	}
	if !job.ScheduledAt.IsZero() {
		r.ScheduledAt = &job.ScheduledAt
	}
	if t := job.Turn; t != nil {
		r.Session = &Session{SessionID: t.SessionID, Messages: t.Messages, State: t.State}
		if t.State == nil {
			r.Session.State = json.RawMessage("{}")
		}
	}
	return r
}

// Outcome is what an agent's lines came to.
type Outcome struct {
	Result json.RawMessage // of the last result message, nil without one
	Reply  *agent.Reply    // of the last reply message, nil without one
	Err    *agent.Error    // of the last error message
	Text   string          // all output text
	Empty  bool            // it is nothing at all: null
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
	case o.Empty:
		return nil, nil
	}
	return map[string]string{"text": o.Text}, nil
}

// Read reads an agent's lines until the end of r and reports what they say to
// the job. A fault of the agent is an *agent.Error with the code
// agent_bad_output or result_too_large; any other error is that of r.
func Read(ctx context.Context, r io.Reader, job *agent.Job) (*Outcome, error) {
	return ReadDurable(ctx, r, job, nil, nil)
}

// ReadDurable is Read for an agent that keeps steps: b has them, and acks gets the
// words that the agent has asked for. An error of the journal is returned as it is.
func ReadDurable(ctx context.Context, r io.Reader, job *agent.Job, b *Book, acks func(Ack)) (*Outcome, error) {
	s := newStream(ctx, job, b, acks)
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if fault := s.write(buf[:n]); fault != nil {
			return nil, fault
		}
		switch {
		case errors.Is(err, io.EOF):
			return s.end()
		case err != nil:
			return nil, err
		}
	}
}

func bad(format string, args ...any) error {
	return &agent.Error{Code: task.CodeAgentBadOutput, Message: "bad output: " + fmt.Sprintf(format, args...), Permanent: true}
}

func tooLarge(what string, limit int) error {
	return &agent.Error{
		Code: task.CodeResultTooLarge, Permanent: true,
		Message: fmt.Sprintf("%s is over %d bytes: store it elsewhere and return a reference", what, limit),
	}
}
