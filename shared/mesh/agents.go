package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"agentmesh/shared/audit"
	"agentmesh/shared/auth"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Agents knows the registered definitions: a copy that a watch keeps up to
// date, so that accepting a task reads nothing.
type Agents struct {
	store *store.Store
	log   *slog.Logger
	lines *lines
	trail *trail

	*watched

	mu    sync.RWMutex
	known map[string]*Agent

	refreshing sync.Mutex
	refreshed  time.Time
}

// refreshEvery bounds what requests for agents that do not exist cost.
const refreshEvery = time.Second

func newAgents(st *store.Store, log *slog.Logger) *Agents {
	return &Agents{store: st, log: log, known: map[string]*Agent{}, watched: newWatched("agents", "changed definitions are not seen", log)}
}

// follow keeps the copy up to date until ctx ends.
func (a *Agents) follow(ctx context.Context) {
	a.watched.follow(ctx, func(ctx context.Context, ready func()) error {
		return a.store.Registry.Watch(ctx, a.learn, a.forget, ready)
	})
}

func (a *Agents) learn(d store.Definition) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old := a.known[d.Name]; old != nil && old.Rev >= d.Rev {
		return
	}
	def := NewAgent(d)
	if def.input.err != nil {
		a.log.Error("agent has a schema that does not compile, its tasks are refused", "agent", d.Name, "error", def.input.err)
	}
	a.known[d.Name] = def
}

// forget notes that an agent was removed. A reading of the registry that began
// before does not bring it back.
func (a *Agents) forget(name string, rev uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old := a.known[name]; old == nil || old.Rev < rev {
		a.known[name] = &Agent{Definition: store.Definition{Rev: rev}, removed: true}
	}
}

// resolve finds the agent that a request names, or the default one. One that
// is not known may have been registered a moment ago, so the registry itself
// has the last word. A listing may be read from a replica that lags behind, so a
// name is asked for by itself, which its leader answers.
func (a *Agents) resolve(ctx context.Context, name string) (*Agent, error) {
	if d := a.find(name); d != nil {
		return d, nil
	}
	if name != "" {
		d, err := a.read(ctx, name)
		if !errors.Is(err, ErrAgentNotFound) {
			return d, err
		}
	}
	if err := a.refresh(ctx); err != nil {
		return nil, err
	}
	if d := a.find(name); d != nil {
		return d, nil
	}
	if name == "" {
		return nil, Refuse(ErrAgentRequired, "This mesh has no default agent; name one of: %s.", a.names())
	}
	return nil, Refuse(ErrAgentNotFound, "There is no agent %q; known are: %s.", name, a.names())
}

// read reads an agent from the registry itself: its caller may have no watch.
func (a *Agents) read(ctx context.Context, name string) (*Agent, error) {
	d, err := a.store.Registry.Agent(ctx, name)
	if errors.Is(err, task.ErrNotFound) {
		return nil, Refuse(ErrAgentNotFound, "There is no agent %q.", name)
	}
	if err != nil {
		return nil, err
	}
	a.learn(d)
	if known := a.find(name); known != nil {
		return known, nil
	}
	return nil, Refuse(ErrAgentNotFound, "There is no agent %q.", name) // it was removed meanwhile
}

// Describe is the definition of an agent, for a worker whose agents call it.
func (a *Agents) Describe(ctx context.Context, name string) (task.Definition, error) {
	d, err := a.read(ctx, name)
	if err != nil {
		return task.Definition{}, err
	}
	return d.WithDefaults(), nil
}

// find looks an agent up in the copy; an empty name is the default agent.
func (a *Agents) find(name string) *Agent {
	if name != "" {
		a.mu.RLock()
		defer a.mu.RUnlock()
		if d := a.known[name]; d != nil && !d.removed {
			return d
		}
		return nil
	}
	for _, d := range a.all() {
		if d.Default {
			return d
		}
	}
	return nil
}

// refresh reads the registry, unless that was done just now.
func (a *Agents) refresh(ctx context.Context) error {
	a.refreshing.Lock()
	defer a.refreshing.Unlock()
	if time.Since(a.refreshed) < refreshEvery {
		return nil
	}
	all, err := a.store.Registry.Agents(ctx)
	if err != nil {
		return err
	}
	for _, d := range all {
		a.learn(d)
	}
	a.refreshed = time.Now()
	return nil
}

func (a *Agents) all() []*Agent {
	a.mu.RLock()
	defer a.mu.RUnlock()
	all := slices.DeleteFunc(slices.Collect(maps.Values(a.known)), func(d *Agent) bool { return d.removed })
	slices.SortFunc(all, func(x, y *Agent) int { return strings.Compare(x.Name, y.Name) })
	return all
}

func (a *Agents) names() string {
	var names []string
	for _, d := range a.all() {
		names = append(names, d.Name)
	}
	if len(names) == 0 {
		return "none (no worker has registered one)"
	}
	return strings.Join(names, ", ")
}

// Served is an agent and who serves it.
type Served struct {
	*Agent
	Pause
	Workers  []AgentWorker
	Conflict bool // live workers serve definitions that differ, and no version tells which is the newer
}

func servedBy(d *Agent, p Pause, workers []store.Presence) Served {
	return Served{d, p, append([]AgentWorker{}, Serving(workers, d.Name)...), store.Contested(workers, d.Name)}
}

// List lists the agents by name.
func (a *Agents) List(ctx context.Context, _ auth.Caller) ([]Served, error) {
	if err := a.refresh(ctx); err != nil {
		return nil, err
	}
	workers, err := a.store.Registry.Workers(ctx)
	if err != nil {
		return nil, err
	}
	paused, err := a.store.Consumers.Paused(ctx)
	if err != nil {
		return nil, err
	}
	var all []Served
	for _, d := range a.all() {
		until, is := paused[d.Name]
		all = append(all, servedBy(d, Pause{is, until}, workers))
	}
	return all, nil
}

// Definitions are the agents by name, without who serves them.
func (a *Agents) Definitions(ctx context.Context, _ auth.Caller) ([]*Agent, error) {
	if a.Check() != nil {
		if err := a.refresh(ctx); err != nil {
			return nil, err
		}
	}
	return a.all(), nil
}

// Definition is one of them; an empty name is the default agent.
func (a *Agents) Definition(ctx context.Context, _ auth.Caller, name string) (*Agent, error) {
	if name != "" {
		if err := validAgent(name); err != nil {
			return nil, err
		}
	}
	return a.resolve(ctx, name)
}

// Get reads an agent.
func (a *Agents) Get(ctx context.Context, _ auth.Caller, name string) (Served, error) {
	if err := validAgent(name); err != nil {
		return Served{}, err
	}
	d, err := a.resolve(ctx, name)
	if err != nil {
		return Served{}, err
	}
	workers, err := a.store.Registry.Workers(ctx)
	if err != nil {
		return Served{}, err
	}
	p, err := a.pauseOf(ctx, d.Name)
	if err != nil {
		return Served{}, err
	}
	return servedBy(d, p, workers), nil
}

func validAgent(name string) error {
	if !task.ValidAgent(name) {
		return Refuse(ErrAgentNotFound, "%s is no agent name; they match [a-z0-9-]{1,40}.", strconv.Quote(Clip(name, 64)))
	}
	return nil
}

// Remove removes the definition of an agent that no live worker serves, and says
// how many accepted tasks go on waiting for one of its name.
func (a *Agents) Remove(ctx context.Context, who auth.Caller, name string) (waiting int, err error) {
	defer func() { a.trail.note(ctx, who, audit.AgentDelete, name, err) }()
	if err := validAgent(name); err != nil {
		return 0, err
	}
	waiting, rev, err := a.store.Registry.Remove(context.WithoutCancel(ctx), name)
	switch {
	case errors.Is(err, store.ErrServed):
		return 0, Refuse(ErrAgentServed, "Live workers serve the agent %s; stop them, or take it out of their agents.yaml. GET /agents/%s lists them.", name, name)
	case errors.Is(err, task.ErrNotFound):
		return 0, Refuse(ErrAgentNotFound, "There is no agent %q; known are: %s.", name, a.names())
	case err != nil:
		return 0, err
	}
	a.forget(name, rev)
	return waiting, nil
}

// unservedFor is how long nobody may have served an agent before its tasks are
// accepted with a warning: a day, and the time between two notes of it.
const unservedFor = 24*time.Hour + topology.ServedEvery

// warning is what a client should know that names this agent; empty: nothing.
func (a *Agents) warning(ctx context.Context, name string) string {
	stale := func(d *Agent) bool { return d != nil && time.Since(d.Noted) > unservedFor }
	if !stale(a.find(name)) || a.refresh(ctx) != nil {
		return ""
	}
	d := a.find(name)
	if !stale(d) {
		return ""
	}
	// A worker of an earlier version serves without a note.
	l, err := a.lines.of(ctx, store.TaskQueue, name)
	if err != nil || l.workers > 0 {
		return ""
	}
	return fmt.Sprintf("No worker has served the agent %s since about %s: the task waits until one does. DELETE /agents/%s removes an agent that is gone.",
		name, d.Noted.UTC().Format(time.RFC3339), name)
}
