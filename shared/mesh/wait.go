package mesh

import (
	"context"
	"errors"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// Get reads a task wherever it is: its record, or the queue message that is the
// truth until there is one. A turn that waits in its session's queue goes on.
func (c Tasks) Get(ctx context.Context, who auth.Caller, id task.ID) (*task.Task, error) {
	t, err := c.store.Tasks.Find(ctx, who.Tenant, id)
	if err != nil {
		return nil, err
	}
	return queue(c).tend(ctx, t), nil
}

// Wait waits until an accepted task has ended, at most d. It returns the newest
// state seen, nil if none, also when the time or the core's is over.
func (c Tasks) Wait(ctx context.Context, who auth.Caller, a *Acceptance, d time.Duration) (*task.Task, error) {
	return waits(c).await(ctx, who.Tenant, a.TaskID, d, a.watch)
}

// WaitChange waits until t has changed, or with ended until it has ended, at most
// d, and returns the newest state.
func (c Tasks) WaitChange(ctx context.Context, t *task.Task, ended bool, d time.Duration) (*task.Task, error) {
	defer queue(c).tending(ctx, t)()
	return waits(c).awaitChange(ctx, t, !ended, d)
}

func (c waits) await(ctx context.Context, tenant string, id task.ID, d time.Duration, watch *store.Watch) (*task.Task, error) {
	if watch == nil {
		var err error
		if watch, err = c.store.Tasks.Watch(tenant, id, false); err != nil {
			return nil, err
		}
		defer watch.Close()
		t, err := c.store.Tasks.Find(ctx, tenant, id)
		if err != nil || t.Status.Terminal() {
			return t, err
		}
	}
	return c.follow(ctx, watch, nil, d, func(t *task.Task) bool { return t.Status.Terminal() })
}

// awaitChange waits until t has changed in any way, or ended, at most d.
func (c waits) awaitChange(ctx context.Context, t *task.Task, any bool, d time.Duration) (*task.Task, error) {
	watch, err := c.store.Tasks.Watch(t.Tenant, t.ID, false)
	if err != nil {
		return nil, err
	}
	defer watch.Close()
	now, err := c.find(ctx, t.Tenant, t.ID, locationOf(t)) // it may have changed before the subscription
	if err != nil {
		return nil, err
	}
	if now.Status.Terminal() || any && now.Rev != t.Rev {
		return now, nil
	}
	return c.follow(ctx, watch, now, d, func(t *task.Task) bool { return any || t.Status.Terminal() })
}

// follow reads a watch until enough says so, and returns the newest state.
func (c waits) follow(ctx context.Context, watch *store.Watch, t *task.Task, d time.Duration, enough func(*task.Task) bool) (*task.Task, error) {
	var rev uint64
	if t != nil {
		rev = t.Rev
	}
	err := watch.UpdatesWithin(ctx, c.closing, d, rev, func(u store.Update) bool {
		t = u.Task
		return !enough(t)
	})
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = nil // the time is over: the task as last seen is the answer
	}
	return t, err
}

// Children lists the tasks that a task has started.
func (c Tasks) Children(ctx context.Context, t *task.Task) ([]task.ID, error) {
	// Thousands may have waited for the same task.
	children, err, _ := c.children.Do(t.Tenant+"."+string(t.ID), func() (any, error) {
		return c.store.Children.Of(context.WithoutCancel(ctx), t.Tenant, t.ID)
	})
	if err != nil {
		return nil, err
	}
	ids, _ := children.([]task.ID)
	return ids, nil
}
