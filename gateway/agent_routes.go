package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Agent is an agent as clients see it.
type Agent struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Version     string          `json:"version,omitempty"`
	Greeting    string          `json:"greeting,omitempty"`
	Default     bool            `json:"default,omitempty" doc:"Runs the tasks that name no agent."`
	InputSchema json.RawMessage `json:"input_schema,omitempty" doc:"JSON Schema of the input."`
	Concurrency int             `json:"concurrency" doc:"Slots of each worker."`
	MaxInFlight int             `json:"max_in_flight" doc:"Slots in the whole mesh."`
	Timeout     string          `json:"timeout" doc:"Of one attempt."`
	MaxAttempts int             `json:"max_attempts"`
	LiveWorkers int             `json:"live_workers"`
	Conflict    bool            `json:"conflict,omitempty" doc:"Live workers serve different definitions of it, and no version says which is the newer: tasks are checked against the one that was there first."`
	Workers     []AgentWorker   `json:"workers"`
}

// AgentWorker is a live worker of an agent.
type AgentWorker struct {
	WorkerID  string    `json:"worker_id"`
	Version   string    `json:"version,omitempty"`
	Slots     int       `json:"slots"`
	Busy      int       `json:"busy" doc:"Slots taken, a second or two ago."`
	StartedAt time.Time `json:"started_at"`
}

// AgentList is the answer of GET /agents.
type AgentList struct {
	Agents []Agent `json:"agents"`
}

// listAgents is GET /agents.
func (g *Gateway) listAgents(w http.ResponseWriter, r *http.Request) error {
	if err := g.agents.refresh(r.Context()); err != nil {
		return err
	}
	workers, err := g.store.Workers(r.Context())
	if err != nil {
		return err
	}
	list := AgentList{Agents: []Agent{}}
	for _, d := range g.agents.all() {
		list.Agents = append(list.Agents, agentOf(d, workers))
	}
	return writeJSON(w, http.StatusOK, list)
}

// pathAgent is the agent's name in the path.
func pathAgent(r *http.Request) (string, error) {
	name := r.PathValue("name")
	if !task.ValidAgent(name) {
		return "", mesh.Refuse(mesh.ErrAgentNotFound, "%s is no agent name; they match [a-z0-9-]{1,40}.", strconv.Quote(mesh.Clip(name, 64)))
	}
	return name, nil
}

// getAgent is GET /agents/{name}.
func (g *Gateway) getAgent(w http.ResponseWriter, r *http.Request) error {
	name, err := pathAgent(r)
	if err != nil {
		return err
	}
	d, err := g.agents.resolve(r.Context(), name)
	if err != nil {
		return err
	}
	workers, err := g.store.Workers(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, agentOf(d, workers))
}

func agentOf(d *definition, workers []store.Presence) Agent {
	full := d.WithDefaults()
	a := Agent{
		Name: d.Name, Description: d.Description, Version: d.Version, Greeting: d.Greeting, Default: d.Default, InputSchema: d.InputSchema,
		Concurrency: full.Concurrency, MaxInFlight: full.MaxInFlight, Timeout: time.Duration(full.Timeout).String(),
		MaxAttempts: full.Retry.MaxAttempts, Workers: append([]AgentWorker{}, serving(workers, d.Name)...),
	}
	a.LiveWorkers, a.Conflict = len(a.Workers), store.Contested(workers, d.Name)
	return a
}

// RemovedAgent is the answer of a DELETE that leaves tasks waiting.
type RemovedAgent struct {
	Name    string `json:"name"`
	Waiting int    `json:"waiting" doc:"Tasks and turns that go on waiting for an agent of this name."`
	Warning string `json:"warning"`
}

// deleteAgent is DELETE /agents/{name}: 204, or 200 where tasks go on waiting.
func (g *Gateway) deleteAgent(w http.ResponseWriter, r *http.Request) error {
	name, err := pathAgent(r)
	if err != nil {
		return err
	}
	waiting, rev, err := g.store.RemoveAgent(context.WithoutCancel(r.Context()), name)
	switch {
	case errors.Is(err, store.ErrServed):
		return mesh.Refuse(mesh.ErrAgentServed, "Live workers serve the agent %s; stop them, or take it out of their agents.yaml. GET /agents/%s lists them.", name, name)
	case errors.Is(err, task.ErrNotFound):
		return mesh.Refuse(mesh.ErrAgentNotFound, "There is no agent %q; known are: %s.", name, g.agents.names())
	case err != nil:
		return err
	}
	g.agents.forget(name, rev)
	g.log.Info("agent removed", "agent", name, "waiting", waiting)
	if waiting == 0 {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return writeJSON(w, http.StatusOK, RemovedAgent{name, waiting, fmt.Sprintf(
		"%d accepted tasks go on waiting for a worker that serves an agent named %s. GET /tasks?agent=%s&status=pending lists them; cancel those that nobody needs.", waiting, name, name)})
}

// unservedFor is how long nobody may have served an agent before its tasks are
// accepted with a warning: a day, and the time between two notes of it.
const unservedFor = 24*time.Hour + topology.ServedEvery

// warning is what a client should know that names this agent; empty: nothing.
func (g *Gateway) warning(ctx context.Context, agent string) string {
	stale := func(d *definition) bool { return d != nil && time.Since(d.Noted) > unservedFor }
	if !stale(g.agents.find(agent)) || g.agents.refresh(ctx) != nil {
		return ""
	}
	d := g.agents.find(agent)
	if !stale(d) {
		return ""
	}
	// A worker of an earlier version serves without a note.
	l, err := g.lines.of(ctx, store.TaskQueue, agent)
	if err != nil || l.workers > 0 {
		return ""
	}
	return fmt.Sprintf("No worker has served the agent %s since about %s: the task waits until one does. DELETE /agents/%s removes an agent that is gone.",
		agent, d.Noted.UTC().Format(time.RFC3339), agent)
}
