// Package mesh is the core: everything that somebody may ask of the mesh, once, and
// the decisions behind it. A face parses, calls it and renders.
//
// It promises that every call names its caller, and that a refusal, one of a
// catalogue of codes, comes before anything was accepted. It knows neither HTTP
// nor a NATS type, and leaves to package store how things are stored.
package mesh

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"agentmesh/shared/egress"
	"agentmesh/shared/keyring"
	"agentmesh/shared/pause"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/tenant"
)

// Mesh is the core: everything that somebody may ask of the mesh, once. A face
// parses, calls it and renders. Every call names its caller.
type Mesh struct {
	Tasks      Tasks
	Sessions   Sessions
	Agents     *Agents
	Webhooks   Webhooks
	Deliveries Deliveries
	Schedules  Schedules
	Journals   Journals
	Hooks      Hooks
	Pushes     Pushes
	Contexts   Contexts
	Tenants    Tenants
	Keys       Keys
	Audit      Audit
	Bulk       Bulk
	Records    Records
	Forks      Forks
	History    History
	Budgets    Budgets

	close context.CancelFunc
}

// Tasks accepts, finds, follows and ends tasks of every kind.
type Tasks struct{ *core }

// Sessions opens sessions and says messages in them.
type Sessions struct{ *core }

// Options of a core.
type Options struct {
	Log *slog.Logger
	// Guard decides on the addresses of callbacks, and Keys are those that sign
	// what is sent there; both nil: neither callbacks nor webhooks are taken.
	Guard *egress.Guard
	Keys  *keyring.Ring
	// Limits are those of a tenant that has none of its own; nil: tenant.Default.
	Limits *tenant.Limits
	// Blind has it not look into the queues: a worker may not read what waits for
	// the agents of others.
	Blind bool
}

// core is what the parts of a Mesh share.
type core struct {
	turns

	store    *store.Store
	log      *slog.Logger
	agents   *Agents
	guard    *egress.Guard
	keys     *keyring.Ring
	lines    *lines
	limits   *limits
	trail    *trail
	crowds   *crowds
	doors    *doors
	children singleflight.Group // readers of one task's children share a read
	past     past
	adding   chan struct{}   // taken while a webhook is added
	closing  context.Context // done when waits should end
}

// These types do what several parts need.
type (
	// answers are the first answers to requests that may come again.
	answers struct{ *core }
	// cancels ends tasks and what they have started.
	cancels struct{ *core }
	// waits holds a caller until a task has changed.
	waits struct{ *core }
	// queue gives the turns of a session their places.
	queue struct{ *core }
)

// New makes the core on an open store.
func New(st *store.Store, o Options) *Mesh {
	c := &core{turns: turns{st, o.Blind}, store: st, log: o.Log, agents: newAgents(st, o.Log), guard: o.Guard, keys: o.Keys, lines: newLines(st), limits: newLimits(st, o), trail: newTrail(st, o.Log), crowds: newCrowds(st), doors: newDoors(st, o.Log), adding: make(chan struct{}, 1)}
	m := &Mesh{
		Tasks: Tasks{c}, Sessions: Sessions{c}, Agents: c.agents, Webhooks: Webhooks{c}, Deliveries: Deliveries{c},
		Tenants: Tenants{c}, Keys: Keys{c}, Audit: Audit{c}, Schedules: Schedules{c}, Journals: Journals{c}, Hooks: Hooks{c},
		Pushes: Pushes{c}, Bulk: Bulk{c}, Records: Records{c}, Forks: Forks{c}, Contexts: Contexts{c}, History: History{c}, Budgets: Budgets{c},
	}
	c.agents.lines, c.agents.trail = c.lines, c.trail
	c.closing, m.close = context.WithCancel(context.Background())
	return m
}

// Run keeps the core's copies of the agents and of the limits of tenants up to
// date, starts what is due and ends journals that are over, until ctx ends.
func (m *Mesh) Run(ctx context.Context) error {
	var copies sync.WaitGroup
	copies.Go(func() { m.Agents.follow(ctx) })
	copies.Go(func() { m.Tenants.limits.follow(ctx) })
	copies.Go(func() { m.Journals.sweep(ctx) })
	copies.Go(func() { m.Journals.keep(ctx) })
	copies.Go(func() { newScheduler(m.Schedules.core).run(ctx) })
	copies.Go(func() { m.Hooks.doors.log.run(ctx) })
	copies.Wait()
	return nil
}

// AwaitCopies waits until the copies that Run keeps were read for the first time, or
// ctx ends.
func (m *Mesh) AwaitCopies(ctx context.Context) {
	m.Agents.await(ctx)
	m.Tenants.limits.await(ctx)
}

// Close ends the waits, each with the task as last seen.
func (m *Mesh) Close() { m.close() }

// location is where a turn waits; zero for any other task, and where it is not
// known.
type location struct {
	agent   string
	session session.ID
}

func locationOf(t *task.Task) location {
	if t.Kind != task.KindTurn {
		return location{}
	}
	return location{t.Agent, session.Of(t)}
}

// find reads a task wherever it is.
func (c *core) find(ctx context.Context, tenant string, id task.ID, at location) (*task.Task, error) {
	if at.session != "" {
		return c.store.Turns.Find(ctx, tenant, at.agent, at.session, id)
	}
	return c.store.Tasks.Find(ctx, tenant, id)
}

// sleep waits for d and reports whether it has passed before ctx or the core ends.
func (c *core) sleep(ctx context.Context, d time.Duration) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.closing, cancel)()
	return pause.For(ctx, d)
}

// gone reports whether a session does not exist any more.
func gone(err error) bool {
	return errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrExpired)
}
