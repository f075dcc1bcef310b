package gateway

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
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
		err := a.store.WatchAgents(ctx, a.learn, a.forget, func() {
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

// forget notes that an agent was removed. A reading of the registry that began
// before does not bring it back.
func (a *agents) forget(name string, rev uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old := a.known[name]; old == nil || old.Rev < rev {
		a.known[name] = &definition{Definition: store.Definition{Rev: rev}, removed: true}
	}
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
		return nil, mesh.Refuse(mesh.ErrAgentRequired, "This mesh has no default agent; name one of: %s.", a.names())
	}
	return nil, mesh.Refuse(mesh.ErrAgentNotFound, "There is no agent %q; known are: %s.", name, a.names())
}

// find looks an agent up in the copy; an empty name is the default agent.
func (a *agents) find(name string) *definition {
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
	all := slices.DeleteFunc(slices.Collect(maps.Values(a.known)), func(d *definition) bool { return d.removed })
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
