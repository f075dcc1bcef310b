package gateway

import (
	"context"
	"slices"

	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// The refusals of a new task.
var (
	refusedTask  = []*mesh.Refusal{mesh.ErrAgentNotFound, mesh.ErrStoreFull, mesh.ErrTooManyPending}
	refusedInput = []*mesh.Refusal{mesh.ErrInputInvalid, mesh.ErrInputTooComplex, mesh.ErrAgentRequired, mesh.ErrCallbackBlocked, mesh.ErrCallbacksOff}
	refusedSteps = []*mesh.Refusal{mesh.ErrBadCursor, mesh.ErrStepsExpired}
	refusedChild = []*mesh.Refusal{mesh.ErrParentNotFound, mesh.ErrParentFinished, mesh.ErrCallTooDeep, mesh.ErrCallDeadlock}
)

// tasks are the operations on tasks and actions.
type tasks struct {
	mesh     *mesh.Mesh
	show     views
	closing  context.Context // done when streams should end
	detailed bool            // error details are always shown
}

func (h tasks) routes() []route {
	const one = "/tasks/{id}"
	return append([]route{
		operation("POST", "/tasks", auth.TasksWrite, "createTask", "Accept a task", h.createTask, slices.Concat(refusedTask, refusedInput, refusedChild)...),
		operation("GET", "/tasks", auth.TasksRead, "listTasks", "List tasks", h.listTasks, mesh.ErrBadCursor),
		operation("GET", one, auth.TasksRead, "getTask", "Read a task", h.getTask, mesh.ErrTaskNotFound),
		operation("DELETE", one, auth.TasksWrite, "deleteTask", "Delete a task that has ended, its result and its steps", h.deleteTask, mesh.ErrTaskNotFound, mesh.ErrTaskNotDeletable, mesh.ErrConflict),
		operation("GET", one+"/result", auth.TasksRead, "getTaskResult", "Read the result itself", h.getResult, mesh.ErrTaskNotFound, mesh.ErrResultNotReady, mesh.ErrResultExpired),
		operation("GET", one+"/input", auth.TasksRead, "getTaskInput", "Read the input as it was sent", h.getInput, mesh.ErrTaskNotFound, mesh.ErrNoInput, mesh.ErrInputExpired),
		operation("GET", one+"/events", auth.TasksRead, "taskEvents", "Follow a task", h.taskEvents, mesh.ErrTaskNotFound),
		operation("GET", one+"/steps", auth.TasksRead, "taskSteps", "Read what the agent of a task has finished and waited for", h.listSteps, append(slices.Clone(refusedSteps), mesh.ErrTaskNotFound)...),
		operation("GET", one+"/steps/value", auth.TasksRead, "stepValue", "Read the value of a step itself", h.stepValue, mesh.ErrTaskNotFound, mesh.ErrStepNotFound, mesh.ErrStepsExpired),
		operation("POST", one+"/steps", auth.Known, "tellStep", "Keep a step of an agent that runs, by the lease of its attempt", h.tellStep,
			mesh.ErrTaskNotFound, mesh.ErrLeaseLost, mesh.ErrWorkerAway),
		operation("POST", one+"/cancel", auth.TasksWrite, "cancelTask", "Cancel a task", h.cancelTask, mesh.ErrTaskNotFound, mesh.ErrTaskFinished),
		operation("POST", one+"/input", auth.TasksInput, "answerTask", "Answer a question of a task, or tell it an event that it waits for", h.answerTask, append(slices.Clone(refusedAnswer), mesh.ErrTaskNotFound)...),
		operation("POST", one+"/retry", auth.TasksWrite, "retryTask", "Run a failed or canceled task again, as a new one", h.retryTask,
			slices.Concat(refusedTask, refusedChild, []*mesh.Refusal{mesh.ErrTaskNotFound, mesh.ErrTaskNotRetryable, mesh.ErrStepsExpired})...),
	}, h.actionRoutes()...)
}

// taskPoll asks for a task.
type taskPoll struct {
	request
	ofTask
	known
	held
	Include include `query:"include,list" doc:"Parts that are left out otherwise, separated by commas: input, error_detail (which needs tasks:debug)."`
}

// getTask is GET /tasks/{id}: the task, or with Prefer: wait=N the task as soon
// as it has changed (If-None-Match) or finished.
func (h tasks) getTask(ctx context.Context, in taskPoll) (out polled[api.Task], err error) {
	if slices.Contains(in.Include, includeErrorDetail) {
		if err := permit(in.w, in.caller(), auth.TasksDebug); err != nil {
			return out, err
		}
	}
	t, err := h.mesh.Tasks.Get(ctx, in.caller(), task.ID(in.ID))
	if err != nil {
		return out, err
	}
	return poll(ctx, h.mesh, in.call, t, in.Known, func(t *task.Task) (api.Task, error) { return h.taskView(ctx, in.links(), t, in.Include) })
}

// taskView is a task, the tasks that it has started and the parts that are left
// out otherwise.
func (h tasks) taskView(ctx context.Context, l links, t *task.Task, parts include) (api.Task, error) {
	v, err := h.show.familyOf(ctx, l, t)
	if err != nil {
		return v, err
	}
	if v.Error != nil && (h.detailed || slices.Contains(parts, includeErrorDetail)) {
		v.Error.Detail = t.ErrorDetail
	}
	if slices.Contains(parts, includeInput) {
		if v.Input = t.Input.Inline; t.Input.Object != "" {
			v.InputURL = l.part(t, "input")
		}
	}
	return v, nil
}

// include is the parts of a task that are left out otherwise.
type include []string

// Values of ?include=.
const (
	includeInput       = "input"
	includeErrorDetail = "error_detail"
)

func (i *include) read(_ *call, values []string) error {
	*i = split(values)
	for _, part := range *i {
		if part != includeInput && part != includeErrorDetail {
			return mesh.Refuse(problem.ErrBadQuery, "include is %q, allowed are %s and %s.", mesh.Clip(part, 64), includeInput, includeErrorDetail)
		}
	}
	return nil
}

// resultQuery asks for the result of a task.
type resultQuery struct {
	onTask
	kept
}

// getResult is GET /tasks/{id}/result: the result itself.
func (h tasks) getResult(ctx context.Context, in resultQuery) (out versioned, err error) {
	t, err := h.mesh.Tasks.Get(ctx, in.caller(), task.ID(in.ID))
	if err != nil {
		return out, err
	}
	switch {
	case t.Status == task.Completed:
	case t.Status.Terminal():
		return out, mesh.Refuse(mesh.ErrResultNotReady, "The task is %s: it will have no result. GET %s shows why.", t.Status, statusURL(t))
	default:
		return out, mesh.Refuse(mesh.ErrResultNotReady, "The task is %s. GET %s tells more; with Prefer: wait=60 it waits for the end.", t.Status, statusURL(t))
	}
	if out.ETag = etag(t); in.has(out.ETag) {
		out.Same = true
		return out, nil
	}
	out.Value, err = h.valueOf(ctx, t.Result, mesh.ErrResultExpired)
	return out, err
}

// getInput is GET /tasks/{id}/input: the input as it was sent.
func (h tasks) getInput(ctx context.Context, in onTask) (out whole, err error) {
	t, err := h.mesh.Tasks.Get(ctx, in.caller(), task.ID(in.ID))
	if err != nil {
		return out, err
	}
	if t.Input.Object == "" && len(t.Input.Inline) == 0 {
		return out, mesh.Refuse(mesh.ErrNoInput, "The task was given its instruction only; GET %s shows the task.", statusURL(t))
	}
	out.Value, err = h.valueOf(ctx, t.Input, mesh.ErrInputExpired)
	return out, err
}

// cancelTask is POST /tasks/{id}/cancel. Exactly one of cancel and the worker
// wins the compare-and-set.
func (h tasks) cancelTask(ctx context.Context, in onTask) (out tagged[api.Task], err error) {
	t, err := h.mesh.Tasks.Cancel(ctx, in.caller(), task.ID(in.ID))
	if err != nil {
		return out, err
	}
	v, err := h.taskView(ctx, in.links(), t, nil)
	return tagged[api.Task]{Body: &v, ETag: etag(t)}, err
}

// deleteTask is DELETE /tasks/{id}.
func (h tasks) deleteTask(ctx context.Context, in onTask) (deleted, error) {
	return deleted{Gone: true}, h.mesh.Records.Delete(ctx, in.caller(), task.ID(in.ID))
}
