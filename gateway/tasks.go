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
func (g *Gateway) getTask(ctx context.Context, in taskPoll) (out polled[api.Task], err error) {
	if slices.Contains(in.Include, includeErrorDetail) {
		if err := permit(in.w, in.caller(), auth.TasksDebug); err != nil {
			return out, err
		}
	}
	t, err := g.mesh.Tasks.Get(ctx, in.caller(), task.ID(in.ID))
	if err != nil {
		return out, err
	}
	return poll(ctx, g, in.call, t, in.Known, func(t *task.Task) (api.Task, error) { return g.taskView(ctx, in.links(), t, in.Include) })
}

// taskView is a task, the tasks that it has started and the parts that are left
// out otherwise.
func (g *Gateway) taskView(ctx context.Context, l links, t *task.Task, parts include) (api.Task, error) {
	v, err := g.familyOf(ctx, l, t)
	if err != nil {
		return v, err
	}
	if v.Error != nil && (g.cfg.servesOperatorOnly() || slices.Contains(parts, includeErrorDetail)) {
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

// onTask is a request about a task that takes nothing else.
type onTask struct {
	request
	ofTask
}

// getResult is GET /tasks/{id}/result: the result itself.
func (g *Gateway) getResult(ctx context.Context, in onTask) (out whole, err error) {
	t, err := g.mesh.Tasks.Get(ctx, in.caller(), task.ID(in.ID))
	if err != nil {
		return out, err
	}
	if t.Status != task.Completed {
		return out, mesh.Refuse(mesh.ErrResultNotReady, "The task is %s. GET %s tells more; with Prefer: wait=60 it waits for the end.", t.Status, statusURL(t))
	}
	out.ETag = etag(t)
	out.Value, err = g.valueOf(ctx, t.Result, mesh.ErrResultExpired)
	return out, err
}

// getInput is GET /tasks/{id}/input: the input as it was sent.
func (g *Gateway) getInput(ctx context.Context, in onTask) (out whole, err error) {
	t, err := g.mesh.Tasks.Get(ctx, in.caller(), task.ID(in.ID))
	if err != nil {
		return out, err
	}
	if t.Input.Object == "" && len(t.Input.Inline) == 0 {
		return out, mesh.Refuse(mesh.ErrNoInput, "The task was given its instruction only; GET %s shows the task.", statusURL(t))
	}
	out.Value, err = g.valueOf(ctx, t.Input, mesh.ErrInputExpired)
	return out, err
}

// cancelTask is POST /tasks/{id}/cancel. Exactly one of cancel and the worker
// wins the compare-and-set.
func (g *Gateway) cancelTask(ctx context.Context, in onTask) (out tagged[api.Task], err error) {
	t, err := g.mesh.Tasks.Cancel(ctx, in.caller(), task.ID(in.ID))
	if err != nil {
		return out, err
	}
	v, err := g.taskView(ctx, in.links(), t, nil)
	return tagged[api.Task]{Body: &v, ETag: etag(t)}, err
}
