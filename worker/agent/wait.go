package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"agentmesh/shared/task"
)

// Wait is something that a job waits for. How often a job has waited for a kind and
// name before says which one it is: a handler that runs again gets what the earlier
// run got.
type Wait struct {
	Kind   task.WaitKind   // a sleep, an input or an event
	Name   string          // of the answer; of a sleep, to tell several at once apart
	Prompt string          // of an input: what the person is asked
	Schema json.RawMessage // of the answer; nil: any
	// N is which wait of its kind and name it is, from 0; nil: the next of this run.
	N *int
	// For is how long, and Until, where it is set, when the wait ends. 0 of an answer:
	// 7 days.
	For   time.Duration
	Until time.Time
}

// Waiter waits for a job. The worker implements it; tests of a handler may.
type Waiter interface {
	Wait(ctx context.Context, w Wait) (json.RawMessage, error)
}

// Wait waits for w and returns the answer, nil of a sleep.
//
// A wait holds no slot. One that lasts longer than the agent's suspend_after, and a
// question to a person at once, suspends the task as soon as nothing else of it
// runs: the context of the handler ends with ErrSuspended, what it returns is
// dropped, and when the wait is over it runs again from the top, in the same
// attempt. Two waits of one kind and name at the same time are an error that is
// permanent.
func (j *Job) Wait(ctx context.Context, w Wait) (json.RawMessage, error) {
	if j.waiter == nil {
		return nil, fmt.Errorf("wait for %s: this job cannot wait", w.Name)
	}
	return j.waiter.Wait(ctx, w)
}

// Sleep waits for d, however often the worker is restarted meanwhile: not shorter.
// Jobs that sleep in several goroutines at once name each by Wait.
func (j *Job) Sleep(ctx context.Context, d time.Duration) error {
	_, err := j.Wait(ctx, Wait{Kind: task.WaitSleep, Name: "sleep", For: d})
	return err
}

// SleepUntil waits until at, as Sleep does.
func (j *Job) SleepUntil(ctx context.Context, at time.Time) error {
	_, err := j.Wait(ctx, Wait{Kind: task.WaitSleep, Name: "sleep", Until: at})
	return err
}

// Question is what Ask asks a person.
type Question struct {
	Prompt  string
	Timeout time.Duration // 0: 7 days
	// Schema is what the answer must be; nil: it is derived from the Go type.
	Schema json.RawMessage
}

// Ask asks a person and waits for the answer, which comes by POST /tasks/{id}/input.
// Until then the task is input_required, if nothing else of it goes on. An answer
// that has come before the question is taken. Without one in time the error is
// ErrInputTimeout.
func Ask[T any](ctx context.Context, job *Job, name string, q Question) (T, error) {
	w := Wait{Kind: task.WaitInput, Name: name, Prompt: q.Prompt, Schema: q.Schema, For: q.Timeout}
	return answered[T](ctx, job, w)
}

// WaitEvent waits for an answer that something else gives than a person, as Ask
// does. 0 means 7 days.
func WaitEvent[T any](ctx context.Context, job *Job, name string, timeout time.Duration) (T, error) {
	return answered[T](ctx, job, Wait{Kind: task.WaitEvent, Name: name, For: timeout})
}

func answered[T any](ctx context.Context, job *Job, w Wait) (v T, err error) {
	if t := reflect.TypeFor[T](); w.Schema == nil && t != reflect.TypeFor[any]() && t != reflect.TypeFor[json.RawMessage]() {
		w.Schema = schemaOf(t)
	}
	raw, err := job.Wait(ctx, w)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, Permanent(fmt.Errorf("decode the answer to %s: %w", w.Name, err))
	}
	return v, nil
}

// Suspended reports whether err says that the task waits: a handler that gets it
// returns.
func Suspended(err error) bool { return errors.Is(err, ErrSuspended) }
