package gateway

import (
	"errors"
	"net/http"
	"strings"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

const actionMessage = "Processing your request. We'll notify you at the provided callback URL."

// wire is the answer as the client of a task or an action gets it.
func wire(a api.Accepted) any {
	if !strings.HasPrefix(a.TaskID, task.PrefixAction) {
		return a
	}
	return api.AcceptedAction{
		ActionID: a.TaskID, Status: initiated, Message: actionMessage, StatusURL: a.StatusURL, Agent: a.Agent,
		CreatedAt: a.CreatedAt, RetriedFrom: a.RetriedFrom, TraceID: a.TraceID, TraceURL: a.TraceURL, Warning: a.Warning,
	}
}

// createAction is POST /actions.
func (g *Gateway) createAction(w http.ResponseWriter, r *http.Request) error {
	return g.create(w, r, task.KindAction)
}

// ofAction makes a handler of a task one of an action.
func (g *Gateway) ofAction(f func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		id := r.PathValue("id")
		if !strings.HasPrefix(id, task.PrefixAction) || !task.ValidID(id) {
			return mesh.Refuse(mesh.ErrActionNotFound, "%q is not the id of an action.", mesh.Clip(id, 64))
		}
		err := f(w, r)
		if errors.Is(err, task.ErrNotFound) {
			return mesh.Refuse(mesh.ErrActionNotFound, "No action with this id is known, or it is past its retention of 7 days.")
		}
		return err
	}
}
