package api

import (
	"encoding/json"
	"time"
)

// CreateTask is the body of POST /tasks.
type CreateTask struct {
	Agent       string            `json:"agent,omitempty" pattern:"^[a-z0-9-]{1,40}$" doc:"Which agent runs it; the mesh's default agent when left out."`
	Instruction string            `json:"instruction,omitempty" maxLength:"65536" doc:"What to do, in words."`
	Input       json.RawMessage   `json:"input,omitempty" doc:"Any JSON value; checked against the agent's input_schema."`
	Labels      map[string]string `json:"labels,omitempty" doc:"Up to 32, to find the task by."`
	Metadata    json.RawMessage   `json:"metadata,omitempty" doc:"Any JSON value up to 16 KiB, kept and returned."`
	Delay       string            `json:"delay,omitempty" example:"90s" doc:"Run this much later. Not with run_at."`
	RunAt       string            `json:"run_at,omitempty" format:"date-time" doc:"Run at this time, up to a year ahead."`
	Timeout     string            `json:"timeout,omitempty" example:"5m" doc:"Of one attempt, up to 24h; the agent's when left out."`
	Deadline    string            `json:"deadline,omitempty" format:"date-time" doc:"Past it the task fails."`
	MaxAttempts *int              `json:"max_attempts,omitempty" minimum:"1" maximum:"100" doc:"The agent's when left out."`

	CallbackURL       string   `json:"callback_url,omitempty" format:"uri" doc:"Where the outcome is POSTed, signed."`
	CallbackEvents    []string `json:"callback_events,omitempty" doc:"The events to send; milestones and the outcome when left out. With or without the kind before the dot."`
	CallbackSecretRef string   `json:"callback_secret_ref,omitempty" doc:"The webhook whose keys sign the callback; the mesh's own when left out."`
}

// Accepted is the body of a 202.
type Accepted struct {
	TaskID      string    `json:"task_id"`
	Status      string    `json:"status" enum:"pending"`
	StatusURL   string    `json:"status_url"`
	Agent       string    `json:"agent"`
	CreatedAt   time.Time `json:"created_at"`
	RetriedFrom string    `json:"retried_from,omitempty"`
	TraceID     string    `json:"trace_id,omitempty"`
	TraceURL    string    `json:"trace_url,omitempty"`
	Warning     string    `json:"warning,omitempty" doc:"What the client should know, such as that nobody has served the agent for a day."`
}

// RetryTask is the body of POST /tasks/{id}/retry.
type RetryTask struct {
	From string `json:"from,omitempty" maxLength:"128" doc:"Name of a step: what the agent has finished before the first of that name is taken over, and not done again. Left out: nothing is."`
}

// TaskList is a page of GET /tasks.
type TaskList struct {
	Tasks      []Task `json:"tasks"`
	NextCursor string `json:"next_cursor" doc:"Empty on the last page. A page may be short and still have a next one."`
	Scanned    int    `json:"scanned" doc:"How many records were looked at for this page: a listing that filters hard ends after 2 s, with a cursor to go on."`
}

// Task is a task as clients see it.
type Task struct {
	TaskID      string            `json:"task_id"`
	ActionID    string            `json:"action_id,omitempty" doc:"Of an action: the same as task_id."`
	TurnID      string            `json:"turn_id,omitempty" doc:"Of a turn of a session: the same as task_id."`
	SessionID   string            `json:"session_id,omitempty" doc:"Of a turn."`
	Status      string            `json:"status" enum:"pending,initiated,processing,input_required,completed,failed,canceled" doc:"A pending action is initiated."`
	Done        bool              `json:"done" doc:"The status is final."`
	Kind        string            `json:"kind,omitempty"`
	Agent       string            `json:"agent,omitempty"`
	Attempt     int               `json:"attempt" doc:"Attempts begun, from 1; 0 before the first."`
	MaxAttempts int               `json:"max_attempts,omitempty"`
	Progress    string            `json:"progress,omitempty" example:"70%"`
	Percent     *int              `json:"progress_percent,omitempty" minimum:"0" maximum:"100"`
	Message     string            `json:"message,omitempty"`
	Result      json.RawMessage   `json:"result,omitempty" doc:"The result, when it is at most 256 KiB."`
	ResultURL   string            `json:"result_url,omitempty" doc:"Where a larger result is."`
	Error       *TaskError        `json:"error,omitempty"`
	Warnings    []string          `json:"warnings,omitempty" doc:"What was wrong with the agent's messages though its result was taken."`
	Milestones  []Milestone       `json:"milestones,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Metadata    json.RawMessage   `json:"metadata,omitempty"`
	CreatedAt   time.Time         `json:"created_at,omitzero"`
	UpdatedAt   time.Time         `json:"updated_at,omitzero"`
	StartedAt   time.Time         `json:"started_at,omitzero"`
	FinishedAt  time.Time         `json:"finished_at,omitzero"`
	StoppedAt   time.Time         `json:"stopped_at,omitzero" doc:"Of a canceled task: when the agent was seen to end."`
	NotBefore   time.Time         `json:"not_before,omitzero" doc:"When a delayed task or a retry may run, and when a task that waits goes on by itself."`
	Deadline    time.Time         `json:"deadline,omitzero"`
	At          time.Time         `json:"at,omitzero" doc:"In events: when it happened."`
	ScheduleID  string            `json:"schedule_id,omitempty" doc:"The schedule that started it."`
	ScheduledAt time.Time         `json:"scheduled_at,omitzero" doc:"The time that it was due."`
	HookID      string            `json:"hook_id,omitempty" doc:"The hook whose delivery started it."`
	RetriedFrom string            `json:"retried_from,omitempty"`
	ParentID    string            `json:"parent_id,omitempty"`
	Children    []string          `json:"children,omitempty" doc:"The tasks that this one has started; GET /tasks?parent_id= lists them whole."`
	StatusURL   string            `json:"status_url,omitempty"`
	TraceID     string            `json:"trace_id,omitempty"`
	TraceURL    string            `json:"trace_url,omitempty" doc:"The trace in the tracing backend, where the operator has set one."`
	Attempts    []Attempt         `json:"attempts,omitempty" doc:"The attempts, oldest first: those of the newest 64 changes of status."`
	Input       json.RawMessage   `json:"input,omitempty" doc:"With ?include=input: the input as it was sent, when it is at most 256 KiB."`
	InputURL    string            `json:"input_url,omitempty" doc:"With ?include=input: where a larger input is."`
	Waiting     *Waiting          `json:"waiting,omitempty" doc:"In GET of a pending task: why it does not run."`
	Question    *Question         `json:"question,omitempty" doc:"The first of the open questions."`
	Questions   []Question        `json:"questions,omitempty" doc:"The open questions of the agent, first asked first. POST /tasks/{id}/input answers one."`

	Usage      *Usage `json:"usage,omitempty" doc:"What the task has used of models and tools."`
	UsageTotal *Usage `json:"usage_total,omitempty" doc:"The same, with the tasks that it has called."`
	StoppedBy  string `json:"stopped_by,omitempty" doc:"The limit that ended the agent's work early: steps, tool_calls, tokens, cost, time or tool_errors."`

	CallbackURL    string   `json:"callback_url,omitempty"`
	CallbackEvents []string `json:"callback_events,omitempty"`
}

// Usage is what was used of models and tools.
type Usage struct {
	ModelCalls        int64   `json:"model_calls"`
	ToolCalls         int64   `json:"tool_calls"`
	InputTokens       int64   `json:"input_tokens"`
	CachedInputTokens int64   `json:"cached_input_tokens,omitempty" doc:"A part of the input."`
	OutputTokens      int64   `json:"output_tokens"`
	ReasoningTokens   int64   `json:"reasoning_tokens,omitempty" doc:"A part of the output."`
	Cost              float64 `json:"cost,omitempty" doc:"By the prices of agents.yaml. Without a currency it is not known."`
	Currency          string  `json:"currency,omitempty" example:"USD" doc:"mixed: the costs are in several currencies, and are not added."`
	Estimated         bool    `json:"estimated,omitempty" doc:"A server did not count; bytes were counted instead."`
}

// Error is why a task or an attempt failed.
type Error struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Attempt   int    `json:"attempt"`
	Retryable bool   `json:"retryable"`
}

// TaskError is a task's error as clients see it.
type TaskError struct {
	Error
	Detail string `json:"detail,omitempty" doc:"For who runs the agent: the end of what it wrote to standard error, or the cause. In GET of one task only, with ?include=error_detail; without authentication on loopback always."`
}

// Milestone is a named step of a task as clients see it.
type Milestone struct {
	TaskID  string          `json:"task_id,omitempty"`
	N       int             `json:"n"`
	Name    string          `json:"name"`
	Message string          `json:"message,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
	At      time.Time       `json:"at"`
	Attempt int             `json:"attempt"`
}

// Attempt is one run of the agent as clients see it.
type Attempt struct {
	Attempt   int       `json:"attempt"`
	Outcome   string    `json:"outcome" enum:"completed,failed,canceled,retried,lost,handed_back,suspended,running" doc:"suspended: it waits, and goes on under the same number."`
	WorkerID  string    `json:"worker_id,omitempty"`
	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	Error     *Error    `json:"error,omitempty"`
}

// Question is what an agent asks a person.
type Question struct {
	Name    string          `json:"name"`
	Prompt  string          `json:"prompt,omitempty"`
	Schema  json.RawMessage `json:"schema,omitempty" doc:"JSON Schema of the answer."`
	Until   time.Time       `json:"until,omitzero" doc:"Past it no answer is taken."`
	AskedAt time.Time       `json:"asked_at,omitzero"`
}

// AnswerTask is the body of POST /tasks/{id}/input.
type AnswerTask struct {
	Name  string          `json:"name,omitempty" maxLength:"128" doc:"Of the question or the event; may be left out while one question is open."`
	Value json.RawMessage `json:"value" doc:"The answer: what the schema of the question allows. At most 256 KiB."`
}

// Waiting says why a pending task does not run.
type Waiting struct {
	Reason      string    `json:"reason" enum:"session,scheduled,retrying,sleeping,waiting_for_event,waiting_for_child,no_live_worker,mesh_limit,queued,starting" doc:"session: other turns of its session are before it. scheduled, retrying and sleeping: until next_attempt_at. waiting_for_event: for one that is told by POST /tasks/{id}/input, or until next_attempt_at. waiting_for_child: for a task that its agent has called. no_live_worker: none serves the agent. mesh_limit: as many tasks of the agent run as may. queued: others are before it. starting: a worker has it."`
	Position    int       `json:"position,omitempty" doc:"Place in the agent's line, or in the session's; 1 is next. Beyond 32 an estimate."`
	Limit       int       `json:"limit,omitempty" doc:"How many tasks of the agent may run in the mesh."`
	LiveWorkers *int      `json:"live_workers,omitempty" doc:"Workers that serve the agent."`
	NextAttempt time.Time `json:"next_attempt_at,omitzero"`
}
