package mesh

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"agentmesh/shared/hook"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// hookLog keeps the logs of hooks. What comes in waits for a moment, so that a flood
// of requests costs a hook one write in each moment and a process a bounded number
// of them: nobody from outside can have the mesh write for each request.
type hookLog struct {
	store *store.Store
	log   *slog.Logger

	mu      sync.Mutex
	waiting map[hook.ID]*hookNotes
	writing sync.Mutex // one flush at a time
}

// hookNotes are the receipts of a hook that wait.
type hookNotes struct {
	tenant string
	recent hook.Recent
}

// Bounds of the logs.
const (
	hookLogEvery = 2 * time.Second
	hookLogMost  = 50   // hooks that are written each time
	hookLogHooks = 1000 // that may wait; beyond, receipts are in the metrics only
)

func newHookLog(st *store.Store, log *slog.Logger) *hookLog {
	return &hookLog{store: st, log: log, waiting: map[hook.ID]*hookNotes{}}
}

// note writes a receipt down, soon.
func (l *hookLog) note(h *hook.Hook, one hook.Receipt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.waiting[h.ID]
	if n == nil {
		if len(l.waiting) >= hookLogHooks {
			return
		}
		n = &hookNotes{tenant: h.Tenant}
		l.waiting[h.ID] = n
	}
	n.recent.Add(one)
}

// run writes what waits until ctx is done.
func (l *hookLog) run(ctx context.Context) {
	tick := time.NewTicker(hookLogEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.write(ctx, hookLogMost)
		case <-ctx.Done():
			return
		}
	}
}

// flush writes all that waits.
func (l *hookLog) flush(ctx context.Context) { l.write(ctx, hookLogHooks) }

// write writes the logs of at most n hooks.
func (l *hookLog) write(ctx context.Context, n int) {
	l.writing.Lock()
	defer l.writing.Unlock()
	for id, notes := range l.take(n) {
		if err := l.put(ctx, id, notes); err != nil {
			l.log.Debug("log of a hook not written, trying again", "hook", id, "error", err)
			l.keep(id, notes)
		}
	}
}

// take takes what waits of at most n hooks.
func (l *hookLog) take(n int) map[hook.ID]*hookNotes {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := map[hook.ID]*hookNotes{}
	for id, notes := range l.waiting {
		if len(taken) == n {
			break
		}
		taken[id] = notes
		delete(l.waiting, id)
	}
	return taken
}

// keep puts back what could not be written.
func (l *hookLog) keep(id hook.ID, old *hookNotes) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.waiting[id]; now != nil {
		old.recent.Merge(&now.recent)
	}
	l.waiting[id] = old
}

// put puts the receipts of a hook into its log.
func (l *hookLog) put(ctx context.Context, id hook.ID, notes *hookNotes) error {
	for range 5 {
		r, err := l.store.Hooks.Recent(ctx, notes.tenant, id)
		if errors.Is(err, hook.ErrNotFound) { // it was deleted
			return nil
		}
		if err != nil {
			return err
		}
		r.Merge(&notes.recent)
		if err = l.store.Hooks.SaveRecent(ctx, notes.tenant, id, r); !errors.Is(err, task.ErrConflict) {
			return err
		}
	}
	return task.ErrConflict
}

// read reads the log of a hook, with what waits here.
func (l *hookLog) read(ctx context.Context, h *hook.Hook) (*hook.Recent, error) {
	r, err := l.store.Hooks.Recent(ctx, h.Tenant, h.ID)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.waiting[h.ID]; n != nil {
		r.Merge(&n.recent)
	}
	return r, nil
}
