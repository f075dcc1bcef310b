// Package worker runs agents. A worker pulls tasks from the queue, never more
// than it has free slots, claims each by compare-and-set, runs the agent's
// handler under a lease and settles the attempt: result, failure, retry or
// nothing at all when the lease went to an heir.
//
// It promises that an attempt whose lease is lost cannot write, that a task which
// kills its workers ends after its attempts are used up, and that a shutdown
// either finishes an attempt or hands it back without counting it. It knows
// nothing of HTTP; package agent says what an agent is.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"agentmesh/shared/ids"
	"agentmesh/shared/mesh"
	"agentmesh/shared/secret"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/worker/agent"
)

// Config of a worker.
type Config struct {
	Drain     time.Duration `flag:"drain" env:"MESH_DRAIN" help:"how long running attempts and open requests may finish after SIGTERM"`
	Lease     time.Duration `flag:"lease" env:"MESH_LEASE" help:"how long a task stays with a silent worker before another one gets it"`
	MaxResult int64         `flag:"max-result" env:"MESH_MAX_RESULT" help:"largest result in bytes"`

	// Keeper seals the steps of agents that ask for it; nil: none may.
	Keeper *secret.Keeper

	maxEntries int // of a journal; tests have fewer
}

// Default is the configuration without settings.
func Default() Config {
	return Config{Drain: 30 * time.Second, Lease: 30 * time.Second, MaxResult: 32 << 20, maxEntries: task.MaxEntries}
}

func (c Config) validate() error {
	switch {
	case c.Drain < 0 || c.Drain > time.Hour:
		return fmt.Errorf("drain is %v, allowed is 0s to 1h", c.Drain)
	case c.Lease < time.Second || c.Lease > time.Hour:
		return fmt.Errorf("lease is %v, allowed is 1s to 1h", c.Lease)
	case c.MaxResult < 1<<10 || c.MaxResult > 1<<30:
		return fmt.Errorf("max-result is %d, allowed is 1024 to 1073741824 bytes", c.MaxResult)
	}
	return nil
}

// Worker serves agents until its context ends.
type Worker struct {
	id       string
	cfg      Config
	store    *store.Store
	core     *mesh.Mesh
	log      *slog.Logger
	started  time.Time
	upkeep   *store.Upkeep
	attempts sync.WaitGroup
	closing  sync.WaitGroup // of what agents keep that are served no more
	reloads  chan reload
	ended    chan struct{} // closed when Run takes no more reloads
	presence *presence
	running  running
	rivals   rivals
	ledger   ledger

	mu      sync.Mutex
	intakes []*intake
	slots   map[string]*slots // by agent: they outlive a reload
	waiting map[string]int    // by agent: attempts that wait for a task they called
}

// New registers the agents and creates their consumers.
func New(ctx context.Context, cfg Config, st *store.Store, agents []agent.Agent, log *slog.Logger) (*Worker, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configure worker: %w", err)
	}
	w := &Worker{
		id: ids.New("wrk_", uuid.Must(uuid.NewV7())), cfg: cfg, store: st,
		started: task.Stamp(time.Now()), reloads: make(chan reload), ended: make(chan struct{}),
		presence: newPresence(),
		slots:    map[string]*slots{}, waiting: map[string]int{},
	}
	w.log = log.With("worker", w.id)
	w.ledger.w = w
	w.upkeep = st.Consumers.Upkeep(w.log)
	w.core = mesh.New(st, mesh.Options{Log: w.log, Blind: true})
	var err error
	if w.intakes, err = w.prepare(agents); err != nil {
		return nil, err
	}
	// The presence comes first: a worker that registers an older version sees
	// that this one is served.
	if err := w.present(ctx); err != nil {
		return nil, err
	}
	if err := w.register(ctx, w.intakes); err != nil {
		w.withdrawPresence(ctx)
		return nil, err
	}
	return w, nil
}

// prepare makes the intakes of agents.
func (w *Worker) prepare(agents []agent.Agent) ([]*intake, error) {
	if len(agents) == 0 {
		return nil, errors.New("configure worker: no agents to serve")
	}
	agents = slices.Clone(agents)
	seen := map[string]bool{}
	for i, a := range agents {
		agents[i].Definition = a.WithDefaults()
		agents[i].Elsewhere = a.Canceled != nil
		if err := agents[i].Validate(); err != nil {
			return nil, err
		}
		if a.Handler == nil || seen[a.Name] {
			return nil, fmt.Errorf("agent %s: needs one handler and a name of its own", a.Name)
		}
		if a.Seal && w.cfg.Keeper == nil {
			return nil, fmt.Errorf("agent %s: its steps are to be sealed, and the worker has no key: give it the mesh's by MESH_SECRET_KEY or --secret-key-file", a.Name)
		}
		seen[a.Name] = true
		beginSeries(a.Name)
	}
	maxBytes := w.store.PullLimit(len(agents) * len(store.Queues))
	var intakes []*intake
	for _, a := range agents {
		one := intake{w: w, agent: a, service: &service{agent: a, result: mesh.NewShape(a.OutputSchema)}, slots: w.slotsOf(a), bulk: &bulk{}, maxBytes: maxBytes, streak: &quickStreak{}}
		for _, q := range store.Queues {
			in := one
			in.queue = q
			switch q {
			case store.TurnQueue:
				in.streak = &quickStreak{}
			case store.BulkQueue:
				in.bulk.in = &in
			}
			intakes = append(intakes, &in)
		}
	}
	return intakes, nil
}

// register makes the consumers of agents and has the registry know them.
func (w *Worker) register(ctx context.Context, intakes []*intake) error {
	for _, in := range intakes {
		if err := w.store.Consumers.Ensure(ctx, in.queue, in.agent.Name, in.agent.MaxInFlight, w.cfg.Lease); err != nil {
			return err
		}
		if _, err := w.upkeep.Open(ctx, in.durable()); err != nil {
			return err
		}
	}
	for _, in := range agentsOf(intakes) {
		if err := w.enroll(ctx, in.agent.Definition); err != nil {
			return err
		}
	}
	return nil
}

// agentsOf are the intakes of one queue: one for each agent.
func agentsOf(intakes []*intake) []*intake {
	var each []*intake
	for _, in := range intakes {
		if in.queue == store.TaskQueue {
			each = append(each, in)
		}
	}
	return each
}

// slotsOf are the slots of an agent.
func (w *Worker) slotsOf(a agent.Agent) *slots {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.slots[a.Name]
	if s == nil {
		s = newSlots(a.Concurrency, w.presence.noteChange)
		w.slots[a.Name] = s
	}
	return s
}

// reload is what to serve from now on.
type reload struct {
	intakes []*intake
	inForce chan struct{} // closed when it is
}

// Reload serves agents from now on instead of those before: when it returns,
// those before take no more work, these do, and the registry says so. Attempts
// that run go on with the agent they began with. On an error nothing has changed
// but what the registry knows.
func (w *Worker) Reload(ctx context.Context, agents []agent.Agent) error {
	intakes, err := w.prepare(agents)
	if err == nil {
		err = w.register(ctx, intakes)
	}
	if err != nil {
		return fmt.Errorf("reload agents: %w", err)
	}
	next := reload{intakes, make(chan struct{})}
	select {
	case w.reloads <- next:
	case <-w.ended:
		return errors.New("reload agents: the worker is shutting down")
	case <-ctx.Done():
		return ctx.Err()
	}
	<-next.inForce
	if err := w.present(ctx); err != nil {
		w.log.Warn("presence not written", "error", err)
		w.presence.again()
	}
	return nil
}

// ID is the worker's id in the registry and in the records it writes.
func (w *Worker) ID() string { return w.id }

// Run pulls and runs tasks until ctx is done. Then it pulls no more, lets
// running attempts finish within Config.Drain, hands the rest back to the queue
// and returns nil.
func (w *Worker) Run(ctx context.Context) error {
	// Two contexts: ctx ends the intake at once, work ends with the grace.
	work, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	work, done := withLastWord(work)
	defer done()

	stopCancels, err := w.store.Tasks.OnCancel(w.running.canceled)
	if err != nil {
		return fmt.Errorf("listen for cancels: %w", err)
	}
	defer stopCancels()
	stopChildren, err := w.store.Children.OnStart(w.running.called)
	if err != nil {
		return fmt.Errorf("listen for children: %w", err)
	}
	defer stopChildren()
	stopTold, err := w.store.Steps.OnTold(w.id, w.told)
	if err != nil {
		return fmt.Errorf("listen for steps: %w", err)
	}
	defer stopTold()
	stopRivals, err := w.store.Registry.OnRival(w.checkRival)
	if err != nil {
		return fmt.Errorf("listen for rivals: %w", err)
	}
	defer stopRivals()

	var present sync.WaitGroup
	presence, leave := context.WithCancel(work)
	defer present.Wait()
	defer leave()
	present.Go(func() { w.announce(presence) })
	present.Go(func() { w.upkeep.Run(ctx, w.durables) })

	defer telemetry.Observe(w.observe)()
	w.pull(ctx, work)
	close(w.ended)

	grace := time.AfterFunc(w.cfg.Drain, func() { cut(agent.ErrDraining) })
	defer grace.Stop()
	w.attempts.Wait()
	back, over := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
	defer over()
	w.ledger.close(back)
	w.closing.Wait()
	return nil
}

// pull runs the intakes, and after each reload the new ones, until ctx is done
// and their pulls are over.
func (w *Worker) pull(ctx, work context.Context) {
	var inForce chan struct{} // closed when these intakes are in force, for callers that wait
	for ctx.Err() == nil {
		generation, stop := context.WithCancel(ctx)
		var running sync.WaitGroup
		served := w.serving()
		for _, in := range agentsOf(served) {
			in.service.open()
		}
		for _, in := range served {
			running.Go(func() { in.run(generation, work) })
		}
		if inForce != nil {
			close(inForce)
		}
		var next reload
		select {
		case next = <-w.reloads:
		case <-ctx.Done():
		}
		stop()
		running.Wait()
		for _, in := range agentsOf(served) {
			w.closing.Go(in.service.close)
		}
		if inForce = next.inForce; inForce != nil {
			w.serve(next.intakes)
		}
	}
	if inForce != nil { // it came in the same moment as the end
		close(inForce)
	}
}

// serve has the worker serve intakes instead of those before.
func (w *Worker) serve(intakes []*intake) {
	w.mu.Lock()
	w.intakes = intakes
	w.mu.Unlock()
	for _, in := range intakes {
		in.slots.resize(in.agent.Concurrency)
	}
	w.log.Info("agents reloaded", "agents", len(agentsOf(intakes)))
}

// durables are the consumers that this worker lives on.
func (w *Worker) durables() (all []store.Durable) {
	for _, in := range w.serving() {
		all = append(all, in.durable())
	}
	return all
}

func (w *Worker) serving() []*intake {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.intakes
}

// Running is how many attempts run now.
func (w *Worker) Running() int { return w.running.count() }
