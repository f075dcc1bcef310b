package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"agentmesh/shared/mesh"
)

// Agent is an agent as clients see it.
type Agent struct {
	Name        string             `json:"name"`
	Description string             `json:"description,omitempty"`
	Version     string             `json:"version,omitempty"`
	Greeting    string             `json:"greeting,omitempty"`
	Default     bool               `json:"default,omitempty" doc:"Runs the tasks that name no agent."`
	InputSchema json.RawMessage    `json:"input_schema,omitempty" doc:"JSON Schema of the input."`
	Concurrency int                `json:"concurrency" doc:"Slots of each worker."`
	MaxInFlight int                `json:"max_in_flight" doc:"Slots in the whole mesh."`
	Timeout     string             `json:"timeout" doc:"Of one attempt."`
	MaxAttempts int                `json:"max_attempts"`
	LiveWorkers int                `json:"live_workers"`
	Conflict    bool               `json:"conflict,omitempty" doc:"Live workers serve different definitions of it, and no version says which is the newer: tasks are checked against the one that was there first."`
	Workers     []mesh.AgentWorker `json:"workers"`
}

// AgentList is the answer of GET /agents.
type AgentList struct {
	Agents []Agent `json:"agents"`
}

// listAgents is GET /agents.
func (g *Gateway) listAgents(w http.ResponseWriter, r *http.Request) error {
	all, err := g.mesh.Agents.List(r.Context(), callerOf(r))
	if err != nil {
		return err
	}
	list := AgentList{Agents: []Agent{}}
	for _, a := range all {
		list.Agents = append(list.Agents, agentOf(a))
	}
	return writeJSON(w, http.StatusOK, list)
}

// getAgent is GET /agents/{name}.
func (g *Gateway) getAgent(w http.ResponseWriter, r *http.Request) error {
	a, err := g.mesh.Agents.Get(r.Context(), callerOf(r), r.PathValue("name"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, agentOf(a))
}

func agentOf(a mesh.Served) Agent {
	full := a.WithDefaults()
	return Agent{
		Name: a.Name, Description: a.Description, Version: a.Version, Greeting: a.Greeting, Default: a.Default, InputSchema: a.InputSchema,
		Concurrency: full.Concurrency, MaxInFlight: full.MaxInFlight, Timeout: time.Duration(full.Timeout).String(),
		MaxAttempts: full.Retry.MaxAttempts, Workers: a.Workers, LiveWorkers: len(a.Workers), Conflict: a.Conflict,
	}
}

// RemovedAgent is the answer of a DELETE that leaves tasks waiting.
type RemovedAgent struct {
	Name    string `json:"name"`
	Waiting int    `json:"waiting" doc:"Tasks and turns that go on waiting for an agent of this name."`
	Warning string `json:"warning"`
}

// deleteAgent is DELETE /agents/{name}: 204, or 200 where tasks go on waiting.
func (g *Gateway) deleteAgent(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	waiting, err := g.mesh.Agents.Remove(r.Context(), callerOf(r), name)
	if err != nil {
		return err
	}
	if waiting == 0 {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return writeJSON(w, http.StatusOK, RemovedAgent{name, waiting, fmt.Sprintf(
		"%d accepted tasks go on waiting for a worker that serves an agent named %s. GET /tasks?agent=%s&status=pending lists them; cancel those that nobody needs.", waiting, name, name)})
}
