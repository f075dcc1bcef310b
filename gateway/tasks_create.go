package gateway

import (
	"context"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// taskCreation asks for a new task.
type taskCreation struct {
	request
	keyed
	held
	child
	caused
	Body api.CreateTask `body:"required"`
}

// createTask is POST /tasks.
func (h tasks) createTask(ctx context.Context, in taskCreation) (out accepted[api.Accepted], err error) {
	a, err := h.accept(ctx, in.call, task.KindTask, &in.Body, in.Parent)
	if err != nil {
		return out, err
	}
	return answerAccepted(ctx, h, in.call, a, h.acceptedTask), nil
}

// taskAgain asks for a task like one that has finished.
type taskAgain struct {
	request
	ofTask
	keyed
	held
	child
	caused
	Body api.RetryTask `body:"optional"`
}

// retryTask is POST /tasks/{id}/retry: a new task from a failed or canceled one.
func (h tasks) retryTask(ctx context.Context, in taskAgain) (out accepted[api.Accepted], err error) {
	a, err := h.retry(ctx, in.call, in.ID, in.Parent, in.Body)
	if err != nil {
		return out, err
	}
	return answerAccepted(ctx, h, in.call, a, h.acceptedTask), nil
}

// acceptedTask is the body of the 202 of a task.
func (h tasks) acceptedTask(l links, a *mesh.Acceptance) api.Accepted {
	return api.Accepted{
		TaskID: string(a.TaskID), Status: string(task.Pending), StatusURL: string(l) + acceptedPath(a), Agent: a.Agent, CreatedAt: a.CreatedAt,
		RetriedFrom: string(a.RetriedFrom), TraceID: a.TraceID, TraceURL: h.show.traceURL(a.TraceID), Warning: a.Warning,
	}
}
