package gateway

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
)

// links begins each link of an answer: with the public URL, where one is set,
// and the prefix by which the request came.
type links string

// linksOf are those of the answer that w writes.
func linksOf(w http.ResponseWriter) links {
	if a := answerOf(w); a != nil {
		return links(a.base)
	}
	return ""
}

func (l links) task(id task.ID) string { return string(l) + taskURL(id) }

// status is where a task is read by the client that asked for it.
func (l links) status(t *task.Task) string { return string(l) + statusURL(t) }

// result is where the result of a task is.
func (l links) result(t *task.Task) string { return l.part(t, "result") }

// part is where the result or the input of a task is.
func (l links) part(t *task.Task, part string) string {
	if t.Kind == task.KindTurn {
		return l.task(t.ID) + "/" + part
	}
	return l.status(t) + "/" + part
}

// traceIDMark is where a template takes the trace id.
const traceIDMark = "{trace_id}"

// views shows tasks with what only the mesh knows.
type views struct {
	mesh          *mesh.Mesh
	traceTemplate string // of the URL of a trace; empty: nobody has said
}

// traceURL is where the trace is shown, empty when nobody has said.
func (show views) traceURL(traceID string) string {
	if show.traceTemplate == "" || traceID == "" {
		return ""
	}
	return strings.ReplaceAll(show.traceTemplate, traceIDMark, traceID)
}

// view is viewOf with the attempts, and with what only this gateway knows.
func (show views) view(l links, t *task.Task) api.Task {
	v := viewOf(l, t)
	v.TraceURL = show.traceURL(v.TraceID)
	for _, a := range t.Attempts() {
		v.Attempts = append(v.Attempts, api.Attempt{
			Attempt: a.N, Outcome: string(a.Outcome), WorkerID: a.Worker, StartedAt: a.StartedAt, EndedAt: a.EndedAt, Error: plainError(a.Error),
		})
	}
	return v
}

func viewOf(l links, t *task.Task) api.Task {
	v := api.Task{
		TaskID: string(t.ID), Status: shown(t.Kind, t.Status), Done: t.Status.Terminal(), Kind: string(t.Kind), Agent: t.Agent,
		Attempt: t.Attempt, MaxAttempts: t.MaxAttempts, Percent: t.Percent, Message: t.Message,
		Result: t.Result.Inline, Error: errorOf(t.Error), Warnings: t.Warnings, Labels: t.Labels, Metadata: t.Metadata,
		CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt, StartedAt: t.StartedAt, FinishedAt: t.FinishedAt,
		StoppedAt: t.StoppedAt, NotBefore: t.NotBefore, Deadline: t.Deadline,
		Usage: usageView(t.Usage), UsageTotal: usageView(t.UsageTotal), StoppedBy: t.StoppedBy,
		ScheduleID: t.ScheduleID, ScheduledAt: t.ScheduledAt, HookID: t.HookID, RetriedFrom: string(t.RetriedFrom), ParentID: string(t.ParentID), StatusURL: l.status(t), TraceID: telemetry.TraceIDOf(t.TraceParent),
	}
	nameKind(&v, t)
	v.Questions = questionsOf(t)
	if len(v.Questions) > 0 {
		v.Question = &v.Questions[0]
	}
	if t.Suspended && !t.NotBefore.IsZero() { // not when somebody looks at it
		v.NotBefore = t.Waits.Until()
	}
	if t.Callback != nil {
		v.CallbackURL, v.CallbackEvents = shownURL(t.Callback.URL), t.Callback.Events
	}
	if v.UpdatedAt.IsZero() {
		v.UpdatedAt = v.CreatedAt
	}
	if t.Percent != nil {
		v.Progress = strconv.Itoa(*t.Percent) + "%"
	}
	if t.Result.Object != "" {
		v.ResultURL = l.part(t, "result")
	}
	for _, m := range t.Milestones {
		v.Milestones = append(v.Milestones, milestoneOf(m))
	}
	return v
}

// familyOf is the view of a task with why it waits and the tasks that it has
// started.
func (show views) familyOf(ctx context.Context, l links, t *task.Task) (api.Task, error) {
	v := show.view(l, t)
	if t.Status == task.Pending {
		v.Waiting = waitingOf(show.mesh.Tasks.Waiting(ctx, t))
	}
	if t.HasChildren || t.Status == task.Canceled { // a worker may have been stopped before it said so
		children, err := show.mesh.Tasks.Children(ctx, t)
		if err != nil {
			return v, err
		}
		v.Children = texts(children)
	}
	return v, nil
}

// nameKind gives the id of an action or a turn its own name.
func nameKind(v *api.Task, t *task.Task) {
	switch t.Kind {
	case task.KindAction:
		v.ActionID = string(t.ID)
	case task.KindTurn:
		v.TurnID, v.SessionID = string(t.ID), t.SessionID
	}
}

func questionsOf(t *task.Task) (all []api.Question) {
	for _, w := range t.Questions() {
		all = append(all, api.Question{Name: w.Name, Prompt: w.Prompt, Schema: w.Schema, Until: w.Until, AskedAt: w.AskedAt})
	}
	return all
}

func plainError(e *task.Error) *api.Error {
	if e == nil {
		return nil
	}
	return new(api.Error(*e))
}

func errorOf(e *task.Error) *api.TaskError {
	if e == nil {
		return nil
	}
	return &api.TaskError{Error: api.Error(*e)}
}

func milestoneOf(m task.Milestone) api.Milestone {
	return api.Milestone{N: m.N, Name: m.Name, Message: m.Message, Data: m.Data, At: m.At, Attempt: m.Attempt}
}

// waitingOf is why a task does not run; nil when that is not known.
func waitingOf(w *mesh.Waiting) *api.Waiting {
	if w == nil {
		return nil
	}
	v := &api.Waiting{Reason: w.Reason, Position: w.Position, Limit: w.Limit, LiveWorkers: w.LiveWorkers}
	if w.NextAttempt != nil {
		v.NextAttempt = *w.NextAttempt
	}
	return v
}

// initiated is how an action shows that it is pending.
const initiated = "initiated"

func shown(k task.Kind, s task.State) string {
	if k == task.KindAction && s == task.Pending {
		return initiated
	}
	return string(s)
}

func statusURL(t *task.Task) string {
	switch t.Kind {
	case task.KindAction:
		return "/actions/" + string(t.ID)
	case task.KindTurn:
		return turnURL(session.Of(t), t.ID)
	}
	return taskURL(t.ID)
}

func taskURL(id task.ID) string       { return "/tasks/" + string(id) }
func sessionURL(id session.ID) string { return "/sessions/" + string(id) }

func turnURL(of session.ID, id task.ID) string { return sessionURL(of) + "/turns/" + string(id) }

// texts are ids as the wire has them.
func texts(ids []task.ID) (all []string) {
	for _, id := range ids {
		all = append(all, string(id))
	}
	return all
}

// etag is the strong validator of a record's version; "0" while there is none.
func etag(t *task.Task) string { return revTag(t.Rev) }

func revTag(rev uint64) string { return `"` + strconv.FormatUint(rev, 10) + `"` }

func usageView(u *task.Usage) *api.Usage {
	if u == nil {
		return nil
	}
	return &api.Usage{
		ModelCalls: u.ModelCalls, ToolCalls: u.ToolCalls, InputTokens: u.InputTokens, CachedInputTokens: u.CachedInputTokens,
		OutputTokens: u.OutputTokens, ReasoningTokens: u.ReasoningTokens, Cost: float64(u.Cost) / 1e6, Currency: u.Currency, Estimated: u.Estimated,
	}
}
