package gateway

import (
	"context"
	"slices"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

func (h tasks) actionRoutes() []route {
	const one = "/actions/{id}"
	return append([]route{
		operation("POST", "/actions", auth.TasksWrite, "createAction", "Accept an action: a task whose outcome is POSTed to callback_url", h.createAction, slices.Concat(refusedTask, refusedInput)...),
	}, ofActions(
		operation("GET", one, auth.TasksRead, "getAction", "Read an action", h.getTask),
		operation("GET", one+"/result", auth.TasksRead, "getActionResult", "Read the result itself", h.getResult, mesh.ErrResultNotReady, mesh.ErrResultExpired),
		operation("GET", one+"/input", auth.TasksRead, "getActionInput", "Read the input as it was sent", h.getInput, mesh.ErrNoInput, mesh.ErrInputExpired),
		operation("GET", one+"/events", auth.TasksRead, "actionEvents", "Follow an action", h.taskEvents),
		operation("GET", one+"/steps", auth.TasksRead, "actionSteps", "Read what the agent of an action has finished and waited for", h.listSteps, refusedSteps...),
		operation("POST", one+"/cancel", auth.TasksWrite, "cancelAction", "Cancel an action", h.cancelTask, mesh.ErrTaskFinished),
		operation("POST", one+"/input", auth.TasksInput, "answerAction", "Answer a question of an action, or tell it an event that it waits for", h.answerTask, refusedAnswer...),
		operation("POST", one+"/retry", auth.TasksWrite, "retryAction", "Run a failed or canceled action again, as a new one", h.retryAction, append(slices.Clone(refusedTask), mesh.ErrTaskNotRetryable, mesh.ErrStepsExpired)...),
	)...)
}

// actionCreation asks for a new action.
type actionCreation struct {
	request
	keyed
	held
	caused
	Body api.CreateAction `body:"required"`
}

const actionMessage = "Processing your request. We'll notify you at the provided callback URL."

// createAction is POST /actions.
func (h tasks) createAction(ctx context.Context, in actionCreation) (out accepted[api.AcceptedAction], err error) {
	if in.r.Header.Get("Mesh-Parent-Task") != "" {
		return out, mesh.Refuse(mesh.ErrValidationFailed, "An action has no parent: leave Mesh-Parent-Task out, or start the child with POST /tasks, which takes a callback_url too.")
	}
	req := in.Body.CreateTask
	req.CallbackURL = in.Body.CallbackURL
	a, err := h.accept(ctx, in.call, task.KindAction, &req, "")
	if err != nil {
		return out, err
	}
	return answerAccepted(ctx, h, in.call, a, h.acceptedAction), nil
}

// actionAgain asks for an action like one that has finished.
type actionAgain struct {
	request
	ofTask
	keyed
	held
	caused
	Body api.RetryTask `body:"optional"`
}

// retryAction is POST /actions/{id}/retry.
func (h tasks) retryAction(ctx context.Context, in actionAgain) (out accepted[api.AcceptedAction], err error) {
	a, err := h.retry(ctx, in.call, in.ID, task.ID(in.r.Header.Get("Mesh-Parent-Task")), in.Body)
	if err != nil {
		return out, err
	}
	return answerAccepted(ctx, h, in.call, a, h.acceptedAction), nil
}

// acceptedAction is the body of the 202 of an action.
func (h tasks) acceptedAction(l links, a *mesh.Acceptance) api.AcceptedAction {
	return api.AcceptedAction{
		ActionID: string(a.TaskID), Status: initiated, Message: actionMessage, StatusURL: string(l) + acceptedPath(a), Agent: a.Agent,
		CreatedAt: a.CreatedAt, RetriedFrom: string(a.RetriedFrom), TraceID: a.TraceID, TraceURL: h.show.traceURL(a.TraceID), Warning: a.Warning,
	}
}
