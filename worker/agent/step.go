package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"agentmesh/shared/task"
)

// StepInfo is what the function of a step is told.
type StepInfo struct {
	Name    string
	N       int // of the steps of this name, from 0
	Attempt int // of the task
	Try     int // of the step in this run, from 1
	// IdempotencyKey is the same in every attempt: <task>.<name>.<n>.
	IdempotencyKey string
	// Again says that an earlier run has begun the step and that nobody knows its end.
	// Only steps with [Marked] know.
	Again bool
}

// StepOption changes how a step runs.
type StepOption func(*StepCall)

// Key says what a step depends on: a finished one with another key does not count,
// it runs again and is replaced. v is encoded as JSON.
func Key(v any) StepOption {
	return func(c *StepCall) {
		raw, err := encode(v)
		if err != nil {
			c.fault = Permanent(fmt.Errorf("step %s: encode its key: %w", c.Name, err))
			return
		}
		c.Key = task.StepKey(raw)
	}
}

// Tries runs a step up to n times within the attempt while it fails and may be tried
// again: after backoff, then after twice as long, and so on.
func Tries(n int, backoff time.Duration) StepOption {
	return func(c *StepCall) { c.Tries, c.Backoff = n, backoff }
}

// Marked has the mesh remember that a step has begun before its function runs: one
// that began and was cut off is told so by StepInfo.Again. It costs one more write.
func Marked() StepOption { return func(c *StepCall) { c.Mark = true } }

// StepCall is a step as a Journal runs it.
type StepCall struct {
	Name    string
	Key     string // task.StepKey of what it depends on; empty: nothing
	Tries   int
	Backoff time.Duration
	Mark    bool
	Run     func(ctx context.Context, s StepInfo) (json.RawMessage, error)

	fault error
}

// Journal keeps what a job has finished. The worker implements it; tests of a handler
// may.
type Journal interface {
	// Step returns what the step came to in an earlier run, or runs it and keeps that.
	Step(ctx context.Context, c StepCall) (json.RawMessage, error)
	// Checkpoint keeps a value in the place of the one before.
	Checkpoint(ctx context.Context, v json.RawMessage) error
	// LastCheckpoint is the newest; nil: there is none.
	LastCheckpoint() json.RawMessage
}

// WithJournal sets what keeps the job's steps and returns the job.
func (j *Job) WithJournal(to Journal) *Job {
	j.journal = to
	return j
}

// Step runs fn and keeps what it returned, under a name: when the task runs again,
// after a crash or a retry, the step is not run again, and Step returns the same
// value. Values are JSON. An error that is [Permanent] is kept and returned again; any
// other is not, and the step counts as not begun.
//
// Steps are found by their name, and those of one name by the order in which they
// end. So code may change while tasks run: new names run, and those that nothing asks
// for are left alone. A new meaning takes a new name. Steps run in parallel under
// different names; two of one name at once are an error, code step_ambiguous, and so
// is a step in the function of another, step_nested.
//
// fn runs at least once. It runs again only if the process dies between its effect
// and its entry: StepInfo.IdempotencyKey tells the other side that it is the same.
// What the handler does outside of steps is done again in each run. When ctx ends,
// Step returns its cause.
func Step[T any](ctx context.Context, job *Job, name string, fn func(ctx context.Context, s StepInfo) (T, error), opts ...StepOption) (v T, err error) {
	c := StepCall{Name: name, Tries: 1, Run: func(ctx context.Context, s StepInfo) (json.RawMessage, error) {
		v, err := fn(ctx, s)
		if err != nil {
			return nil, err
		}
		raw, err := encode(v)
		if err != nil {
			return nil, Permanent(fmt.Errorf("step %s: encode its value: %w", name, err))
		}
		return raw, nil
	}}
	for _, o := range opts {
		o(&c)
	}
	switch {
	case c.fault != nil:
		return v, c.fault
	case job.journal == nil:
		return v, fmt.Errorf("step %s: this job keeps no steps", name)
	}
	raw, err := job.journal.Step(ctx, c)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, Permanent(fmt.Errorf("decode the value of step %s: %w: a step whose value is another takes another name", name, err))
	}
	return v, nil
}

// Now is the time at which this was first asked for under a name: the same in every
// run. Where it cannot be kept, since the attempt is over, it is the time.
func (j *Job) Now(ctx context.Context, name string) time.Time {
	at, err := Step(ctx, j, name, func(context.Context, StepInfo) (time.Time, error) { return time.Now().UTC(), nil })
	if err != nil {
		return time.Now().UTC()
	}
	return at
}

// Checkpoint keeps v, at most 256 KiB of JSON, in the place of what it kept before.
// It is written once a second at most, and the newest when the attempt ends: after a
// crash [Job.LastCheckpoint] may be a second old.
func (j *Job) Checkpoint(ctx context.Context, v any) error {
	raw, err := encode(v)
	if err != nil {
		return Permanent(fmt.Errorf("encode the checkpoint: %w", err))
	}
	if j.journal == nil {
		return errors.New("checkpoint: this job keeps none")
	}
	return j.journal.Checkpoint(ctx, raw)
}

// LastCheckpoint decodes the newest checkpoint of this run or those before into v,
// and reports whether there is one.
func (j *Job) LastCheckpoint(v any) (found bool, err error) {
	if j.journal == nil {
		return false, nil
	}
	raw := j.journal.LastCheckpoint()
	if raw == nil {
		return false, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return false, Permanent(fmt.Errorf("decode the checkpoint: %w", err))
	}
	return true, nil
}

type inStep struct{}

// InStep is ctx for the function of a step.
func InStep(ctx context.Context) context.Context { return context.WithValue(ctx, inStep{}, true) }

// IsInStep reports whether ctx is that of the function of a step.
func IsInStep(ctx context.Context) bool { return ctx.Value(inStep{}) != nil }
