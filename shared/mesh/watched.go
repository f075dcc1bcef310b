package mesh

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"agentmesh/shared/pause"
)

// watched is what is known of a copy that a watch keeps up to date.
type watched struct {
	what   string // is copied
	stale  string // what it means when the watch is away
	log    *slog.Logger
	loaded chan struct{}

	mu   sync.Mutex
	away error // why there is no watch now
}

func newWatched(what, stale string, log *slog.Logger) *watched {
	return &watched{what: what, stale: stale, log: log, loaded: make(chan struct{})}
}

// follow keeps the copy up to date until ctx ends. watch reads what there is, calls
// ready, and reads on.
func (w *watched) follow(ctx context.Context, watch func(ctx context.Context, ready func()) error) {
	var once sync.Once
	for ctx.Err() == nil {
		err := watch(ctx, func() {
			w.note(nil)
			once.Do(func() { close(w.loaded) })
		})
		if ctx.Err() != nil {
			break
		}
		w.note(err)
		w.log.Error(w.what+" not watched, trying again: "+w.stale, "error", err)
		pause.For(ctx, time.Second)
	}
}

func (w *watched) note(away error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = away
}

// await waits until the copy was read for the first time, or ctx ends.
func (w *watched) await(ctx context.Context) {
	select {
	case <-w.loaded:
	case <-ctx.Done():
	}
}

// Check tells whether the copy is complete and kept up to date.
func (w *watched) Check() error {
	select {
	case <-w.loaded:
	default:
		return errors.New("not read yet: " + w.what)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.away
}
