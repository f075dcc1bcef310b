package gateway

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// AcceptedAction is the body of the 202 of an action.
type AcceptedAction struct {
	ActionID    string     `json:"action_id"`
	Status      task.State `json:"status" enum:"initiated"`
	Message     string     `json:"message"`
	StatusURL   string     `json:"status_url"`
	Agent       string     `json:"agent"`
	CreatedAt   time.Time  `json:"created_at"`
	RetriedFrom string     `json:"retried_from,omitempty"`
	TraceID     string     `json:"trace_id,omitempty"`
	TraceURL    string     `json:"trace_url,omitempty"`
	Warning     string     `json:"warning,omitempty" doc:"What the client should know, such as that nobody has served the agent for a day."`
}

const actionMessage = "Processing your request. We'll notify you at the provided callback URL."

// wire is the answer as the client of a task or an action gets it.
func (a Accepted) wire() any {
	if !strings.HasPrefix(a.TaskID, task.PrefixAction) {
		return a
	}
	return AcceptedAction{
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
