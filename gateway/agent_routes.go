package gateway

import (
	"fmt"
	"net/http"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
)

// listAgents is GET /agents.
func (g *Gateway) listAgents(w http.ResponseWriter, r *http.Request) error {
	all, err := g.mesh.Agents.List(r.Context(), callerOf(r))
	if err != nil {
		return err
	}
	list := api.AgentList{Agents: []api.Agent{}}
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

func agentOf(a mesh.Served) api.Agent {
	full := a.WithDefaults()
	return api.Agent{
		Name: a.Name, Description: a.Description, Version: a.Version, Greeting: a.Greeting, Default: a.Default, InputSchema: a.InputSchema,
		Concurrency: full.Concurrency, MaxInFlight: full.MaxInFlight, Timeout: time.Duration(full.Timeout).String(),
		MaxAttempts: full.Retry.MaxAttempts, Workers: workersOf(a), LiveWorkers: len(a.Workers), Conflict: a.Conflict,
	}
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
	return writeJSON(w, http.StatusOK, api.RemovedAgent{Name: name, Waiting: waiting, Warning: fmt.Sprintf(
		"%d accepted tasks go on waiting for a worker that serves an agent named %s. GET /tasks?agent=%s&status=pending lists them; cancel those that nobody needs.", waiting, name, name)})
}

func workersOf(a mesh.Served) []api.AgentWorker {
	all := make([]api.AgentWorker, 0, len(a.Workers))
	for _, w := range a.Workers {
		all = append(all, api.AgentWorker(w))
	}
	return all
}
