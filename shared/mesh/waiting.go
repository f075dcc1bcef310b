package mesh

import (
	"context"
	"errors"
	"sync"
	"time"

	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// Waiting says why a pending task does not run.
type Waiting struct {
	Reason      string     `json:"reason" enum:"session,scheduled,retrying,sleeping,waiting_for_event,waiting_for_child,paused,no_live_worker,mesh_limit,queued,starting" doc:"session: other turns of its session are before it. scheduled, retrying and sleeping: until next_attempt_at. waiting_for_event: for one that is told by POST /tasks/{id}/input, or until next_attempt_at. waiting_for_child: for a task that its agent has called. paused: somebody has paused the agent, until next_attempt_at if that is there. no_live_worker: none serves the agent. mesh_limit: as many tasks of the agent run as may. queued: others are before it. starting: a worker has it."`
	Position    int        `json:"position,omitempty" doc:"Place in the agent's line, or in the session's; 1 is next. Beyond 32 an estimate."`
	Limit       int        `json:"limit,omitempty" doc:"How many tasks of the agent may run in the mesh."`
	LiveWorkers *int       `json:"live_workers,omitempty" doc:"Workers that serve the agent."`
	NextAttempt *time.Time `json:"next_attempt_at,omitempty"`
}

// Reasons.
const (
	waitSession   = "session"
	waitScheduled = "scheduled"
	waitRetrying  = "retrying"
	waitSleeping  = "sleeping"
	waitEvent     = "waiting_for_event"
	waitChild     = "waiting_for_child"
	waitPaused    = "paused"
	waitNoWorker  = "no_live_worker"
	waitLimit     = "mesh_limit"
	waitQueued    = "queued"
	waitStarting  = "starting"
)

// waitsFor says what a suspended task waits for: of several things, what may come at
// any time.
func waitsFor(t *task.Task) *Waiting {
	w := &Waiting{Reason: waitSleeping}
	switch {
	case t.Waits.For(task.WaitChild):
		w.Reason = waitChild
	case t.Waits.For(task.WaitEvent):
		w.Reason = waitEvent
	}
	if until := t.Waits.Until(); !until.IsZero() {
		w.NextAttempt = &until
	}
	return w
}

// Waiting finds out why t, which is pending, does not run. It is nil when that
// cannot be found out: a task is shown without it.
func (c Tasks) Waiting(ctx context.Context, t *task.Task) *Waiting {
	if t.Suspended && time.Until(t.NotBefore) > 0 {
		return waitsFor(t)
	}
	if time.Until(t.NotBefore) > 0 {
		w := &Waiting{Reason: waitScheduled, NextAttempt: &t.NotBefore}
		if t.Attempt > 0 {
			w.Reason = waitRetrying
		}
		return w
	}
	if t.Waited && t.Attempt == 0 {
		w, err := queue(c).inQueue(ctx, t)
		if err != nil || w != nil {
			return w
		}
	}
	queue := store.TaskQueue
	if t.Kind == task.KindTurn {
		queue = store.TurnQueue
	}
	seq, err := c.store.Tasks.ReadySequence(ctx, t)
	if err != nil && !errors.Is(err, task.ErrNotFound) {
		return nil
	}
	if t.Bulk {
		queue = store.BulkQueue
	}
	l, err := c.lines.of(ctx, queue, t.Agent)
	if err != nil {
		c.log.Debug("not known why a task waits", "task", t.ID, "error", err)
		return nil
	}
	w := &Waiting{Reason: waitQueued, Limit: l.Limit, LiveWorkers: &l.workers, Position: l.Place(seq)}
	switch {
	case w.Position == 0:
		w.Reason = waitStarting
	case l.Paused:
		if w.Reason = waitPaused; !l.Until.IsZero() {
			w.NextAttempt = &l.Until
		}
	case l.workers == 0:
		w.Reason = waitNoWorker
	case l.InFlight >= l.Limit:
		w.Reason = waitLimit
	}
	return w
}

// lines remembers the lines of agents for a moment, so that thousands who poll
// their waiting tasks cost the store one readinc.
type lines struct {
	store *store.Store

	mu sync.Mutex
	by map[lineOf]*keptLine
}

type lineOf struct {
	queue store.Queue
	agent string
}

type keptLine struct {
	mu   sync.Mutex
	at   time.Time
	line lineNow
}

// forget has the next one who asks about an agent see it as it is now.
func (l *lines) forget(agent string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range store.Queues {
		delete(l.by, lineOf{q, agent})
	}
}

type lineNow struct {
	store.Line
	workers int
}

// linesKept is how old the answer may be.
const linesKept = time.Second

func newLines(st *store.Store) *lines { return &lines{store: st, by: map[lineOf]*keptLine{}} }

func (l *lines) of(ctx context.Context, queue store.Queue, agent string) (lineNow, error) {
	l.mu.Lock()
	of := lineOf{queue, agent}
	kept := l.by[of]
	if kept == nil {
		kept = &keptLine{}
		l.by[of] = kept // as many as there are agents
	}
	l.mu.Unlock()
	kept.mu.Lock()
	defer kept.mu.Unlock()
	if time.Since(kept.at) < linesKept {
		return kept.line, nil
	}
	// Others wait for this reading: it must not end with who asked first.
	ctx = context.WithoutCancel(ctx)
	line, err := l.store.Consumers.Line(ctx, queue, agent)
	if err != nil {
		return lineNow{}, err
	}
	workers, err := l.store.Registry.Workers(ctx)
	if err != nil {
		return lineNow{}, err
	}
	kept.line, kept.at = lineNow{line, len(Serving(workers, agent))}, time.Now()
	return kept.line, nil
}

// AgentWorker is a live worker of an agent.
type AgentWorker struct {
	WorkerID  string    `json:"worker_id"`
	Version   string    `json:"version,omitempty"`
	Slots     int       `json:"slots"`
	Busy      int       `json:"busy" doc:"Slots taken, a second or two ago."`
	StartedAt time.Time `json:"started_at"`
	Away      string    `json:"away,omitempty"`
}

// Serving are those of the workers that serve an agent.
func Serving(workers []store.Presence, agent string) (all []AgentWorker) {
	for _, p := range workers {
		for _, served := range p.Agents {
			if served.Name == agent {
				all = append(all, AgentWorker{p.WorkerID, served.Version, served.Slots, served.Busy, p.StartedAt, served.Away})
			}
		}
	}
	return all
}
