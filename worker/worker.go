// Package worker runs agents. A worker pulls tasks from the queue, never more
// than it has free slots, claims each by compare-and-set, runs the agent's
// handler under a lease and settles the attempt: result, failure, retry or
// nothing at all when the lease went to an heir.
//
// It promises that an attempt whose lease is lost cannot write, that a task
// which kills its workers ends after its attempts are used up, and that a
// shutdown either finishes an attempt or hands it back without counting it. It
// knows nothing of HTTP; what an agent is, package agent says.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"

	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
	"agentmesh/worker/agent"
)

// Config of a worker.
type Config struct {
	Drain     time.Duration `flag:"drain" env:"MESH_DRAIN" help:"how long running attempts and open requests may finish after SIGTERM"`
	Lease     time.Duration `flag:"lease" env:"MESH_LEASE" help:"how long a task stays with a silent worker before another one gets it"`
	MaxResult int64         `flag:"max-result" env:"MESH_MAX_RESULT" help:"largest result in bytes"`
}

// Default is the configuration of the design.
func Default() Config {
	return Config{Drain: 30 * time.Second, Lease: 30 * time.Second, MaxResult: 32 << 20}
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
	id      string
	cfg     Config
	store   *store.Store
	log     *slog.Logger
	started time.Time
	intakes []*intake

	mu      sync.Mutex
	running map[string]*attempt // by task id: the newest attempt in this process
}

// New registers the agents and creates their consumers.
func New(ctx context.Context, cfg Config, st *store.Store, agents []agent.Agent, log *slog.Logger) (*Worker, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configure worker: %w", err)
	}
	if len(agents) == 0 {
		return nil, errors.New("configure worker: no agents to serve")
	}
	w := &Worker{
		id: task.NewID(task.PrefixWorker, uuid.Must(uuid.NewV7())), cfg: cfg, store: st,
		started: task.Stamp(time.Now()), running: map[string]*attempt{},
	}
	w.log = log.With("worker", w.id)
	seen := map[string]bool{}
	for _, a := range agents {
		a.Definition = a.WithDefaults()
		if err := a.Validate(); err != nil {
			return nil, err
		}
		if a.Handler == nil || seen[a.Name] {
			return nil, fmt.Errorf("agent %s: needs one handler and a name of its own", a.Name)
		}
		seen[a.Name] = true
		if err := st.AgentConsumer(ctx, a.Name, a.MaxInFlight, cfg.Lease); err != nil {
			return nil, err
		}
		if err := st.RegisterAgent(ctx, a.Definition); err != nil {
			return nil, err
		}
		w.intakes = append(w.intakes, newIntake(w, a))
	}
	return w, nil
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

	cancels, err := w.store.OnCancel(w.canceled)
	if err != nil {
		return fmt.Errorf("listen for cancels: %w", err)
	}
	defer func() { _ = cancels.Unsubscribe() }()

	var present, intake sync.WaitGroup
	presence, leave := context.WithCancel(work)
	defer present.Wait()
	defer leave()
	present.Go(func() { w.announce(presence) })

	for _, in := range w.intakes {
		intake.Go(func() { in.run(ctx, work) })
	}
	intake.Wait() // each returns when ctx is done and its pulls are over

	grace := time.AfterFunc(w.cfg.Drain, func() { cut(agent.ErrDraining) })
	defer grace.Stop()
	for _, in := range w.intakes {
		in.attempts.Wait()
	}
	return nil
}

// canceled tells the attempt of a task to look at its record at once.
func (w *Worker) canceled(id string) {
	w.mu.Lock()
	at := w.running[id]
	w.mu.Unlock()
	if at != nil {
		at.look()
	}
}

// enter notes at as the newest attempt of its task in this process, and has the
// one before look at its record: it lost its lease.
func (w *Worker) enter(at *attempt) {
	w.mu.Lock()
	old := w.running[at.id]
	w.running[at.id] = at
	w.mu.Unlock()
	if old != nil {
		old.look()
	}
}

func (w *Worker) leave(at *attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running[at.id] == at {
		delete(w.running, at.id)
	}
}

// announce keeps the worker's presence and its agents' definitions in the
// registry.
func (w *Worker) announce(ctx context.Context) {
	host, _ := os.Hostname()
	tick := time.NewTicker(topology.PresenceEvery)
	defer tick.Stop()
	for {
		p := store.Presence{WorkerID: w.id, Host: host, StartedAt: w.started}
		for _, in := range w.intakes {
			p.Agents = append(p.Agents, store.AgentPresence{
				Name: in.agent.Name, Version: in.agent.Version, Slots: in.agent.Concurrency, Busy: int(in.busy.Load()),
			})
		}
		if err := w.store.Announce(ctx, p); err != nil && ctx.Err() == nil {
			w.log.Warn("presence not written", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if err := w.store.Leave(last, w.id); err != nil {
				w.log.Debug("presence not removed, it expires by itself", "error", err)
			}
			return
		}
	}
}
