package worker

import (
	"context"
	"errors"
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
	attrs := append(make([]telemetry.Attribute, 0, 8), telemetry.TaskID(at.id), telemetry.Attempt(t.Attempt))
	if t.SessionID != "" {
		attrs = append(attrs, telemetry.Session(t.SessionID)...)
	}
	return telemetry.StartAgent(ctx, t.Agent, at.in.agent.Version, at.in.agent.Remote, attrs...)
}

// endAgent ends it. A run that waits has not failed.
func endAgent(span trace.Span, name string, began time.Time, err error) {
	var e *agent.Error
	code := ""
	switch {
	case err == nil:
	case agent.Suspended(err):
		err = nil
	case errors.As(err, &e):
		code = codeLabel(codeOf(e.Code))
	default:
		code = task.CodeAgentError
	}
	telemetry.EndAgent(span, name, began, err, code)
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

// ended is the one line of an attempt, and its count.
func (at *attempt) ended(ctx context.Context, t *task.Task, o task.Outcome, took time.Duration, more ...any) {
	args := []any{"outcome", o, "status", t.Status, "attempt", t.Attempt, "max_attempts", maxAttempts(t, at.in.agent.Definition), "took", took, "waited", at.waited()}
	telemetry.TaskAttempts.Add(1, t.Agent, string(o))
	telemetry.TaskRunTime.Record(took, t.Agent, string(o))
	if o == task.AttemptRetried {
		telemetry.TaskRetries.Add(1, t.Agent)
	}
	if e := t.Error; e != nil && (o == task.AttemptFailed || o == task.AttemptRetried) {
		args = append(args, "code", e.Code, "error", e.Message)
		if t.ErrorDetail != "" {
			args = append(args, "detail", t.ErrorDetail)
		}
		telemetry.TaskErrors.Add(1, t.Agent, codeLabel(e.Code))
		telemetry.Annotate(ctx, telemetry.ErrorCode(e.Code))
	}
	if t.SessionID != "" {
		args = append(args, "session", t.SessionID)
	}
	if o != task.AttemptCompleted {
		telemetry.Annotate(ctx, telemetry.Status(string(o)))
	}
	at.log.InfoContext(ctx, "attempt finished", append(args, more...)...)
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
