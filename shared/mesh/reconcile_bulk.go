package mesh

import (
	"context"
	"time"

	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// bulkBudget bounds the bytes that one look makes ready of what an agent has in bulk.
const bulkBudget = 1 << 20

// bulk makes tasks ready that wait in bulk where all live workers are of a version
// that takes none from there.
func (r *Reconciler) bulk(ctx context.Context, _ time.Time) error {
	intakes, err := r.store.Repair.Intakes(ctx, store.BulkQueue)
	if err != nil {
		return err
	}
	for _, in := range intakes {
		if in.Waiting+in.Unacked == 0 || len(Serving(r.workers, in.Agent)) == 0 || store.TakesBulk(r.workers, in.Agent) {
			continue
		}
		var waiting []*task.Task
		if err := r.store.Repair.InBulk(ctx, in.Agent, bulkBudget, func(t *task.Task) { waiting = append(waiting, t) }); err != nil {
			return err
		}
		for _, t := range waiting {
			if err := r.store.Repair.Requeue(ctx, t); err != nil {
				return err
			}
		}
		r.log.Info("tasks in bulk were made ready: no live worker takes them from there", "agent", in.Agent, "tasks", len(waiting))
	}
	return nil
}
