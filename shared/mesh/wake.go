package mesh

import (
	"context"
	"errors"
	"slices"
	"time"

	"agentmesh/shared/task"
)

// wakes has tasks that were suspended go on.
type wakes struct{ *core }

// wakeWithin is when a task goes on whose waker died between deciding that it does
// and making it ready.
const wakeWithin = 10 * time.Second

// StrayFires is when a schedule fires that stands for nothing any more.
const StrayFires = time.Second

// resume writes the next version of a suspended task that goes on, and makes it
// ready. First its schedule is set to a moment from now: whatever comes between, a
// worker looks at the record then. The compare-and-set of the record decides;
// after that nothing is an error any more.
func (c wakes) resume(ctx context.Context, t *task.Task) error {
	seq, err := c.store.Tasks.Rearm(ctx, t, time.Now().Add(wakeWithin))
	if err != nil {
		return err
	}
	if err := c.store.Tasks.Save(ctx, t); err != nil {
		return err
	}
	if _, err := c.store.Tasks.Enqueue(ctx, t); err != nil {
		c.log.Warn("task not made ready, it goes on a moment later", "task", t.ID, "error", err)
		return nil
	}
	gone, err := c.store.Tasks.Disarm(ctx, seq)
	if gone { // the worker that suspends has set its own since, which would stay for days
		_, err = c.store.Tasks.Rearm(ctx, t, time.Now().Add(StrayFires))
	}
	if err != nil {
		c.log.Debug("schedule not dropped, it finds nothing to do", "task", t.ID, "error", err)
	}
	return nil
}

// Ended wakes the task that waits for t, which has ended, if one does. A failure is
// harmless: whoever waits for a task looks at it each minute.
func (c Tasks) Ended(ctx context.Context, t *task.Task) {
	if t.ParentID == "" {
		return
	}
	if err := wakes(c).childEnded(ctx, t); err != nil {
		c.log.Debug("the caller of a task was not woken, it looks by itself", "task", t.ID, "parent", t.ParentID, "error", err)
	}
}

func (c wakes) childEnded(ctx context.Context, t *task.Task) error {
	for {
		parent, err := c.store.Tasks.Get(ctx, t.Tenant, t.ParentID)
		if errors.Is(err, task.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		i := slices.IndexFunc(parent.Waits, func(w task.Wait) bool { return w.Kind == task.WaitChild && w.Name == string(t.ID) && w.Until.IsZero() })
		if !parent.Suspended || i < 0 {
			return nil
		}
		parent.Waits[i].Until = t.FinishedAt
		if err := parent.Wake(time.Now()); err != nil {
			return err
		}
		// No schedule is set: there is one within a minute, and a worker may drop none.
		err = c.store.Records.Fit(ctx, parent)
		if err == nil {
			_, err = c.store.Tasks.Enqueue(ctx, parent)
		}
		if !errors.Is(err, task.ErrConflict) {
			return err
		}
	}
}
