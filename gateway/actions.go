package gateway

import (
	"context"
	"errors"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

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
func (g *Gateway) createAction(ctx context.Context, in actionCreation) (out accepted[api.AcceptedAction], err error) {
	if in.r.Header.Get("Mesh-Parent-Task") != "" {
		return out, mesh.Refuse(mesh.ErrValidationFailed, "An action has no parent: leave Mesh-Parent-Task out, or start the child with POST /tasks, which takes a callback_url too.")
	}
	req := in.Body.CreateTask
	req.CallbackURL = in.Body.CallbackURL
	a, err := g.accept(ctx, in.call, task.KindAction, &req, "")
	if err != nil {
		return out, err
	}
	return answerAccepted(ctx, g, in.call, a, g.acceptedAction), nil
}

// actionAgain asks for an action like one that has finished.
type actionAgain struct {
	request
	ofTask
	keyed
	held
	caused
}

// retryAction is POST /actions/{id}/retry.
func (g *Gateway) retryAction(ctx context.Context, in actionAgain) (out accepted[api.AcceptedAction], err error) {
	a, err := g.retry(ctx, in.call, in.ID, task.ID(in.r.Header.Get("Mesh-Parent-Task")))
	if err != nil {
		return out, err
	}
	return answerAccepted(ctx, g, in.call, a, g.acceptedAction), nil
}

// acceptedAction is the body of the 202 of an action.
func (g *Gateway) acceptedAction(l links, a *mesh.Acceptance) api.AcceptedAction {
	return api.AcceptedAction{
		ActionID: string(a.TaskID), Status: initiated, Message: actionMessage, StatusURL: string(l) + acceptedPath(a), Agent: a.Agent,
		CreatedAt: a.CreatedAt, RetriedFrom: string(a.RetriedFrom), TraceID: a.TraceID, TraceURL: g.traceURL(a.TraceID), Warning: a.Warning,
	}
}

// ofAction makes a handler of a task one of an action.
func ofAction(f handler) handler {
	return func(c *call) error {
		id := task.ID(c.r.PathValue("id"))
		if !id.Valid() || id.Kind() != task.KindAction {
			return mesh.Refuse(mesh.ErrActionNotFound, "%q is not the id of an action.", mesh.Clip(id, 64))
		}
		err := f(c)
		if errors.Is(err, task.ErrNotFound) {
			return mesh.Refuse(mesh.ErrActionNotFound, "No action with this id is known, or it is past its retention of 7 days.")
		}
		return err
	}
}
