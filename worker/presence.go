package worker

import (
	"context"
	"os"
	"reflect"
	"sync"
	"time"

	"agentmesh/shared/pause"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// presence is what the registry knows of a worker: written now and then while
// nothing changes, and soon after a change.
type presence struct {
	stirred chan struct{}
	writing chan struct{} // full while it is written: the last one written is the newest

	mu      sync.Mutex
	written store.Presence  // as last written; zero: nothing that counts
	missed  map[string]bool // workers that were found to have lost a task
}

// presenceGap is how soon after a change the presence is written: a worker that
// uses many slots for milliseconds writes no more often.
const presenceGap = time.Second

func newPresence() *presence {
	return &presence{stirred: make(chan struct{}, 1), writing: make(chan struct{}, 1), missed: map[string]bool{}}
}

// noteChange tells that something may have changed. It does not wait.
func (p *presence) noteChange() {
	select {
	case p.stirred <- struct{}{}:
	default:
	}
}

// again has the presence written even if nothing has changed.
func (p *presence) again() {
	p.forget()
	p.noteChange()
}

func (p *presence) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.written = store.Presence{}
}

// present writes the worker's presence.
func (w *Worker) present(ctx context.Context) error { return w.writePresence(ctx, true) }

func (w *Worker) writePresence(ctx context.Context, unchanged bool) error {
	w.presence.writing <- struct{}{}
	defer func() { <-w.presence.writing }()
	host, _ := os.Hostname()
	p := store.Presence{WorkerID: w.id, Host: host, StartedAt: w.started}
	bulk := w.store.Tasks.HasBulk(ctx) // gateways put nothing there before a worker says so
	for _, in := range agentsOf(w.serving()) {
		w.mu.Lock()
		waiting := w.waiting[in.agent.Name]
		w.mu.Unlock()
		p.Agents = append(p.Agents, store.AgentPresence{
			Name: in.agent.Name, Version: in.agent.Version, Digest: in.agent.Digest(), Slots: in.agent.Concurrency, Busy: in.slots.busy(), Waiting: waiting, Bulk: bulk, Away: in.away(),
		})
	}
	w.presence.mu.Lock()
	same := reflect.DeepEqual(p, w.presence.written)
	w.presence.written = p
	w.presence.mu.Unlock()
	if same && !unchanged {
		return nil
	}
	err := w.store.Registry.Announce(ctx, p)
	if err != nil { // the next tick writes it
		w.presence.forget()
	}
	return err
}

// announce keeps the worker's presence and its agents' definitions in the
// registry.
func (w *Worker) announce(ctx context.Context) {
	tick := time.NewTicker(topology.PresenceEvery)
	defer tick.Stop()
	connected, stop := w.store.Reconnected()
	defer stop()
	for whole := true; ; {
		if err := w.writePresence(ctx, whole); err != nil && ctx.Err() == nil {
			w.log.Warn("presence not written", "error", err)
		}
		if whole {
			w.registerAgain(ctx)
		}
		whole = false
		select {
		case <-tick.C:
			whole = true
		case <-connected: // to a server that may have forgotten it
			whole = true
		case <-w.presence.stirred:
			pause.For(ctx, presenceGap)
		case <-ctx.Done():
			w.withdrawPresence(ctx)
			return
		}
	}
}

// registerAgain registers the agents: one that gave way to a newer version comes
// back when that is gone.
func (w *Worker) registerAgain(ctx context.Context) {
	for _, in := range agentsOf(w.serving()) {
		if err := w.enroll(ctx, in.agent.Definition); err != nil && ctx.Err() == nil {
			w.log.Debug("agent not registered again", "agent", in.agent.Name, "error", err)
		}
	}
}

// withdrawPresence takes back the worker's presence. Without it the presence
// expires.
func (w *Worker) withdrawPresence(ctx context.Context) {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := w.store.Registry.Leave(last, w.id); err != nil {
		w.log.Debug("presence not removed, it expires by itself", "error", err)
	}
}

// forgetLostWorker takes a worker out of the registry whose lease of a task has
// lapsed: it has died or stands still. One that lives comes back by itself.
func (w *Worker) forgetLostWorker(ctx context.Context, l *task.Lease) {
	if l == nil || l.Worker == w.id {
		return
	}
	w.presence.mu.Lock()
	known := w.presence.missed[l.Worker]
	w.presence.missed[l.Worker] = true
	w.presence.mu.Unlock()
	if known {
		return
	}
	w.log.WarnContext(ctx, "a worker has died or stalled", "lost", l.Worker)
	if err := w.store.Registry.Leave(ctx, l.Worker); err != nil {
		w.log.Debug("its presence is not removed, it expires by itself", "lost", l.Worker, "error", err)
	}
}
