package task

import (
	"errors"
	"fmt"
)

// Errors of a task and of reaching it, wrapped with the action and the id; ask
// with errors.Is.
var (
	ErrNotFound    = errors.New("task not found")
	ErrConflict    = errors.New("task was changed by another writer")
	ErrTransition  = errors.New("transition not allowed")
	ErrFinished    = errors.New("task has finished")
	ErrUnavailable = errors.New("store unavailable")    // outcome unknown: read before deciding
	ErrFull        = errors.New("store is full")        // nothing was accepted
	ErrTooLarge    = errors.New("value over the limit") // nothing was accepted
	ErrBadRecord   = errors.New("malformed task")
	ErrTooDeep     = errors.New("agents call each other too deep")
	ErrDeadlock    = errors.New("agents would wait for each other for ever")

	// ErrDeleted is an ErrNotFound that is known: the task has ended, and somebody has
	// deleted it. It must not run again.
	ErrDeleted = fmt.Errorf("%w: it was deleted", ErrNotFound)
)

// Codes of task errors that the mesh itself decides. An agent may choose others.
const (
	CodeAgentError       = "agent_error"
	CodeAgentPanicked    = "agent_panicked"
	CodeAgentTimeout     = "agent_timeout"
	CodeAgentBadOutput   = "agent_bad_output"
	CodeAgentCrashed     = "agent_crashed"
	CodeAgentUnreachable = "agent_unreachable"
	CodeAgentHTTPError   = "agent_http_error"
	CodeBadInput         = "bad_input"
	CodeInputInvalid     = "input_invalid"
	CodeInputTooComplex  = "input_too_complex"
	CodeWorkerLost       = "worker_lost"
	CodeDeadlineExceeded = "deadline_exceeded"
	CodeResultTooLarge   = "result_too_large"
	CodeResultNotStored  = "result_not_stored"
	CodeInputLost        = "input_lost"
	CodeInputUnavailable = "input_unavailable"
	CodeChildFailed      = "child_failed"
	CodeCallTooDeep      = "call_too_deep"
	CodeStepAmbiguous    = "step_ambiguous"
	CodeWaitInTurn       = "wait_in_turn"
	CodeInputTimeout     = "input_timeout"
	CodeStepNested       = "step_nested"
	CodeJournalFull      = "journal_full"
	CodeVersionChanged   = "version_changed"
	CodeStepSealed       = "step_sealed"
	CodeToolError        = "tool_error"
	CodeToolRejected     = "tool_rejected"
	CodeSessionGone      = "session_gone"
	CodeSessionFull      = "session_full"

	CodeModelUnreachable   = "model_unreachable"
	CodeModelRateLimited   = "model_rate_limited"
	CodeModelRejected      = "model_rejected"
	CodeModelQuota         = "model_quota"
	CodeModelRefused       = "model_refused"
	CodeContextFull        = "context_full"
	CodeStepLimit          = "step_limit"
	CodeBudgetExhausted    = "budget_exhausted"
	CodeToolOutcomeUnknown = "tool_outcome_unknown"
)

// Fault is whose doing an error is.
type Fault string

// The parties that may be at fault.
const (
	FaultAgent  Fault = "agent"  // the agent's author or operator must look
	FaultClient Fault = "client" // the request must change
	FaultMesh   Fault = "mesh"   // the operator of the mesh must look
)

// Codes explains each code: the one table that the pages and the manual show.
var Codes = map[string]struct {
	Fault Fault
	Title string
}{
	CodeAgentError:       {FaultAgent, "The agent returned an error."},
	CodeAgentPanicked:    {FaultAgent, "The agent panicked."},
	CodeAgentTimeout:     {FaultAgent, "An attempt took longer than its timeout."},
	CodeAgentBadOutput:   {FaultAgent, "What the agent answered is not what the protocol allows."},
	CodeAgentCrashed:     {FaultAgent, "The agent's program ended with an error status or was killed."},
	CodeAgentUnreachable: {FaultAgent, "The agent's program could not be started, or its address did not answer."},
	CodeAgentHTTPError:   {FaultAgent, "The agent answered with an HTTP error status."},
	CodeBadInput:         {FaultClient, "The agent cannot work with this input."},
	CodeInputInvalid:     {FaultClient, "The input of a call breaks the schema of the agent that it calls."},
	CodeInputTooComplex:  {FaultClient, "Checking the input of a call took too long."},
	CodeWorkerLost:       {FaultAgent, "The worker died or stalled in every attempt."},
	CodeDeadlineExceeded: {FaultClient, "The task's deadline passed."},
	CodeResultTooLarge:   {FaultAgent, "The result is over the limit."},
	CodeResultNotStored:  {FaultMesh, "A large result could not be stored."},
	CodeInputLost:        {FaultMesh, "A large input outlived its retention."},
	CodeInputUnavailable: {FaultMesh, "A large input could not be read."},
	CodeChildFailed:      {FaultAgent, "A task that the agent called has failed or was canceled."},
	CodeCallTooDeep:      {FaultAgent, "Agents call each other more than 16 levels deep."},
	CodeSessionGone:      {FaultClient, "The session of the turn was deleted or has expired."},
	CodeSessionFull:      {FaultClient, "The session had no room left when the turn's time came."},
	CodeStepAmbiguous:    {FaultAgent, "Two steps or waits of one name were begun at the same time."},
	CodeWaitInTurn:       {FaultAgent, "A turn of a session cannot wait that long."},
	CodeInputTimeout:     {FaultClient, "A question was not answered in time."},
	CodeStepNested:       {FaultAgent, "A step was begun in the function of another one."},
	CodeJournalFull:      {FaultAgent, "The task has as many steps as a task may have."},
	CodeToolError:        {FaultAgent, "A tool of an MCP server failed."},
	CodeToolRejected:     {FaultAgent, "An MCP server refused the call of a tool."},
	CodeVersionChanged:   {FaultAgent, "Another version of the agent began the task, and the agent does not take its steps over."},

	CodeStepSealed: {FaultMesh, "The steps of the task are sealed with a key that the worker does not have."},

	CodeToolOutcomeUnknown: {FaultAgent, "Nobody knows whether a tool of an MCP server was called, and it may not be called twice."},

	CodeModelUnreachable: {FaultAgent, "The model did not answer, or its server had an error."},
	CodeModelRateLimited: {FaultAgent, "The model is asked more often than its server allows."},
	CodeModelRejected:    {FaultAgent, "The model's server refused the request: the key, the model or a parameter is wrong."},
	CodeModelQuota:       {FaultAgent, "The account of the model has no quota left."},
	CodeModelRefused:     {FaultClient, "The model refused to answer."},
	CodeContextFull:      {FaultClient, "The conversation is longer than the model takes."},
	CodeStepLimit:        {FaultAgent, "The agent came to one of its limits before it had an answer."},
	CodeBudgetExhausted:  {FaultClient, "The budget of the tenant is used up."},
}
