package agent

import (
	"context"
	"encoding/json"
	"time"

	"agentmesh/shared/task"
)

// Lines is the durable memory of a job whose agent is a program or a service: it
// starts again from its top in each run, and is told what the runs before have
// finished. Its waits are not calls: it says what it waits for, and ends.
type Lines interface {
	// Past is what the runs before have left. Each call looks anew. valueURL is where the
	// agent reads the large values of its task's steps by itself; empty: all are here.
	Past(ctx context.Context, valueURL string) (Past, error)
	// Keep writes a line, and returns when it is durable.
	Keep(ctx context.Context, l Line) error
	// Await waits until something that the job waits for has come: the agent is to be
	// started again. When that takes long the job is suspended, and Await returns why
	// ctx has ended.
	Await(ctx context.Context) error
	// Listen has f take the lines that the agent sends to the gateway while it runs,
	// until stop. What f returns is the answer; an *Error says what is wrong with a line,
	// any other that the attempt has ended.
	Listen(f func(line []byte) (answer []byte, err error)) (stop func())
}

// Past is what the runs before have left.
type Past struct {
	Run        int             // this one, from 1
	Steps      []PastStep      // in the order in which they were written
	Checkpoint json.RawMessage // the newest; nil: none
}

// PastStep is one entry of a job's journal, as agents of any language receive it.
type PastStep struct {
	Name     string          `json:"name"`
	N        int             `json:"n"`                   // of those of the name, from 0
	Kind     LineKind        `json:"kind,omitempty"`      // empty: a finished step
	Value    json.RawMessage `json:"value,omitempty"`     // of a step; of an answer or an event
	ValueURL string          `json:"value_url,omitempty"` // where the value is, when it is large
	Error    *LineError      `json:"error,omitempty"`     // a failure that stays; of an answer: none came

	Key string `json:"-"` // the hash of what a step depends on; empty: nothing
}

// LineError is a failure that is remembered.
type LineError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// LineKind says what a line or an entry is.
type LineKind string

// The kinds of lines, and of what came of a wait.
const (
	LineStep       LineKind = "step"
	LineStarted    LineKind = "started"
	LineCheckpoint LineKind = "checkpoint"
	LineSleep      LineKind = "sleep"
	LineAsk        LineKind = "ask"
	LineWait       LineKind = "wait"

	PastAnswer LineKind = "answer" // of a question or an event
)

// Waits reports whether the agent is to end after a line of the kind.
func (k LineKind) Waits() bool { return k == LineSleep || k == LineAsk || k == LineWait }

// Line is what an agent has told, to be kept.
type Line struct {
	Kind LineKind
	Name string // of all but a checkpoint
	N    int
	Ack  bool // the agent waits until it is durable

	Key   string          // of a step: the hash of what it depends on; empty: nothing
	Value json.RawMessage // of a step or a checkpoint
	Error *LineError      // of a step that failed for good

	Prompt  string          // of a question
	Schema  json.RawMessage // of its answer; nil: any
	Timeout time.Duration   // of a question or an event; 0: as long as the mesh waits
	For     time.Duration   // of a sleep
	Until   time.Time       // of a sleep to a time
}

// WithLines sets what keeps the job's lines and returns the job.
func (j *Job) WithLines(l Lines) *Job {
	j.lines = l
	return j
}

// Lines is the durable memory of the job for agents outside of Go. The error is that
// the job has none.
func (j *Job) Lines() (Lines, error) {
	if j.lines == nil {
		return nil, &Error{Code: task.CodeAgentError, Message: "this job keeps no steps", Permanent: true}
	}
	return j.lines, nil
}
