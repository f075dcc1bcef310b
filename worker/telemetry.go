package worker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/topology"
	"agentmesh/worker/agent"
)

// startProcess begins the span of an attempt. It is part of the request's trace;
// a child's is in any case, since its parent waits for it.
func (w *Worker) startProcess(ctx context.Context, queue store.Queue, msg *store.Delivered, t *task.Task) (context.Context, trace.Span) {
	from := telemetry.Origin{Request: t.TraceParent, RequestState: t.TraceState, Always: t.ParentID != ""}
	if !telemetry.Recording() { // attributes for nobody
		return telemetry.StartProcess(ctx, queue.Template(), msg.Header, from)
	}
	attrs := append(make([]telemetry.Attribute, 0, 14), telemetry.TaskID(t.ID), telemetry.Tenant(t.Tenant), telemetry.Agent(t.Agent),
		telemetry.Attempt(t.Attempt+1), telemetry.WorkerID(w.id), telemetry.Consumer(topology.AgentDurable(t.Agent)))
	if t.SessionID != "" {
		attrs = append(attrs, telemetry.Session(t.SessionID)...)
	}
	return telemetry.StartProcess(ctx, queue.Template(), msg.Header, from, attrs...)
}

// startAgent begins the span of the agent's run.
func startAgent(ctx context.Context, at *attempt, t *task.Task) (context.Context, trace.Span) {
	if !telemetry.Recording() {
		return telemetry.StartAgent(ctx, t.Agent, at.in.agent.Version, at.in.agent.Remote)
	}
	attrs := append(make([]telemetry.Attribute, 0, 8), telemetry.TaskID(at.id), telemetry.Attempt(t.Attempt))
	if t.SessionID != "" {
		attrs = append(attrs, telemetry.Session(t.SessionID)...)
	}
	return telemetry.StartAgent(ctx, t.Agent, at.in.agent.Version, at.in.agent.Remote, attrs...)
}

// endAgent ends it. A run that waits has not failed.
func endAgent(span trace.Span, name string, began time.Time, err error) {
	code := ""
	if agent.Suspended(err) {
		err = nil
	}
	if err != nil {
		code = task.CodeAgentError
		if e := (*agent.Error)(nil); errors.As(err, &e) {
			code = codeLabel(codeOf(e.Code))
		}
	}
	telemetry.EndAgent(span, name, began, err, code)
}

// startWrite begins the span of a write of the record of a task. status is what it comes
// to with it, if that says so.
func startWrite(ctx context.Context, name string, id task.ID, status string) (context.Context, trace.Span) {
	if !telemetry.Recording() {
		return telemetry.StartInternal(ctx, name)
	}
	if status == "" {
		return telemetry.StartInternal(ctx, name, telemetry.TaskID(id))
	}
	return telemetry.StartInternal(ctx, name, telemetry.TaskID(id), telemetry.Status(status))
}

// names is the handler of the log lines of an attempt. It puts the names of the task into
// each, and nobody is asked for them while nothing is said.
type names struct {
	slog.Handler // of the worker's lines
	task         *task.Task
	span         trace.Span
}

func (n *names) Handle(ctx context.Context, r slog.Record) error { return n.named().Handle(ctx, r) }

func (n *names) WithAttrs(attrs []slog.Attr) slog.Handler { return n.named().WithAttrs(attrs) }

func (n *names) WithGroup(name string) slog.Handler { return n.named().WithGroup(name) }

func (n *names) named() slog.Handler {
	id := telemetry.TraceID(trace.ContextWithSpan(context.Background(), n.span))
	return n.Handler.WithAttrs([]slog.Attr{slog.Any("task", n.task.ID), slog.String("agent", n.task.Agent), slog.String("trace_id", id)})
}

// beginSeries has the counters of an agent begin at 0.
func beginSeries(agent string) {
	telemetry.TasksStarted.Add(0, agent)
	telemetry.TaskRetries.Add(0, agent)
	telemetry.LeaseLosses.Add(0, agent)
	telemetry.ConsumersLost.Add(0, topology.AgentDurable(agent))
	for _, o := range []task.Outcome{task.AttemptCompleted, task.AttemptFailed, task.AttemptCanceled} {
		telemetry.TasksFinished.Add(0, agent, string(o))
	}
}

// countStarted counts an attempt that begins.
func (at *attempt) countStarted() {
	if at.rec.t.Attempt > 1 {
		return
	}
	telemetry.TasksStarted.Add(1, at.rec.t.Agent)
	telemetry.TaskQueueWait.Record(at.waited(), at.rec.t.Agent)
}

// waited is how long the task had waited when the attempt began.
func (at *attempt) waited() time.Duration {
	due := at.rec.t.CreatedAt
	if at.due.After(due) {
		due = at.due
	}
	return max(at.rec.began.Sub(due), 0)
}

// countFinished counts a task whose outcome was written.
func countFinished(t *task.Task) {
	telemetry.TasksFinished.Add(1, t.Agent, string(t.Status))
	telemetry.TaskDuration.Record(max(t.FinishedAt.Sub(t.CreatedAt), 0), t.Agent, string(t.Status))
}

// ended is the one line of an attempt, and its count. more is what else the line says,
// if it is said.
func (at *attempt) ended(ctx context.Context, t *task.Task, o task.Outcome, took time.Duration, more func() []any) {
	telemetry.TaskAttempts.Add(1, t.Agent, string(o))
	telemetry.TaskRunTime.Record(took, t.Agent, string(o))
	if o == task.AttemptRetried {
		telemetry.TaskRetries.Add(1, t.Agent)
	}
	failed := t.Error != nil && (o == task.AttemptFailed || o == task.AttemptRetried)
	if failed {
		telemetry.TaskErrors.Add(1, t.Agent, codeLabel(t.Error.Code))
		telemetry.Annotate(ctx, telemetry.ErrorCode(t.Error.Code))
	}
	if o != task.AttemptCompleted {
		telemetry.Annotate(ctx, telemetry.Status(string(o)))
	}
	if !at.log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	args := []any{"outcome", o, "status", t.Status, "attempt", t.Attempt, "max_attempts", maxAttempts(t, at.in.agent.Definition), "took", took, "waited", at.waited()}
	if failed {
		args = append(args, "code", t.Error.Code, "error", t.Error.Message)
		if t.ErrorDetail != "" {
			args = append(args, "detail", t.ErrorDetail)
		}
	}
	if t.SessionID != "" {
		args = append(args, "session", t.SessionID)
	}
	if more != nil {
		args = append(args, more()...)
	}
	at.log.InfoContext(ctx, "attempt finished", args...)
}

// codeLabel is the code where the mesh has chosen it: agents may make up as many
// as they like.
func codeLabel(code string) string {
	if _, ours := task.Codes[code]; ours {
		return code
	}
	return "other"
}

// lost says that another worker has the task.
func (at *attempt) lost(ctx context.Context) {
	at.w.presence.again() // the heir may have taken this worker for dead
	telemetry.LeaseLosses.Add(1, at.rec.t.Agent)
	telemetry.TaskAttempts.Add(1, at.rec.t.Agent, string(task.AttemptLost))
	telemetry.Annotate(ctx, telemetry.Status(string(task.AttemptLost)))
	at.log.WarnContext(ctx, "lease lost, outcome dropped", "attempt", at.rec.t.Attempt, "took", time.Since(at.rec.began))
}

// observe reads the slots of this process.
func (w *Worker) observe(_ context.Context, set func(*telemetry.Gauge, float64, ...string)) {
	for _, in := range agentsOf(w.serving()) {
		set(telemetry.SlotsUsed, float64(in.slots.busy()), in.agent.Name)
		set(telemetry.SlotsSize, float64(in.agent.Concurrency), in.agent.Name)
	}
}
