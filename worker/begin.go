package worker

import (
	"cmp"
	"context"
	"errors"

	"agentmesh/shared/auth"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// begin decides what the message asks for and does it. It waits for a store that
// is away: a message that is let go of meanwhile would come back to the same. An
// error leaves the message to be delivered again.
func (at *attempt) begin(ctx context.Context, deliveries int) error {
	came := arrival{at: at, queued: at.queued, deliveries: deliveries}
	came.first = deliveries == 1 && at.queued.Attempt == 0 && !at.queued.Waited && at.queued.InPlaceOf == 0
	for {
		var d decision
		err := at.untilAnswered(ctx, func() (err error) {
			d, err = came.decide(ctx)
			return err
		})
		if err != nil {
			return err
		}
		at.rec.t, at.goesOn = d.task, d.on
		switch d.verb {
		case forget:
			at.log.Debug("nothing to do", "reason", d.why)
			if err := (leaving{at}).tell(ctx, d.ended, deliveries); err != nil {
				return err
			}
			if d.ended != nil {
				at.endJournal(ctx, d.ended)
			}
			settlement{at, &at.rec}.stray(ctx, cmp.Or(d.ended, d.held), deliveries)
			at.letGo(ctx)
			return nil
		case stand:
			at.log.Debug("another message has it", "reason", d.why)
			at.lease.end()
			return at.msg.Nak(at.w.cfg.Lease)
		case requeue:
			settlement{at, &at.rec}.stray(ctx, d.task, deliveries)
			return at.requeue(ctx, d.task)
		case look:
			err = at.untilAnswered(ctx, func() error { return at.store.Records.Fit(ctx, d.task) })
			if err == nil {
				return at.requeue(ctx, d.task)
			}
		case wake:
			err = at.untilAnswered(ctx, func() error { return at.store.Records.Fit(ctx, d.task) })
			if err == nil {
				continue
			}
		case end:
			if err = came.endUnrun(ctx, d); err == nil {
				return nil
			}
		case run:
			at.makeKey(d.task)
			at.rec.reports = newReports(at.store, at.bell, d.task)
			if !came.first || d.task.Steps != nil || at.talk.session != nil || !at.unclaimedAllowed() {
				err = at.untilAnswered(ctx, func() error { return at.rec.claim(ctx) })
			}
			if err == nil {
				return at.run(ctx)
			}
		}
		if refused(err) && d.verb != end {
			if err = came.endUnrun(ctx, came.unclaimable(ctx, d, err)); err == nil {
				return nil
			}
		}
		if !errors.Is(err, task.ErrConflict) {
			return err
		}
		came.first = false
	}
}

// makeKey makes the key by which the agent calls the mesh. Its hash is in the record
// while the attempt runs: nobody else could have written it there.
func (at *attempt) makeKey(t *task.Task) {
	if !at.in.agent.Calls && !at.in.agent.Tells {
		return
	}
	k := auth.NewTaskKey(t.Tenant, string(t.ID))
	at.key, t.Lease.Key, t.Lease.Narrow = agent.Secret(k.Reveal()), k.Hash(), !at.in.agent.Calls
	at.keyHash = t.Lease.Key
}

// unclaimedAllowed reports whether the attempt may start before its claim is
// written. One that kills its worker is not counted then, so a task that may
// have one attempt only is always claimed first.
func (at *attempt) unclaimedAllowed() bool {
	return at.in.streak.earned() && maxAttempts(at.rec.t, at.in.agent.Definition) > 1
}
