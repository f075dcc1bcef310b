package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"agentmesh/shared/task"
)

// Job is one attempt of a task as its handler sees it. Its methods are safe for
// concurrent use and never block on the network, except Milestone.
type Job struct {
	TaskID      string
	Kind        task.Kind
	Tenant      string
	Agent       string
	Attempt     int // from 1
	Instruction string
	Input       json.RawMessage // nil when the task has none
	Labels      map[string]string
	Deadline    time.Time // zero: none
	ScheduledAt time.Time // of a schedule's run: when it was due; else zero
	TraceParent string    // W3C, of the span that this attempt runs in

	Metadata json.RawMessage // as the client sent it; nil: none

	// MaxResult is the largest result in bytes that the worker takes.
	MaxResult int64

	// Turn is the session that the job is a turn of; nil for any other task.
	// Instruction is the user's new message then.
	Turn *Turn

	// Key is what a program shows to the gateway to call the mesh for this job
	// (Authorization: Bearer): as the tenant of the task, with the scopes tasks:read,
	// tasks:write and agents:read, while this attempt runs. It is empty unless the
	// agent Calls. Of one that only Tells it is for the steps of this task.
	Key Secret

	reporter Reporter
	caller   Caller
	lines    Lines
	waiter   Waiter

	// Within is what the job may use at most of models: what the job that called it has
	// left.
	Within  task.Within
	journal Journal
}

// Secret never shows itself.
type Secret string

// Reveal is the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String hides the secret.
func (Secret) String() string { return "***" }

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the secret from encoders and loggers.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Caller runs another agent for a job. The worker implements it; tests of a
// handler may.
type Caller interface {
	Call(ctx context.Context, agent string, input json.RawMessage) (json.RawMessage, error)
}

// Reporter receives what a job tells while it runs. The worker implements it;
// tests of a handler may.
type Reporter interface {
	Progress(percent int, message string)
	Milestone(ctx context.Context, name, message string, data json.RawMessage) error
	Output(text string)
}

// Meter is a Reporter whose output has places, and that takes what a job uses.
type Meter interface {
	// OutputAt says what stands in the output from an offset on, and OutputEnd that
	// nothing stands behind one.
	OutputAt(offset int64, text string)
	OutputEnd(offset int64)
	// Used is what the job has used so far, in all of its runs, and the limit that has
	// ended its work early, if one has.
	Used(u task.Usage, stoppedBy string)
}

// Warner is a Reporter that also takes warnings.
type Warner interface{ Warn(text string) }

// NewJob makes the job of attempt t.Attempt of t, whose input has been read.
func NewJob(t *task.Task, input json.RawMessage, traceParent string, r Reporter) *Job {
	return &Job{
		TaskID: string(t.ID), Kind: t.Kind, Tenant: t.Tenant, Agent: t.Agent, Attempt: t.Attempt,
		Instruction: t.Instruction, Input: input, Labels: t.Labels, Deadline: t.Deadline, ScheduledAt: t.ScheduledAt, Within: t.Within,
		TraceParent: traceParent, Metadata: t.Metadata, MaxResult: DefaultMaxResult, reporter: r,
	}
}

// DefaultMaxResult is the largest result in bytes where nothing else is said.
const DefaultMaxResult = 32 << 20

// WithCaller sets what runs the job's calls and, if it is a Waiter, does its waits.
// It returns the job.
func (j *Job) WithCaller(c Caller) *Job {
	j.caller = c
	j.waiter, _ = c.(Waiter)
	return j
}

// Call runs another agent with input and waits for its result: a task of its
// own, in the same trace, that has this one's deadline and is canceled with it.
// While it waits the job gives its slot to others. input is encoded as JSON,
// nil means none. One that waits for long lets go of its task, as Wait does.
//
// When this task is retried, the n-th equal call finds the task that the n-th
// equal call of the attempt before started, running or finished, instead of
// starting another. So the error of a child that failed is permanent: code
// child_failed, input_invalid for an input that breaks the schema of the called
// agent, and call_too_deep for what cannot be waited for. When ctx ends, Call returns
// its cause.
func (j *Job) Call(ctx context.Context, agent string, input any) (json.RawMessage, error) {
	var raw json.RawMessage
	if input != nil {
		var err error
		if raw, err = encode(input); err != nil {
			return nil, Permanent(fmt.Errorf("call %s: encode the input: %w", agent, err))
		}
	}
	if j.caller == nil {
		return nil, fmt.Errorf("call %s: this job cannot call", agent)
	}
	return j.caller.Call(ctx, agent, raw)
}

// Bind decodes the input into v. The error is permanent: the same input will
// not decode next time either.
func (j *Job) Bind(v any) error {
	if j.Input == nil {
		return &Error{Code: task.CodeBadInput, Message: "the task has no input", Permanent: true}
	}
	if err := json.Unmarshal(j.Input, v); err != nil {
		return &Error{Code: task.CodeBadInput, Message: "input: " + err.Error(), Permanent: true, Err: err}
	}
	return nil
}

// Progress tells how far the attempt is: percent is clamped to 0..100, message
// is cut at 1 KiB. Only the newest report is kept; a few a second reach the
// record, however many are made.
func (j *Job) Progress(percent int, message string) {
	j.reporter.Progress(min(max(percent, 0), 100), task.Cut(message, maxMessage))
}

// Milestone records a named step for good: it is kept in order, seen by every
// reader and survives a crash once Milestone has returned nil. A task keeps the
// newest 1,000, or 256 KiB of them: a reader that comes later misses older ones.
// data is kept when it encodes as JSON within MaxData; otherwise the milestone is
// kept without it, and the task gets a warning. Milestone returns
// context.Cause(ctx) when the attempt may not write any more.
func (j *Job) Milestone(ctx context.Context, name, message string, data any) error {
	var raw json.RawMessage
	if data != nil {
		b, err := encode(data)
		switch {
		case err != nil:
			j.Warn(fmt.Sprintf("milestone %s: its data was left out: %v", name, err))
		case len(b) > MaxData:
			j.Warn(fmt.Sprintf("milestone %s: its data was left out: it has %d bytes, allowed are %d", name, len(b), MaxData))
		default:
			raw = b
		}
	}
	return j.reporter.Milestone(ctx, task.Cut(name, maxName), task.Cut(message, maxMessage), raw)
}

// Bounds in bytes of what a job tells.
const (
	MaxData    = 4 << 10 // of a milestone's data
	maxName    = 128
	maxMessage = 1 << 10
)

// encode is a value as the mesh keeps it.
func encode(v any) (json.RawMessage, error) {
	return task.Encode(v)
}

// Warn tells the agent's author what is wrong although the attempt goes on. The
// task keeps the first 16 different ones.
func (j *Job) Warn(text string) {
	if w, ok := j.reporter.(Warner); ok {
		w.Warn(text)
	}
}

// Output appends text to the task's live output.
func (j *Job) Output(text string) {
	if text != "" {
		j.reporter.Output(text)
	}
}

// OutputAt says what stands in the task's live output from an offset on, in bytes. An
// agent that runs again says again what it has said, and readers see no more than what
// differs. Offsets count all output of the task: one that uses OutputAt uses no Output.
func (j *Job) OutputAt(offset int64, text string) {
	if m, ok := j.reporter.(Meter); ok && text != "" {
		m.OutputAt(offset, text)
	}
}

// Thinker is a Reporter that shows what a model thinks.
type Thinker interface {
	Reasoning(offset int64, text string)
}

// Reasoning shows what a model thinks to those who follow the task now, and keeps it
// nowhere. offset is where it stands in the reasoning of its answer: at 0 it begins anew.
func (j *Job) Reasoning(offset int64, text string) {
	if t, ok := j.reporter.(Thinker); ok && text != "" {
		t.Reasoning(offset, text)
	}
}

// OutputEnd says that nothing stands in the output behind an offset.
func (j *Job) OutputEnd(offset int64) {
	if m, ok := j.reporter.(Meter); ok {
		m.OutputEnd(offset)
	}
}

// Used tells what the job has used of models and tools so far, in all of its runs,
// without the tasks that it has called. stoppedBy is the limit that has ended its work
// early, if one has.
func (j *Job) Used(u task.Usage, stoppedBy string) {
	if m, ok := j.reporter.(Meter); ok {
		m.Used(u, stoppedBy)
	}
}
