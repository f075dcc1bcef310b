package worker

import (
	"context"
	"errors"
	"time"

	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
)

// suspend lets go of a task whose handler waits: it records what it waits for, has
// it looked at when that may be over, and then lets its message go. A redelivery
// completes what a crash has cut off.
func (s settlement) suspend(ctx context.Context) error {
	if !s.rec.claimed {
		if err := s.at.untilAnswered(ctx, func() error { return s.rec.claim(ctx) }); err != nil {
			return s.unwritten(ctx, err)
		}
	}
	t, err := s.suspended(ctx)
	switch {
	case refused(err):
		return s.unwritable(ctx, s.rec.t, err)
	case err != nil:
		return s.unwritten(ctx, err)
	}
	s.rec.tell(nil)
	s.at.in.streak.note(0, false)
	s.at.ended(ctx, t, task.AttemptSuspended, time.Since(s.rec.began), func() []any { return []any{"waits", len(t.Waits)} })
	if t, err = s.at.afterChildren(ctx, t); err != nil {
		return err
	}
	return s.at.requeue(ctx, t)
}

// suspended writes the record of a suspended task. An answer that comes in the same
// moment makes the task ready instead of waiting.
func (s settlement) suspended(ctx context.Context) (t *task.Task, err error) {
	ctx, span := startWrite(ctx, telemetry.SpanFinish, s.at.id, string(task.AttemptSuspended))
	defer func() { telemetry.End(span, err) }()
	base := s.rec.t
	for {
		t = base.Clone()
		s.rec.takeAll(t)
		s.at.waits.rest(t)
		if err := t.Suspend(time.Now()); err != nil {
			return nil, err
		}
		err := s.at.untilAnswered(ctx, func() error { return s.at.store.Tasks.Save(ctx, t) })
		if !errors.Is(err, task.ErrConflict) {
			return t, err
		}
		var rec *task.Task
		look := s.at.untilAnswered(ctx, func() (err error) {
			rec, err = s.at.store.Tasks.Get(ctx, t.Tenant, t.ID)
			return err
		})
		if look != nil || !s.rec.holds(rec) || rec.Rev == base.Rev {
			return nil, err
		}
		base = rec
	}
}

// afterChildren wakes a suspended task whose child has ended before the record said
// that it is waited for.
func (at *attempt) afterChildren(ctx context.Context, t *task.Task) (*task.Task, error) {
	next := t.Clone()
	ended, err := endedChildren(ctx, at, next)
	if err == nil && ended {
		err = next.Wake(time.Now())
	}
	if err != nil || !ended {
		return t, err
	}
	if err := at.untilAnswered(ctx, func() error { return at.store.Records.Fit(ctx, next) }); err != nil {
		at.log.Debug("not woken after its child, it will be in a minute", "error", err)
		return t, nil
	}
	return next, nil
}

// endedChildren notes of the children that t waits for which have ended, and reports
// whether one has.
func endedChildren(ctx context.Context, at *attempt, t *task.Task) (any bool, err error) {
	for i := range t.Waits {
		w := &t.Waits[i]
		if w.Kind != task.WaitChild || !w.Until.IsZero() {
			continue
		}
		var child *task.Task
		err := at.untilAnswered(ctx, func() (err error) {
			child, err = at.store.Tasks.Get(ctx, t.Tenant, task.ID(w.Name))
			return err
		})
		switch {
		case errors.Is(err, task.ErrNotFound):
		case err != nil:
			return false, err
		case child.Status.Terminal():
			w.Until, any = child.FinishedAt, true
		}
	}
	return any, nil
}
