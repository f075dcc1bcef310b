package worker

import (
	"context"
	"errors"
	"slices"
	"time"

	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/worker/agent"
)

// arrival is the message of an attempt that is about to begin, and decides what is
// to be done with it.
type arrival struct {
	at         *attempt
	queued     *task.Task
	deliveries int  // this one included
	first      bool // nobody can have written a record
}

// decide reads what is known of the task and decides.
func (a *arrival) decide(ctx context.Context) (d decision, err error) {
	var record *task.Task
	if !a.first { // somebody may have written the record
		record, err = a.read(ctx)
		if errors.Is(err, task.ErrDeleted) {
			return decision{verb: forget, why: "it was deleted after its end"}, nil
		}
		if err != nil {
			return d, err
		}
	}
	if record != nil && record.Suspended {
		if _, err := endedChildren(ctx, a.at, record); err != nil {
			return d, err
		}
	}
	if err := a.inherit(ctx, record); err != nil {
		return d, err
	}
	d = decide(a.queued, record, a.at.in.agent.Definition, a.at.w.id, time.Now())
	a.follow(ctx, record, d)
	if d.verb == run && record != nil && record.Status == task.Processing {
		a.at.w.forgetLostWorker(ctx, record.Lease)
	}
	if d.verb == run && d.task.ParentID != "" {
		if d, err = a.underParent(ctx, d); err != nil {
			return d, err
		}
	}
	if a.queued.Kind == task.KindTurn && (d.verb == run || d.verb == end) {
		return a.inSession(ctx, d)
	}
	return d, nil
}

// inherit has the message take over from the one in bulk that it was promoted from,
// when the worker is gone whose attempt is under that one: it lapses by itself only
// while it is there.
func (a *arrival) inherit(ctx context.Context, record *task.Task) error {
	if a.queued.InPlaceOf == 0 || record == nil || record.Lease == nil || record.Lease.Seq != a.queued.InPlaceOf {
		return nil
	}
	workers, err := a.at.store.Registry.Workers(ctx)
	if err != nil {
		return err
	}
	lives := func(p store.Presence) bool { return p.WorkerID == record.Lease.Worker }
	if !slices.ContainsFunc(workers, lives) {
		record.Lease.Seq = a.queued.QueueSeq
	}
	return nil
}

// underParent has a task end that would run under a canceled parent: the cancel
// may have come when nobody knew this task yet.
func (a *arrival) underParent(ctx context.Context, d decision) (decision, error) {
	parent, err := a.at.store.Tasks.Get(ctx, d.task.Tenant, d.task.ParentID)
	if errors.Is(err, task.ErrNotFound) {
		return d, nil
	}
	if err != nil || parent.Status != task.Canceled {
		return d, err
	}
	return decision{verb: end, task: d.unrun(), as: task.Canceled, why: "its parent is canceled"}, nil
}

func (a *arrival) read(ctx context.Context) (*task.Task, error) {
	t, err := a.at.store.Tasks.Get(ctx, a.queued.Tenant, a.queued.ID)
	if errors.Is(err, task.ErrNotFound) && !errors.Is(err, task.ErrDeleted) {
		return nil, nil
	}
	return t, err
}

// follow links an attempt to the one that held its message before, and leaves
// its own span in the record for who comes after.
func (a *arrival) follow(ctx context.Context, record *task.Task, d decision) {
	if d.task == nil {
		return // there is nothing to do
	}
	if record != nil && record.Lease != nil && record.Lease.Seq == d.task.QueueSeq {
		telemetry.Link(ctx, record.Lease.TraceParent)
	}
	if d.verb == run {
		d.task.Lease.TraceParent = telemetry.Recorded(ctx)
		if record != nil { // it knows better than the message how many there were
			telemetry.Annotate(ctx, telemetry.Attempt(d.task.Attempt))
		}
	}
}

// inSession reads the session of a turn and decides again: a turn that is in the
// transcript ends as the transcript says, and is not run a second time. One that
// ends without a further attempt fences off those before, too: their commit, or the
// note of a cancel, would come too late.
func (a *arrival) inSession(ctx context.Context, d decision) (decision, error) {
	b := mesh.Beginning{Attempt: d.task.Attempt, Fences: a.deliveries > 1 || d.verb == end, Runs: d.verb == run, Agent: a.at.in.agent.Definition}
	if d.verb == end {
		b.Attempt++
	}
	turn, err := a.at.talk.begin(ctx, d.task, b)
	if err != nil {
		return d, err
	}
	switch turn.Standing {
	case mesh.SessionGone:
		return endUnrun(d, task.CodeSessionGone, "the session was deleted or has expired"), nil
	case mesh.SessionFull:
		return a.inSession(ctx, endUnrun(d, task.CodeSessionFull, turn.Why.Error()))
	case mesh.TurnCommitted:
		return a.decided(ctx, d, task.Completed, turn)
	case mesh.TurnInterrupted:
		return a.decided(ctx, d, task.Canceled, turn)
	case mesh.TurnOvertaken:
		return d, agent.ErrLeaseLost
	}
	if d.verb == run {
		return a.continuing(ctx, d, turn.Session)
	}
	return d, nil
}

// decided ends a turn as its session says.
func (a *arrival) decided(ctx context.Context, d decision, s task.State, turn mesh.Turn) (decision, error) {
	t := d.unrun()
	t.Error = nil
	if s == task.Completed {
		full := 100
		t.Percent = &full
		if fault := a.at.keep(ctx, t, replyValue(turn.Reply, askedBy(turn.Session, t.ID))); fault != nil {
			return d, fault
		}
	}
	return decision{verb: end, task: t, as: s, why: "its session has it as " + string(s)}, nil
}

// endUnrun ends a turn that its agent will not hear of.
func endUnrun(d decision, code, message string) decision {
	t := d.unrun()
	t.Error = &task.Error{Code: code, Message: message, Attempt: t.Attempt}
	return failed(t)
}

// endUnrun ends a task without a further attempt, as d says.
func (a *arrival) endUnrun(ctx context.Context, d decision) error {
	at, t := a.at, d.task.Clone()
	if err := t.To(d.as, time.Now()); err != nil {
		return err
	}
	err := at.untilAnswered(ctx, func() error {
		if err := at.w.core.Journals.ArchiveStored(ctx, t); err != nil {
			return err
		}
		return at.store.Records.Fit(ctx, t)
	})
	if err != nil {
		return err
	}
	at.log.InfoContext(ctx, "task ended without an attempt", "status", t.Status, "reason", d.why)
	countFinished(t)
	at.w.core.Tasks.Ended(ctx, t)
	at.endJournal(ctx, t)
	at.letGo(ctx)
	return nil
}

// unclaimable decides that a task ends whose record has no room for an attempt.
func (a *arrival) unclaimable(ctx context.Context, d decision, why error) decision {
	t := d.unrun()
	t.Error = tooMuch(t, why)
	if talk := &a.at.talk; talk.session != nil && talk.release(ctx, t).Standing == mesh.TurnInterrupted {
		t.Error = nil
		return decision{verb: end, task: t, as: task.Canceled, why: "its session has it as canceled"}
	}
	return failed(t)
}
