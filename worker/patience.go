package worker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	"agentmesh/shared/pause"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// patience waits for a store that is away.
type patience struct {
	store *store.Store
	log   *slog.Logger
}

// untilAnswered does f until the store has answered: while it is away or full, f is
// tried again, since the outcome of hours of work is worth the wait and what the
// store cannot take is no fault of the agent. It gives up when ctx ends.
func (p patience) untilAnswered(ctx context.Context, f func() error) error {
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		err := f()
		if !away(err) || p.store.Closed() {
			return err
		}
		p.log.Warn("store not reached, trying again", "error", err)
		if !pause.For(ctx, wait) {
			return err
		}
	}
}

const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 5 * time.Second
)

// away reports whether err says that the store is away or full.
func away(err error) bool {
	return errors.Is(err, task.ErrUnavailable) || errors.Is(err, task.ErrFull)
}

// refused reports whether err says that the store will never take a record.
func refused(err error) bool {
	return errors.Is(err, task.ErrTooLarge) || errors.Is(err, task.ErrBadRecord)
}

// withLastWord is work, whose end gives those who work under it lastWord more: see
// lastly.
func withLastWord(work context.Context) (context.Context, context.CancelFunc) {
	last, cancel := endLater(work, lastWord)
	return context.WithValue(work, lastKey{}, last), cancel
}

type lastKey struct{}

// lastly is a context for the last word of an attempt, in the trace of ctx: it ends
// lastWord after ctx has, or after now if that is later. Only then it is one of its own.
func lastly(ctx context.Context) (context.Context, context.CancelFunc) {
	if last, ok := ctx.Value(lastKey{}).(context.Context); ok && ctx.Err() == nil {
		return trace.ContextWithSpan(last, trace.SpanFromContext(ctx)), func() {}
	}
	return endLater(ctx, lastWord)
}

// endLater is a context that ends d after ctx has.
func endLater(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if pause.For(longer, d) {
			cancel()
		}
	})
	return longer, func() { stop(); cancel() }
}
