package gateway

import (
	"context"
	"fmt"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
)

// agents are the operations on agents.
type agents struct{ mesh *mesh.Mesh }

func (h agents) routes() []route {
	return []route{
		operation("GET", "/agents", auth.AgentsRead, "listAgents", "List agents and their live workers", h.listAgents),
		operation("GET", "/agents/{name}", auth.AgentsRead, "getAgent", "Read an agent", h.getAgent, mesh.ErrAgentNotFound),
		operation("DELETE", "/agents/{name}", auth.Admin, "deleteAgent", "Remove an agent that no live worker serves; tasks that wait for it stay", h.deleteAgent,
			mesh.ErrAgentNotFound, mesh.ErrAgentServed, mesh.ErrConflict),
		operation("POST", "/agents/{name}/pause", auth.Admin, "pauseAgent", "Have no worker begin a task of an agent; what runs goes on, what is accepted waits", h.pauseAgent, mesh.ErrAgentNotFound, mesh.ErrConflict),
		operation("POST", "/agents/{name}/resume", auth.Admin, "resumeAgent", "Have workers take the tasks of an agent again", h.resumeAgent, mesh.ErrAgentNotFound, mesh.ErrConflict),
	}
}

// listAgents is GET /agents.
func (h agents) listAgents(ctx context.Context, in plain) (api.AgentList, error) {
	all, err := h.mesh.Agents.List(ctx, in.caller())
	list := api.AgentList{Agents: []api.Agent{}}
	for _, a := range all {
		list.Agents = append(list.Agents, agentOf(a))
	}
	return list, err
}

// onAgent is a request about an agent.
type onAgent struct {
	request
	Name string `path:"name"`
}

// getAgent is GET /agents/{name}.
func (h agents) getAgent(ctx context.Context, in onAgent) (api.Agent, error) {
	a, err := h.mesh.Agents.Get(ctx, in.caller(), in.Name)
	if err != nil {
		return api.Agent{}, err
	}
	return agentOf(a), nil
}

func agentOf(a mesh.Served) api.Agent {
	full := a.WithDefaults()
	return api.Agent{
		Name: a.Name, Description: a.Description, Version: a.Version, Greeting: a.Greeting, Default: a.Default, InputSchema: a.InputSchema, OutputSchema: a.OutputSchema,
		Concurrency: full.Concurrency, MaxInFlight: full.MaxInFlight, Timeout: time.Duration(full.Timeout).String(),
		MaxAttempts: full.Retry.MaxAttempts, Workers: workersOf(a), LiveWorkers: len(a.Workers), Conflict: a.Conflict,
		Paused: a.Paused, PausedUntil: a.Until,
	}
}

// agentPause asks for a pause.
type agentPause struct {
	onAgent
	Body api.PauseAgent `body:"optional"`
}

// pauseAgent is POST /agents/{name}/pause.
func (h agents) pauseAgent(ctx context.Context, in agentPause) (api.Agent, error) {
	var d time.Duration
	if in.Body.For != "" {
		var err error
		if d, err = time.ParseDuration(in.Body.For); err != nil || d == 0 {
			d = -1 // any other text is out of range
		}
	}
	a, err := h.mesh.Agents.Pause(ctx, in.caller(), in.Name, d)
	if err != nil {
		return api.Agent{}, err
	}
	return agentOf(a), nil
}

// resumeAgent is POST /agents/{name}/resume.
func (h agents) resumeAgent(ctx context.Context, in onAgent) (api.Agent, error) {
	a, err := h.mesh.Agents.Resume(ctx, in.caller(), in.Name)
	if err != nil {
		return api.Agent{}, err
	}
	return agentOf(a), nil
}

func workersOf(a mesh.Served) []api.AgentWorker {
	all := make([]api.AgentWorker, 0, len(a.Workers))
	for _, w := range a.Workers {
		all = append(all, api.AgentWorker(w))
	}
	return all
}

// removedAgent is the answer of a DELETE, with what goes on waiting.
type removedAgent struct {
	Gone bool              `status:"204"`
	Left *api.RemovedAgent `status:"200"`
}

// deleteAgent is DELETE /agents/{name}.
func (h agents) deleteAgent(ctx context.Context, in onAgent) (out removedAgent, err error) {
	waiting, err := h.mesh.Agents.Remove(ctx, in.caller(), in.Name)
	if waiting == 0 {
		return removedAgent{Gone: true}, err
	}
	return removedAgent{Left: &api.RemovedAgent{Name: in.Name, Waiting: waiting, Warning: fmt.Sprintf(
		"%d accepted tasks go on waiting for a worker that serves an agent named %s. GET /tasks?agent=%s&status=pending lists them; cancel those that nobody needs.", waiting, in.Name, in.Name)}}, err
}
