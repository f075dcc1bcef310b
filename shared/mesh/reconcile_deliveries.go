package mesh

import (
	"context"
	"errors"
	"time"

	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/webhook"
)

// dueDeliveries looks at what the notifiers' consumer holds, and at the schedules
// of deliveries.
func (r *Reconciler) dueDeliveries(ctx context.Context, now time.Time) error {
	in, err := r.store.Repair.DeliveryIntake(ctx)
	if errors.Is(err, task.ErrNotFound) {
		return nil // no notifier has come yet: nothing was delivered
	}
	if err != nil {
		return err
	}
	w := r.walking(place{kind: lostDelivery}, in, now)
	var lost []store.QueuedMessage
	next, err := r.store.Repair.HeldDeliveries(ctx, in, w.from, heldBudget, func(m store.QueuedMessage) {
		if w.suspect(m.Seq) {
			lost = append(lost, m)
		}
	})
	if err != nil {
		return err
	}
	w.end(next)
	for _, m := range lost {
		if w.lost(m.Seq) {
			if err := r.dueAgain(ctx, in, m, now); err != nil {
				return err
			}
		}
	}
	return r.deliverySchedules(ctx, now)
}

// dueAgain puts back a message of a delivery that is not final. One that was
// delivered a while ago and is not acknowledged may wait for its endpoint.
func (r *Reconciler) dueAgain(ctx context.Context, in store.Intake, m store.QueuedMessage, now time.Time) error {
	d := m.Delivery
	rec, err := r.store.Deliveries.Get(ctx, d.Tenant, d.Source, d.ID)
	if err != nil && !errors.Is(err, webhook.ErrDeliveryNotFound) {
		return err
	}
	acked := m.Seq <= in.Floor
	if !acked && err == nil && now.Before(rec.NextAt.Add(settleTime)) {
		return nil
	}
	if err == nil && rec.Status.Final() || err != nil && m.Recorded {
		return r.store.Repair.DropDelivery(ctx, m)
	}
	if err := r.store.Repair.RequeueDelivery(ctx, m); err != nil {
		return err
	}
	r.countDelivery(d, "its consumer would not deliver it again")
	return nil
}

func (r *Reconciler) countDelivery(d *webhook.Delivery, why string) {
	telemetry.Reconciled.Add(1, lostDelivery)
	r.log.Error("a delivery would have been lost and was queued again", "delivery", d.ID, "source", d.Source, "reason", why)
}

// deliverySchedules looks for those that should have fired.
func (r *Reconciler) deliverySchedules(ctx context.Context, now time.Time) (err error) {
	var all []store.QueuedMessage
	if r.later[1], err = r.store.Repair.ScheduledDeliveries(ctx, r.later[1], heldBudget, func(m store.QueuedMessage) {
		if now.Sub(m.At) > 2*settleTime {
			all = append(all, m)
		}
	}); err != nil {
		return err
	}
	for _, m := range all {
		if err := r.store.Repair.RequeueDelivery(ctx, m); err != nil {
			return err
		}
		r.countDelivery(m.Delivery, "its schedule did not fire")
	}
	return nil
}

// deliveryRecords looks whether deliveries that are not final have a message.
func (r *Reconciler) deliveryRecords(ctx context.Context, now time.Time) error {
	return r.sent.walk(ctx, func(from uint64) (uint64, error) {
		var open []*webhook.Delivery
		next, err := r.store.Repair.OpenDeliveries(ctx, from, func(d *webhook.Delivery) {
			if now.Sub(d.UpdatedAt) > settleTime {
				open = append(open, d)
			}
		})
		if err != nil {
			return from, err
		}
		for _, d := range open {
			if err := r.checkDelivery(ctx, d); err != nil {
				return from, err
			}
		}
		return next, nil
	})
}

func (r *Reconciler) checkDelivery(ctx context.Context, d *webhook.Delivery) error {
	has, err := r.store.Repair.HasDelivery(ctx, d)
	if err != nil || has {
		return err
	}
	newest, err := r.store.Deliveries.Get(ctx, d.Tenant, d.Source, d.ID)
	if errors.Is(err, webhook.ErrDeliveryNotFound) || err == nil && newest.Rev != d.Rev {
		return nil
	}
	if err == nil {
		err = r.store.Deliveries.Schedule(ctx, newest)
	}
	if err == nil {
		r.countDelivery(newest, "the queue had no message of it")
	}
	return err
}
