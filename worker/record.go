package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/worker/agent"
)

// Every write of an attempt's record is a compare-and-set. One whose outcome
// stayed unknown may have been stored after all: so a conflict is looked into
// before it is taken for another writer's.

// record is the record of an attempt's task, as this worker last wrote it, and what
// the job has told and it does not have yet. Only the goroutine of handle touches it.
type record struct {
	patience
	id     task.ID
	worker string    // this worker's id
	began  time.Time // when the attempt did

	t       *task.Task // t.Rev 0 while it is not written
	claimed bool       // the processing state is written

	reports *reports
	waits   *waits             // nil: the handler has not begun
	unsaved []pendingMilestone // taken from reports, and in no record that is known to be written
	flushed time.Time
}

// put saves next. Where the record is a version that this attempt wrote without
// hearing of it, or one to which somebody else has added an answer, next goes on
// from there. It returns task.ErrConflict when the record is not this attempt's any
// more.
func (r *record) put(ctx context.Context, next *task.Task) error {
	for {
		if r.waits != nil {
			r.waits.put(next)
		}
		err := r.store.Tasks.Save(ctx, next)
		if err == nil && r.waits != nil {
			r.waits.saw(next)
		}
		if !errors.Is(err, task.ErrConflict) {
			return err
		}
		rec, look := r.store.Tasks.Get(ctx, next.Tenant, next.ID)
		switch {
		case look != nil && !errors.Is(look, task.ErrNotFound):
			return look
		case look != nil, !r.holds(rec) && !r.unbegun(rec), rec.Rev == next.Rev:
			return err
		}
		next.Rebase(rec)
		next.Answers = rec.Answers
		if next.Exchanges != nil || r.t.Exchanges == nil { // else they are left out: there is no room
			next.Exchanges = rec.Exchanges
		}
	}
}

// unbegun reports whether rec only says that answers came before the task began: it
// may be claimed over.
func (r *record) unbegun(rec *task.Task) bool {
	return !r.claimed && rec.Status == task.Pending && len(rec.Transitions) == 0 && rec.Attempt == 0 && rec.Kind != task.KindTurn
}

// write is put for the record of an outcome: it waits for the store.
func (r *record) write(ctx context.Context, t *task.Task) (err error) {
	ctx, span := startWrite(ctx, telemetry.SpanFinish, r.id, string(t.Status))
	defer func() { telemetry.End(span, err) }()
	if err = r.untilAnswered(ctx, func() error { return r.put(ctx, t) }); err == nil {
		r.tell(nil)
	}
	return err
}

// holds reports whether rec was written by this attempt while it ran.
func (r *record) holds(rec *task.Task) bool {
	if rec.Status != task.Processing || rec.Lease == nil || r.t.Lease == nil || len(rec.Transitions) == 0 {
		return false
	}
	claim := rec.Transitions[len(rec.Transitions)-1]
	return rec.Lease.Seq == r.t.Lease.Seq && claim.Status == task.Processing &&
		claim.Worker == r.worker && claim.Attempt == r.t.Attempt && claim.At.Equal(task.Stamp(r.began))
}

// verify reads the record and returns why the attempt may not go on, if so. A task
// that is deleted has ended: for an attempt that still runs it is a canceled one.
func (r *record) verify(ctx context.Context) error {
	rec, err := r.store.Tasks.Get(ctx, r.t.Tenant, r.id)
	switch {
	case errors.Is(err, task.ErrDeleted):
		return agent.ErrCanceled
	case errors.Is(err, task.ErrNotFound) && !r.claimed:
		return nil
	case err != nil && !errors.Is(err, task.ErrNotFound):
		return err
	case err == nil && rec.Status == task.Canceled:
		return agent.ErrCanceled
	case err == nil && r.holds(rec):
		if r.waits != nil {
			r.waits.saw(rec)
		}
		return nil
	case err == nil && r.unbegun(rec):
		return nil
	}
	return agent.ErrLeaseLost
}

// whyLost is why a conflict ended the attempt's hold of its record. While it
// cannot be read, it is not known.
func (r *record) whyLost(ctx context.Context) error {
	if err := r.verify(ctx); err != nil {
		return err
	}
	return agent.ErrLeaseLost
}

// claim writes the processing state.
func (r *record) claim(ctx context.Context) error {
	next := r.t.Clone()
	if err := next.To(task.Processing, r.began); err != nil {
		return err
	}
	r.reports.take(next)
	ctx, span := startWrite(ctx, telemetry.SpanClaim, r.id, "")
	err := r.put(ctx, next)
	telemetry.End(span, err)
	if err != nil {
		return err
	}
	r.t, r.claimed = next, true
	r.reports.open()
	return nil
}

// claimLate writes the claim of an attempt that has begun without one.
func (r *record) claimLate(ctx context.Context) error {
	err := r.claim(ctx)
	if errors.Is(err, task.ErrConflict) {
		return r.whyLost(ctx)
	}
	return err
}

// report writes what the job has told. Nobody waits for milestones any more once
// the attempt's context has ended: they are written now and then, all together.
func (r *record) report(ctx context.Context, ended bool) error {
	if !r.claimed {
		if err := r.claimLate(ctx); err != nil {
			r.reports.again(flushEvery)
			return err
		}
	}
	if pause := flushEvery - time.Since(r.flushed); ended && pause > 0 {
		r.reports.again(pause)
		return nil
	}
	r.flushed = time.Now()
	return r.flush(ctx)
}

// flush writes the newest progress and every milestone that waits, in one
// revision. While the store is away they wait on, and the agent with them.
func (r *record) flush(ctx context.Context) error {
	r.unsaved = append(r.unsaved, r.reports.takeMilestones()...)
	return r.save(ctx, r.t.Clone())
}

// flag has the record say that the task has a journal, before that has its first
// entry: nobody would look for one else. It returns a revision of this run.
func (r *record) flag(ctx context.Context, ask flag) (rev uint64, err error) {
	next := r.t.Clone()
	if ask.forget {
		r.waits.restart()
		next.Step = nil
	}
	if next.Steps == nil {
		next.Steps = &task.Steps{}
	}
	switch {
	case !r.claimed:
		r.t = next
		err = r.claimLate(ctx)
	case r.t.Steps == nil, ask.anew:
		err = r.save(ctx, next)
	}
	return r.t.Rev, err
}

// save writes next with what the job has told.
func (r *record) save(ctx context.Context, next *task.Task) error {
	r.addMilestones(next)
	r.reports.take(next)
	next.UpdatedAt = task.Stamp(time.Now())
	err := r.put(ctx, next)
	switch {
	case err == nil:
		r.t = next
		r.tell(nil)
	case errors.Is(err, task.ErrConflict):
		if err = r.whyLost(ctx); away(err) {
			r.reports.again(retryFirst)
		}
	case refused(err): // a side note must not cost the work
		for _, p := range r.unsaved {
			r.reports.Warn(fmt.Sprintf("milestone %s was left out: the record of the task is full", p.m.Name))
		}
		r.tell(nil)
	default:
		r.reports.again(flushEvery)
	}
	return err
}

// addMilestones puts the milestones that are in no record yet into t.
func (r *record) addMilestones(t *task.Task) {
	for _, p := range r.unsaved {
		t.AddMilestone(p.m)
	}
}

// tell tells the agent what became of the milestones that it waits for.
func (r *record) tell(err error) {
	for _, p := range r.unsaved {
		p.done <- err
	}
	r.unsaved = nil
}

// takeAll takes the last word of the job into t.
func (r *record) takeAll(t *task.Task) {
	r.unsaved = append(r.unsaved, r.reports.close()...)
	r.addMilestones(t)
	r.reports.take(t)
}
