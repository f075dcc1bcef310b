package mesh

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"agentmesh/shared/auth"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// Watch begins to follow a task, with its live output, and reads it as it is now:
// nothing falls between. Close the watch.
func (c Tasks) Watch(ctx context.Context, who auth.Caller, id task.ID) (*store.Watch, *task.Task, error) {
	watch, err := c.store.Tasks.Watch(who.Tenant, id, true)
	if err != nil {
		return nil, nil, err
	}
	t, err := c.store.Tasks.Find(ctx, who.Tenant, id)
	if err != nil {
		watch.Close()
		return nil, nil, err
	}
	return watch, t, nil
}

// Task is what was accepted, as it is known: a task that the request has made itself is
// not read again.
func (a *Acceptance) Task(ctx context.Context, c Tasks, who auth.Caller) (*task.Task, error) {
	if a.task != nil {
		return a.task, nil
	}
	return c.Get(ctx, who, a.TaskID)
}

// Follow begins to follow what was accepted, from when it was made: with the watch that
// its submission has asked for nothing is read again. Close the watch.
func (a *Acceptance) Follow(ctx context.Context, c Tasks, who auth.Caller) (watch *store.Watch, t *task.Task, err error) {
	if a.watch == nil || a.task == nil {
		return c.Watch(ctx, who, a.TaskID)
	}
	watch, a.watch = a.watch, nil
	return watch, a.task, nil
}

// Changes follows every task of a tenant from a revision on, nil: from now. Close
// it.
func (c Tasks) Changes(ctx context.Context, who auth.Caller, after *uint64) (*store.Changes, error) {
	return c.store.Tasks.Changes(ctx, who.Tenant, after)
}

// OpenValue reads a large value as a stream. It returns task.ErrNotFound when the
// value is past its retention. What stops it later is logged: by then a face has begun its
// answer, and can only break it off.
func (c Tasks) OpenValue(ctx context.Context, v task.Value) (io.Reader, error) {
	r, err := c.store.Artifacts.Open(ctx, v)
	if err != nil {
		return nil, err
	}
	return reading{r, ctx, c.log}, nil
}

// reading is a value that is being read.
type reading struct {
	io.Reader
	ctx context.Context // of the one who reads
	log *slog.Logger
}

func (r reading) Read(p []byte) (n int, err error) {
	n, err = r.Reader.Read(p)
	switch {
	case err == nil, errors.Is(err, io.EOF), r.ctx.Err() != nil:
	case errors.Is(err, task.ErrNotFound):
		r.log.DebugContext(r.ctx, "a value was deleted while it was read", "error", err)
	default:
		r.log.WarnContext(r.ctx, "a value is not read to its end", "error", err)
	}
	return n, err
}

// Watch begins to follow a session, and reads it as it is now: nothing falls
// between. Close the watch.
func (c Sessions) Watch(ctx context.Context, who auth.Caller, id session.ID) (*store.SessionWatch, *session.Session, error) {
	if !id.Valid() {
		return nil, nil, Refuse(ErrSessionNotFound, "%q is not the id of a session.", Clip(id, 64))
	}
	watch, err := c.store.Sessions.Watch(who.Tenant, id)
	if err != nil {
		return nil, nil, err
	}
	s, err := c.store.Sessions.Get(ctx, who.Tenant, id)
	if err != nil {
		watch.Close()
		return nil, nil, err
	}
	return watch, s, nil
}

// OpenTurn is the turn of a session that is open now, nil when there is none.
func (c Sessions) OpenTurn(ctx context.Context, s *session.Session) (*task.Task, error) {
	return c.openTurnOf(ctx, s)
}

// WatchTurn begins to follow a turn that was seen to open. Close the watch.
func (c Sessions) WatchTurn(ctx context.Context, t *task.Task) (*store.Watch, *task.Task, error) {
	watch, err := c.store.Tasks.Watch(t.Tenant, t.ID, true)
	if err != nil {
		return nil, nil, err
	}
	if now, err := c.store.Tasks.Find(ctx, t.Tenant, t.ID); err == nil {
		t = now
	} // otherwise it is being opened
	return watch, t, nil
}

// Tend has the turns that wait in a session go on, if nobody else does.
func (c Sessions) Tend(ctx context.Context, s *session.Session) error {
	if len(s.Waiting) == 0 {
		return nil
	}
	_, err := c.publishNext(ctx, s.Tenant, s.ID)
	return err
}
