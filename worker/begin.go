package worker

import (
	"context"
	"errors"
	"time"

	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
)

// begin decides what the message asks for and does it. It waits for a store that
// is away: a message that is let go of meanwhile would come back to the same. An
// error leaves the message to be delivered again.
func (at *attempt) begin(ctx context.Context, queued *task.Task, deliveries int) error {
	first := deliveries == 1 && queued.Attempt == 0 && !queued.Waited
	for {
		var d decision
		err := at.untilAnswered(ctx, func() (err error) {
			d, err = at.decide(ctx, queued, deliveries, first)
			return err
		})
		if err != nil {
			return err
		}
		at.t = d.task
		switch d.verb {
		case forget:
			at.log.Debug("nothing to do", "reason", d.why)
			at.ack(ctx)
			return nil
		case requeue:
			return at.requeue(ctx, d.task)
		case end:
			err = at.untilAnswered(ctx, func() error { return at.w.store.Tasks.Save(ctx, d.task) })
			if err == nil {
				at.log.InfoContext(ctx, "task ended without an attempt", "status", d.task.Status, "reason", d.why)
				countFinished(d.task)
				at.ack(ctx)
				return nil
			}
		case run:
			at.reports = newReports(at.w.store, d.task)
			if !first || at.session != nil || !at.unclaimedAllowed() {
				err = at.untilAnswered(ctx, func() error { return at.claim(ctx) })
			}
			if err == nil {
				return at.run(ctx)
			}
		}
		switch {
		case refused(err):
			return at.unwritable(ctx, d.task, err)
		case !errors.Is(err, task.ErrConflict):
			return err
		}
		first = false
	}
}

// unclaimedAllowed reports whether the attempt may start before its claim is
// written. One that kills its worker is not counted then, so a task that may
// have one attempt only is always claimed first.
func (at *attempt) unclaimedAllowed() bool {
	return at.in.streak.earned() && maxAttempts(at.t, at.in.agent.Definition) > 1
}

// decide reads what is known of the task and decides.
func (at *attempt) decide(ctx context.Context, queued *task.Task, deliveries int, first bool) (d decision, err error) {
	var record *task.Task
	if !first { // somebody may have written the record
		if record, err = at.read(ctx, queued); err != nil {
			return d, err
		}
	}
	d = decide(queued, record, at.in.agent.Definition, at.w.id, time.Now())
	at.follow(ctx, record, d)
	if d.verb == run && record != nil && record.Status == task.Processing {
		at.w.forgetLostWorker(ctx, record.Lease)
	}
	if d.verb == run && d.task.ParentID != "" {
		if d, err = at.underParent(ctx, d); err != nil {
			return d, err
		}
	}
	if queued.Kind == task.KindTurn && (d.verb == run || d.verb == end) {
		return at.inSession(ctx, d, deliveries)
	}
	return d, nil
}

// underParent has a task end that would run under a canceled parent: the cancel
// may have come when nobody knew this task yet.
func (at *attempt) underParent(ctx context.Context, d decision) (decision, error) {
	parent, err := at.w.store.Tasks.Get(ctx, d.task.Tenant, d.task.ParentID)
	if errors.Is(err, task.ErrNotFound) {
		return d, nil
	}
	if err != nil || parent.Status != task.Canceled {
		return d, err
	}
	d.task.Attempt--
	if err := d.task.To(task.Canceled, time.Now()); err != nil {
		return d, err
	}
	return decision{verb: end, task: d.task, why: "its parent is canceled"}, nil
}

func (at *attempt) read(ctx context.Context, queued *task.Task) (*task.Task, error) {
	t, err := at.w.store.Tasks.Get(ctx, queued.Tenant, queued.ID)
	if errors.Is(err, task.ErrNotFound) {
		return nil, nil
	}
	return t, err
}

// claim writes the processing state.
func (at *attempt) claim(ctx context.Context) error {
	next := at.t.Clone()
	if err := next.To(task.Processing, at.began); err != nil {
		return err
	}
	at.reports.take(next)
	ctx, span := telemetry.StartInternal(ctx, telemetry.SpanClaim, telemetry.TaskID(at.id))
	err := at.put(ctx, next)
	telemetry.End(span, err)
	if err != nil {
		return err
	}
	at.t, at.claimed = next, true
	at.reports.open()
	return nil
}

// claimLate writes the claim of an attempt that has begun without one.
func (at *attempt) claimLate(ctx context.Context) error {
	err := at.claim(ctx)
	if errors.Is(err, task.ErrConflict) {
		return at.whyLost(ctx)
	}
	return err
}
