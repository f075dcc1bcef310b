package gateway

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
)

// Task is a task as clients see it.
type Task struct {
	TaskID      string            `json:"task_id"`
	ActionID    string            `json:"action_id,omitempty" doc:"Of an action: the same as task_id."`
	TurnID      string            `json:"turn_id,omitempty" doc:"Of a turn of a session: the same as task_id."`
	SessionID   string            `json:"session_id,omitempty" doc:"Of a turn."`
	Status      task.State        `json:"status" enum:"pending,initiated,processing,input_required,completed,failed,canceled" doc:"A pending action is initiated."`
	Done        bool              `json:"done" doc:"The status is final."`
	Kind        task.Kind         `json:"kind,omitempty"`
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
	CreatedAt   *time.Time        `json:"created_at,omitempty"`
	UpdatedAt   *time.Time        `json:"updated_at,omitempty"`
	StartedAt   *time.Time        `json:"started_at,omitempty"`
	FinishedAt  *time.Time        `json:"finished_at,omitempty"`
	StoppedAt   *time.Time        `json:"stopped_at,omitempty" doc:"Of a canceled task: when the agent was seen to end."`
	NotBefore   *time.Time        `json:"not_before,omitempty" doc:"When a delayed task or a retry may run."`
	Deadline    *time.Time        `json:"deadline,omitempty"`
	At          *time.Time        `json:"at,omitempty" doc:"In events: when it happened."`
	RetriedFrom string            `json:"retried_from,omitempty"`
	ParentID    string            `json:"parent_id,omitempty"`
	Children    []string          `json:"children,omitempty" doc:"The tasks that this one has started; GET /tasks?parent_id= lists them whole."`
	StatusURL   string            `json:"status_url,omitempty"`
	TraceID     string            `json:"trace_id,omitempty"`
	TraceURL    string            `json:"trace_url,omitempty" doc:"The trace in the tracing backend, where the operator has set one."`
	Attempts    []Attempt         `json:"attempts,omitempty" doc:"The attempts, oldest first: those of the newest 64 changes of status."`
	Input       json.RawMessage   `json:"input,omitempty" doc:"With ?include=input: the input as it was sent, when it is at most 256 KiB."`
	InputURL    string            `json:"input_url,omitempty" doc:"With ?include=input: where a larger input is."`
	Waiting     *mesh.Waiting     `json:"waiting,omitempty" doc:"In GET of a pending task: why it does not run."`

	CallbackURL    string   `json:"callback_url,omitempty"`
	CallbackEvents []string `json:"callback_events,omitempty"`
}

// TaskError is a task's error as clients see it.
type TaskError struct {
	task.Error
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
	Attempt   int          `json:"attempt"`
	Outcome   task.Outcome `json:"outcome" enum:"completed,failed,canceled,retried,lost,handed_back,running"`
	WorkerID  string       `json:"worker_id,omitempty"`
	StartedAt *time.Time   `json:"started_at,omitempty"`
	EndedAt   *time.Time   `json:"ended_at,omitempty"`
	Error     *task.Error  `json:"error,omitempty"`
}

// traceIDMark is where a template takes the trace id.
const traceIDMark = "{trace_id}"

// traceURL is where the trace is shown, empty when nobody has said.
func (g *Gateway) traceURL(traceID string) string {
	if g.cfg.TraceURL == "" || traceID == "" {
		return ""
	}
	return strings.ReplaceAll(g.cfg.TraceURL, traceIDMark, traceID)
}

// view is viewOf with the attempts, and with what only this gateway knows.
func (g *Gateway) view(t *task.Task) Task {
	v := viewOf(t)
	v.TraceURL = g.traceURL(v.TraceID)
	for _, a := range t.Attempts() {
		v.Attempts = append(v.Attempts, Attempt{a.N, a.Outcome, a.Worker, at(a.StartedAt), at(a.EndedAt), a.Error})
	}
	return v
}

func viewOf(t *task.Task) Task {
	v := Task{
		TaskID: t.ID, Status: shown(t.Kind, t.Status), Done: t.Status.Terminal(), Kind: t.Kind, Agent: t.Agent,
		Attempt: t.Attempt, MaxAttempts: t.MaxAttempts, Percent: t.Percent, Message: t.Message,
		Result: t.Result.Inline, Error: errorOf(t.Error), Warnings: t.Warnings, Labels: t.Labels, Metadata: t.Metadata,
		CreatedAt: at(t.CreatedAt), UpdatedAt: at(t.UpdatedAt), StartedAt: at(t.StartedAt), FinishedAt: at(t.FinishedAt),
		StoppedAt: at(t.StoppedAt), NotBefore: at(t.NotBefore), Deadline: at(t.Deadline),
		RetriedFrom: t.RetriedFrom, ParentID: t.ParentID, StatusURL: statusURL(t), TraceID: telemetry.TraceIDOf(t.TraceParent),
	}
	v.nameKind(t)
	if t.Callback != nil {
		v.CallbackURL, v.CallbackEvents = t.Callback.URL, t.Callback.Events
	}
	if v.UpdatedAt == nil {
		v.UpdatedAt = v.CreatedAt
	}
	if t.Percent != nil {
		v.Progress = strconv.Itoa(*t.Percent) + "%"
	}
	if t.Result.Object != "" {
		v.ResultURL = partURL(t, "result")
	}
	for _, m := range t.Milestones {
		v.Milestones = append(v.Milestones, milestoneOf(m))
	}
	return v
}

// nameKind gives the id of an action or a turn its own name.
func (v *Task) nameKind(t *task.Task) {
	switch t.Kind {
	case task.KindAction:
		v.ActionID = t.ID
	case task.KindTurn:
		v.TurnID, v.SessionID = t.ID, t.SessionID
	}
}

func errorOf(e *task.Error) *TaskError {
	if e == nil {
		return nil
	}
	return &TaskError{Error: *e}
}

func milestoneOf(m task.Milestone) Milestone {
	return Milestone{N: m.N, Name: m.Name, Message: m.Message, Data: m.Data, At: m.At, Attempt: m.Attempt}
}

func at(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// initiated is how an action shows that it is pending.
const initiated task.State = "initiated"

func shown(k task.Kind, s task.State) task.State {
	if k == task.KindAction && s == task.Pending {
		return initiated
	}
	return s
}

func statusURL(t *task.Task) string {
	switch t.Kind {
	case task.KindAction:
		return "/actions/" + t.ID
	case task.KindTurn:
		return turnURL(t.SessionID, t.ID)
	}
	return taskURL(t.ID)
}

func taskURL(id string) string { return "/tasks/" + id }

// partURL is where the result or the input of a task is.
func partURL(t *task.Task, part string) string {
	if t.Kind == task.KindTurn {
		return taskURL(t.ID) + "/" + part
	}
	return statusURL(t) + "/" + part
}

// etag is the strong validator of a record's version; "0" while there is none.
func etag(t *task.Task) string { return `"` + strconv.FormatUint(t.Rev, 10) + `"` }
