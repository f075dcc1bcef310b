// Package agent is the SDK: what a Go program needs to be an agent of the mesh.
// An agent is a name, a [Handler] and a few limits; package worker runs it.
//
//	upper := agent.Agent{Definition: agent.Definition{Name: "upper"}, Handler: toUpper}
//
//	func toUpper(ctx context.Context, job *agent.Job) (any, error) {
//		return strings.ToUpper(job.Instruction), nil
//	}
//
// It promises that a handler sees one task at a time per call, that its context
// ends when the task is canceled, times out, passes its deadline or loses its
// lease, and that whatever it returns settles the attempt once. It knows
// nothing of NATS or HTTP.
package agent

import (
	"context"
	"errors"
	"time"

	"agentmesh/shared/task"
)

// Handler runs one attempt of a task. The value it returns is the result and
// must encode as JSON. An error is retried by the agent's policy unless it is
// [Permanent]. When ctx ends the handler should return soon; its result is
// then dropped, and context.Cause(ctx) says why.
type Handler func(ctx context.Context, job *Job) (any, error)

// Agent is a definition and the handler that serves it.
type Agent struct {
	Definition
	Handler Handler
	// Open, where it is set, is called when a worker begins to serve the agent, and shut
	// when it has stopped and no attempt of it runs: for handlers that keep something
	// between attempts, such as processes.
	Open func() (shut func())
	// Away, where it is set, says why no task of the agent is taken now, in words; empty:
	// they are taken. What it passes jobs to may be away. It calls changed, where that is
	// given, when it may say otherwise.
	Away func(changed func()) string
	// Remote says that the handler only passes the job on to another process,
	// for traces.
	Remote bool
	// Seal has the values of the agent's steps, checkpoints and answers sealed with the
	// worker's key where they are kept, see worker.Config.Keeper: whoever reads the store
	// or the steps of a task does not see them.
	Seal bool
	// Calls says that the handler needs a key to call the mesh by itself, through its
	// gateway: see Job.Key.
	Calls bool
	// Tells says that the handler needs a key to tell steps through the gateway, and
	// nothing else: see Job.Key.
	Tells bool
	// Canceled, where it is set, is told of a task with steps that was canceled while no
	// attempt of it ran: it waited, or its worker was lost. It ends what they have begun
	// elsewhere. It may be told twice, and after an error it is told again, some times.
	Canceled func(ctx context.Context, left *Left) error
}

// Definition is what the mesh knows of an agent, Retry the policy of its attempts, and
// Skill something that it says it can do.
type (
	Definition = task.Definition
	Retry      = task.Retry
	Skill      = task.Skill
)

// Why a job's context ended; ask with errors.Is(context.Cause(ctx), ...).
var (
	ErrCanceled  = errors.New("task was canceled")
	ErrTimeout   = errors.New("attempt timed out")
	ErrDeadline  = errors.New("task deadline passed")
	ErrLeaseLost = errors.New("lease was lost to another worker")
	ErrDraining  = errors.New("worker is shutting down")
	// ErrSuspended: the task waits, and its handler runs again from the top when the
	// wait is over. Whatever this run returns is dropped.
	ErrSuspended = errors.New("task waits and was suspended")
)

// ErrInputTimeout is what a question or a wait for an event ends with when no answer
// has come in time.
var ErrInputTimeout = errors.New("no answer came in time")

// Error is an agent's failure with what the client may see of it. Any other
// error is shown by its text with the code agent_error and retried.
type Error struct {
	Code       string // [a-z0-9_]{1,64}; empty: agent_error
	Message    string
	Permanent  bool          // do not retry
	RetryAfter time.Duration // at least this long before the next attempt
	Err        error         // the cause, for the log only
	Detail     string        // for the operator: the log, and error.detail of the record
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err != nil && e.Message == "" {
		return e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Permanent marks err as one that no retry can mend: the task fails at once.
// Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		c := *e
		c.Permanent = true
		return &c
	}
	return &Error{Message: err.Error(), Permanent: true, Err: err}
}
