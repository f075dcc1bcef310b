package notifier

import (
	"context"
	"errors"
	"time"

	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// timetable holds the deliveries that are not due: the server keeps their schedules.
type timetable struct{ store *store.Store }

// postpone records a delivery that was not attempted yet and schedules it.
func (t timetable) postpone(ctx context.Context, d *webhook.Delivery, until time.Time) error {
	d.NextAt = task.Stamp(until)
	if d.Rev == 0 {
		d.UpdatedAt = task.Stamp(time.Now())
		if err := t.store.Deliveries.Save(ctx, d); err != nil {
			if errors.Is(err, task.ErrConflict) {
				return t.ensure(ctx, d)
			}
			return err
		}
	}
	return t.store.Deliveries.Schedule(ctx, d)
}

// ensure puts a recorded delivery into its schedule again, unless it is
// settled: the notifier that recorded it may have died before it scheduled it.
func (t timetable) ensure(ctx context.Context, d *webhook.Delivery) error {
	rec, err := t.store.Deliveries.Get(ctx, d.Tenant, d.Source, d.ID)
	switch {
	case err != nil || rec.Status.Final():
		return err
	case time.Until(rec.NextAt) > 0:
		return t.store.Deliveries.Schedule(ctx, rec)
	}
	return t.store.Deliveries.Now(ctx, rec)
}

// restoreNewer puts back a schedule that the one of d has replaced: since
// d's record was written somebody may have asked for the delivery at once.
func (t timetable) restoreNewer(ctx context.Context, d *webhook.Delivery) error {
	rec, err := t.store.Deliveries.Get(ctx, d.Tenant, d.Source, d.ID)
	if err != nil || rec.Rev == d.Rev || rec.Status.Final() {
		return err
	}
	return t.store.Deliveries.Schedule(ctx, rec)
}
