package task

import "errors"

// What can be wrong with a task or with reaching it. Wrapped with the action
// and the id; ask with errors.Is.
var (
	ErrNotFound    = errors.New("task not found")
	ErrConflict    = errors.New("task was changed by another writer")
	ErrTransition  = errors.New("transition not allowed")
	ErrFinished    = errors.New("task has finished")
	ErrUnavailable = errors.New("store unavailable")    // outcome unknown: read before deciding
	ErrFull        = errors.New("store is full")        // nothing was accepted
	ErrTooLarge    = errors.New("value over the limit") // nothing was accepted
	ErrBadRecord   = errors.New("malformed task")
)

// Codes of task errors that the mesh itself decides.
const (
	CodeAgentError       = "agent_error"       // the agent returned an error
	CodeAgentPanicked    = "agent_panicked"    // the agent panicked
	CodeAgentTimeout     = "agent_timeout"     // an attempt took longer than its timeout
	CodeAgentBadOutput   = "agent_bad_output"  // the result is not JSON
	CodeWorkerLost       = "worker_lost"       // the worker died or stalled in every attempt
	CodeDeadlineExceeded = "deadline_exceeded" // the task's deadline passed
	CodeResultTooLarge   = "result_too_large"  // the result is over the cap
	CodeResultNotStored  = "result_not_stored" // a large result could not be stored
	CodeInputLost        = "input_lost"        // a large input outlived its retention
	CodeInputUnavailable = "input_unavailable" // a large input could not be read
)
