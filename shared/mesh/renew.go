package mesh

import (
	"context"
	"errors"
	"time"

	"agentmesh/shared/task"
)

// Large values are kept for a time after they were stored, and a task may wait for
// longer: as long as it is open they are stored anew now and then. What a task leaves
// behind is so never older than renewAfter and renewEvery together when it ends, and
// stays as long as its record.
const (
	renewAfter = 5 * 24 * time.Hour
	renewEvery = 12 * time.Hour
)

// keep does so at the start and twice a day, until ctx ends.
func (j Journals) keep(ctx context.Context) {
	for {
		n, err := j.Renew(ctx, time.Now().Add(-renewAfter))
		switch {
		case err != nil && ctx.Err() == nil:
			j.log.Warn("large values of open tasks not looked at, they will be in half a day", "error", err)
		case n > 0:
			j.log.Info("large values of open tasks stored anew", "values", n)
		}
		if !j.sleep(ctx, renewEvery) {
			return
		}
	}
}

// Renew stores the large values of open tasks anew that were stored before a time, and
// returns how many.
func (j Journals) Renew(ctx context.Context, before time.Time) (n int, err error) {
	all, err := j.store.Artifacts.Aged(ctx, before)
	if err != nil {
		return 0, err
	}
	open := map[task.ID]bool{}
	for _, a := range all {
		is, known := open[a.Task]
		if !known {
			t, err := j.store.Tasks.Find(ctx, a.Tenant, a.Task)
			if err != nil && !errors.Is(err, task.ErrNotFound) {
				return n, err
			}
			is = err == nil && !t.Status.Terminal()
			open[a.Task] = is
		}
		if !is {
			continue
		}
		err := j.store.Artifacts.Renew(ctx, a.Value)
		switch {
		case err == nil:
			n++
		case !errors.Is(err, task.ErrNotFound):
			return n, err
		}
	}
	return n, nil
}
