package mesh

import (
	"context"
	"errors"
	"time"

	"agentmesh/shared/audit"
	"agentmesh/shared/auth"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
)

// Cancel cancels a task and the tasks that it has started. Exactly one of cancel
// and the worker wins the compare-and-set: task.ErrFinished says that the worker
// did. A repeat goes on where an error stopped it.
func (c Tasks) Cancel(ctx context.Context, who auth.Caller, id task.ID) (*task.Task, error) {
	t, err := cancels(c).cancelTree(context.WithoutCancel(ctx), who.Tenant, id, location{})
	c.audit(ctx, who, audit.TaskCancel, string(id), err)
	return t, err
}

func (c cancels) cancelTree(ctx context.Context, tenant string, id task.ID, at location) (*task.Task, error) {
	t, err := c.cancel(ctx, tenant, id, at)
	if err != nil {
		return nil, err
	}
	return t, c.cancelChildren(ctx, tenant, id)
}

// cancelChildren cancels the tasks that a canceled one has started, and theirs.
// One that is being started in this moment ends when a worker claims it.
func (c cancels) cancelChildren(ctx context.Context, tenant string, id task.ID) error {
	children, err := c.store.Children.Of(ctx, tenant, id)
	if err != nil {
		return err
	}
	for _, child := range children {
		_, err := c.cancel(ctx, tenant, child, location{})
		if err == nil || errors.Is(err, task.ErrFinished) {
			err = c.cancelChildren(ctx, tenant, child)
		}
		if err != nil && !errors.Is(err, task.ErrNotFound) {
			return err
		}
	}
	return nil
}

func (c cancels) cancel(ctx context.Context, tenant string, id task.ID, at location) (*task.Task, error) {
	for {
		t, err := c.find(ctx, tenant, id, at)
		if err != nil {
			return nil, err
		}
		if t.Status == task.Canceled {
			return t, nil // a repeat
		}
		if t.Status.Terminal() {
			return nil, task.ErrFinished
		}
		if t.Kind == task.KindTurn { // its session decides
			if err := c.interrupt(ctx, t); err != nil {
				return c.canceledMeanwhile(ctx, t, err)
			}
		}
		waited := t.Status == task.Pending || t.Suspended
		if waited { // nobody runs it who would
			if err := Journals(c).ArchiveStored(ctx, t); err != nil {
				return nil, err
			}
		}
		t.Error = nil
		if err := t.To(task.Canceled, time.Now()); err != nil {
			return nil, err
		}
		err = c.store.Records.Fit(ctx, t)
		if errors.Is(err, task.ErrConflict) {
			continue
		}
		if err != nil {
			return nil, err
		}
		c.canceled(ctx, t, waited)
		return t, nil
	}
}

// canceledMeanwhile is the end of a turn that its session takes for ended: it may be an
// equal cancel that was quicker. Else why stands.
func (c cancels) canceledMeanwhile(ctx context.Context, t *task.Task, why error) (*task.Task, error) {
	if errors.Is(why, task.ErrFinished) {
		if now, err := c.store.Tasks.Get(ctx, t.Tenant, t.ID); err == nil && now.Status == task.Canceled {
			return now, nil
		}
	}
	return nil, why
}

// canceled tells of a cancel. It is a courtesy, so a failure is harmless: a
// worker that misses it reads the record, and acks the message of a record that
// has ended.
func (c cancels) canceled(ctx context.Context, t *task.Task, waited bool) {
	if err := c.store.Tasks.SignalCancel(t.ID); err != nil {
		c.log.Debug("cancel not signaled", "task", t.ID, "error", err)
	}
	telemetry.TasksFinished.Add(1, t.Agent, string(t.Status))
	telemetry.TaskDuration.Record(max(t.FinishedAt.Sub(t.CreatedAt), 0), t.Agent, string(t.Status))
	Tasks(c).Ended(ctx, t)
	if waited {
		if err := Journals(c).Drop(ctx, t); err != nil {
			c.log.Debug("journal of a canceled task not ended, it will be in a day", "task", t.ID, "error", err)
		}
		if err := c.withdraw(ctx, t); err != nil {
			c.log.Debug("canceled task not withdrawn", "task", t.ID, "error", err)
		}
	}
	if t.Kind == task.KindTurn {
		if _, err := c.publishNext(ctx, t.Tenant, session.Of(t)); err != nil {
			c.log.Warn("next turn of the session not published, it waits until somebody looks for it", "session", t.SessionID, "error", err)
		}
	}
}

// withdraw takes the message of a task that was canceled while nobody ran it from the
// queue. Where it has begun something elsewhere, a worker has it at once in its place:
// that ends it there.
func (c cancels) withdraw(ctx context.Context, t *task.Task) error {
	if t.Kind == task.KindTurn {
		return c.store.Turns.Withdraw(ctx, t)
	}
	if t.Steps != nil {
		if a, err := c.agents.resolve(ctx, t.Agent); err == nil && a.Elsewhere {
			_, err := c.store.Tasks.Rearm(ctx, t, time.Now())
			return err
		}
	}
	return c.store.Tasks.Withdraw(ctx, t)
}
