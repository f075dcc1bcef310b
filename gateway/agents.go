package gateway

import (
	"context"
	"fmt"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
)

// listAgents is GET /agents.
func (g *Gateway) listAgents(ctx context.Context, in plain) (api.AgentList, error) {
	all, err := g.mesh.Agents.List(ctx, in.caller())
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
func (g *Gateway) getAgent(ctx context.Context, in onAgent) (api.Agent, error) {
	a, err := g.mesh.Agents.Get(ctx, in.caller(), in.Name)
	if err != nil {
		return api.Agent{}, err
	}
	return agentOf(a), nil
}

func agentOf(a mesh.Served) api.Agent {
	full := a.WithDefaults()
	return api.Agent{
		Name: a.Name, Description: a.Description, Version: a.Version, Greeting: a.Greeting, Default: a.Default, InputSchema: a.InputSchema,
		Concurrency: full.Concurrency, MaxInFlight: full.MaxInFlight, Timeout: time.Duration(full.Timeout).String(),
		MaxAttempts: full.Retry.MaxAttempts, Workers: workersOf(a), LiveWorkers: len(a.Workers), Conflict: a.Conflict,
	}
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
func (g *Gateway) deleteAgent(ctx context.Context, in onAgent) (out removedAgent, err error) {
	waiting, err := g.mesh.Agents.Remove(ctx, in.caller(), in.Name)
	if waiting == 0 {
		return removedAgent{Gone: true}, err
	}
	return removedAgent{Left: &api.RemovedAgent{Name: in.Name, Waiting: waiting, Warning: fmt.Sprintf(
		"%d accepted tasks go on waiting for a worker that serves an agent named %s. GET /tasks?agent=%s&status=pending lists them; cancel those that nobody needs.", waiting, in.Name, in.Name)}}, err
}
