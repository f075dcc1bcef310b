package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// agents knows the registered definitions: a copy that a watch keeps up to
// date, so that accepting a task reads nothing.
type agents struct {
	store *store.Store
	log   *slog.Logger

	mu     sync.RWMutex
	known  map[string]*definition
	loaded chan struct{}
	away   error // why the registry is not watched now

	refreshing sync.Mutex
	refreshed  time.Time
}

// refreshEvery bounds what requests for agents that do not exist cost.
const refreshEvery = time.Second

func newAgents(st *store.Store, log *slog.Logger) *agents {
	return &agents{store: st, log: log, known: map[string]*definition{}, loaded: make(chan struct{})}
}

// follow keeps the copy up to date until ctx ends.
func (a *agents) follow(ctx context.Context) error {
	var once sync.Once
	for ctx.Err() == nil {
		err := a.store.WatchAgents(ctx, a.learn, func() {
			a.watched(nil)
			once.Do(func() { close(a.loaded) })
		})
		if ctx.Err() != nil {
			break
		}
		if err == nil {
			err = errors.New("the watch ended")
		}
		a.watched(err)
		a.log.Error("agents not watched, trying again: changed definitions are not seen", "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
	return nil
}

// watched notes whether the copy is kept up to date, and if not, why.
func (a *agents) watched(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.away = err
}

// check tells whether the copy is complete and kept up to date.
func (a *agents) check() error {
	select {
	case <-a.loaded:
	default:
		return errors.New("the registry is not read yet")
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.away
}

func (a *agents) learn(d store.Definition) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old := a.known[d.Name]; old != nil && old.Rev >= d.Rev {
		return
	}
	def := newDefinition(d)
	if def.schemaErr != nil {
		a.log.Error("agent has a schema that does not compile, its tasks are refused", "agent", d.Name, "error", def.schemaErr)
	}
	a.known[d.Name] = def
}

// resolve finds the agent that a request names, or the default one. One that
// is not known may have been registered a moment ago, so the registry itself
// has the last word.
func (a *agents) resolve(ctx context.Context, name string) (*definition, error) {
	if d := a.find(name); d != nil {
		return d, nil
	}
	if err := a.refresh(ctx); err != nil {
		return nil, err
	}
	if d := a.find(name); d != nil {
		return d, nil
	}
	if name == "" {
		return nil, refuse("agent_required", "This mesh has no default agent; name one of: %s.", a.names())
	}
	return nil, refuse("agent_not_found", "There is no agent %q; known are: %s.", name, a.names())
}

// find looks an agent up in the copy; an empty name is the default agent.
func (a *agents) find(name string) *definition {
	if name != "" {
		a.mu.RLock()
		defer a.mu.RUnlock()
		return a.known[name]
	}
	for _, d := range a.all() {
		if d.Default {
			return d
		}
	}
	return nil
}

// refresh reads the registry, unless that was done just now.
func (a *agents) refresh(ctx context.Context) error {
	a.refreshing.Lock()
	defer a.refreshing.Unlock()
	if time.Since(a.refreshed) < refreshEvery {
		return nil
	}
	all, err := a.store.Agents(ctx)
	if err != nil {
		return err
	}
	for _, d := range all {
		a.learn(d)
	}
	a.refreshed = time.Now()
	return nil
}

func (a *agents) all() []*definition {
	a.mu.RLock()
	defer a.mu.RUnlock()
	all := slices.Collect(maps.Values(a.known))
	slices.SortFunc(all, func(x, y *definition) int { return strings.Compare(x.Name, y.Name) })
	return all
}

func (a *agents) names() string {
	var names []string
	for _, d := range a.all() {
		names = append(names, d.Name)
	}
	if len(names) == 0 {
		return "none (no worker has registered one)"
	}
	return strings.Join(names, ", ")
}

func escapePointer(token string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(token)
}

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
	Workers     []AgentWorker   `json:"workers"`
}

// AgentWorker is a live worker of an agent.
type AgentWorker struct {
	WorkerID  string    `json:"worker_id"`
	Version   string    `json:"version,omitempty"`
	Slots     int       `json:"slots"`
	Busy      int       `json:"busy" doc:"Slots taken at its last report, up to 30 s ago."`
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

// getAgent is GET /agents/{name}.
func (g *Gateway) getAgent(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if !task.ValidAgent(name) {
		return refuse("agent_not_found", "%s is no agent name; they match [a-z0-9-]{1,40}.", strconv.Quote(clip(name, 64)))
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
	a.LiveWorkers = len(a.Workers)
	return a
}
