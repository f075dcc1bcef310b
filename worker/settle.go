package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// settlement ends an attempt: it records what the attempt came to, and then lets its
// message go.
type settlement struct {
	at  *attempt
	rec *record
}

// settle records what an attempt came to and then lets its message go. It is
// the one place that ends an attempt. cause is why its context ended, if it has.
// An error leaves the message to be delivered again.
func (s settlement) settle(ctx context.Context, cause error, o outcome) error {
	switch {
	case errors.Is(cause, agent.ErrLeaseLost):
		// The message is the heir's: an ack now would take it away from it.
		s.at.journal.cursor.take() // what is left is not written
		s.at.lost(ctx)
		return nil
	}
	s.at.journal.rest(ctx)
	switch {
	case errors.Is(cause, agent.ErrCanceled):
		return s.stopped(ctx, o)
	case errors.Is(cause, agent.ErrDraining) && o.err != nil:
		return s.handBack(ctx)
	case errors.Is(cause, agent.ErrSuspended):
		if s.at.talk.session != nil {
			return s.ask(ctx)
		}
		return s.suspend(ctx)
	}
	next := s.rec.t.Clone()
	s.rec.takeAll(next)
	s.countChildren(ctx, next)
	failure, after := s.judge(ctx, next, o, cause)
	if failure == nil {
		full := 100
		next.Percent, next.Error = &full, nil
		if s.at.talk.session != nil {
			return s.commit(ctx, next)
		}
		return s.finish(ctx, next, task.Completed)
	}
	next.Error = failure
	if failure.Retryable && next.Attempt < maxAttempts(next, s.at.in.agent.Definition) {
		delay := max(s.at.in.agent.Retry.Delay(next.Attempt), after)
		due := time.Now().Add(delay)
		if next.Deadline.IsZero() || due.Before(next.Deadline) {
			return s.retry(ctx, next, due)
		}
		failure.Message += " (no further attempt fits before the deadline)"
	}
	if s.at.talk.session != nil && s.at.talk.release(ctx, next).Standing == mesh.TurnInterrupted {
		return s.interrupted(ctx, next)
	}
	return s.finish(ctx, next, task.Failed)
}

// countChildren asks whether an attempt that nobody heard of children of has any:
// the gateway's signal is sent at most once.
func (s settlement) countChildren(ctx context.Context, t *task.Task) {
	if t.HasChildren || time.Since(s.rec.began) < quickEnd {
		return
	}
	var children []task.ID
	err := s.at.untilAnswered(ctx, func() (err error) {
		children, err = s.at.store.Children.Of(ctx, t.Tenant, t.ID)
		return err
	})
	t.HasChildren = err == nil && len(children) > 0
}

// judge sets the result of a good outcome, or returns the error of a bad one
// and the least delay before a retry.
func (s settlement) judge(ctx context.Context, t *task.Task, o outcome, cause error) (failure *task.Error, after time.Duration) {
	e := s.fault(ctx, t, o, cause)
	if e == nil {
		return nil, 0
	}
	detail := agent.Error{}
	if told := (*agent.Error)(nil); errors.As(o.err, &told) { // also where the cause is another
		detail = *told
	}
	t.Explain(detail.Detail)
	return &task.Error{Code: codeOf(e.Code), Message: task.Cut(e.Error(), 4<<10), Attempt: t.Attempt, Retryable: !e.Permanent}, e.RetryAfter
}

// fault sets the result of a good outcome, or says what is wrong with it.
func (s settlement) fault(ctx context.Context, t *task.Task, o outcome, cause error) *agent.Error {
	if o.err == nil {
		return s.result(ctx, t, o.value)
	}
	e := &agent.Error{}
	switch {
	case o.panicked:
		e.Code, e.Message = task.CodeAgentPanicked, o.err.Error()
	case errors.Is(cause, agent.ErrTimeout):
		// A turn that hangs is not tried again: it would keep its session closed.
		e.Code, e.Message, e.Permanent = task.CodeAgentTimeout, fmt.Sprintf("the attempt took longer than %v", s.at.timeout(s.rec.t)), s.at.talk.session != nil
	case errors.Is(cause, agent.ErrDeadline):
		e.Code, e.Message, e.Permanent = task.CodeDeadlineExceeded, "the deadline passed while the agent ran", true
	case errors.As(o.err, &e):
	default:
		e = &agent.Error{Message: o.err.Error()}
	}
	return e
}

var errorCode = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)

// codeOf is a code as an agent has chosen it, if it is one.
func codeOf(code string) string {
	if !errorCode.MatchString(code) {
		return task.CodeAgentError
	}
	return code
}

// result encodes the handler's value into t.
func (s settlement) result(ctx context.Context, t *task.Task, v any) *agent.Error {
	if s.at.talk.session != nil {
		var fault *agent.Error
		if v, fault = s.at.talk.replied(v); fault != nil {
			return fault
		}
	}
	return s.at.keep(ctx, t, v)
}

// finish writes the terminal record and acks.
func (s settlement) finish(ctx context.Context, t *task.Task, state task.State) error {
	now := time.Now()
	if t.StartedAt.IsZero() { // the processing write was skipped
		t.StartedAt = task.Stamp(s.rec.began)
	}
	if err := t.To(state, now); err != nil {
		return err
	}
	if err := s.archive(ctx, t); err != nil {
		return err
	}
	err := s.rec.write(ctx, t)
	switch {
	case refused(err):
		return s.unwritable(ctx, t, err)
	case err != nil:
		return s.unwritten(ctx, err)
	}
	s.at.done(ctx, t, now)
	return nil
}

// archive keeps the journal with the record t of the task's end.
func (s settlement) archive(ctx context.Context, t *task.Task) error {
	if t.Steps == nil {
		return nil
	}
	return s.at.untilAnswered(ctx, func() error { return s.at.w.core.Journals.Archive(ctx, t, s.at.journal.all()) })
}

// retry writes the pending record, queues the next attempt for its time, and
// acks; a turn's message is delivered again instead. A redelivery completes what
// a crash has cut off.
func (s settlement) retry(ctx context.Context, t *task.Task, due time.Time) error {
	if !s.rec.claimed { // it ended before its claim was due: a retry follows a claim
		if err := s.at.untilAnswered(ctx, func() error { return s.rec.claim(ctx) }); err != nil {
			return s.unwritten(ctx, err)
		}
		t.Rebase(s.rec.t)
		t.Status, t.StartedAt, t.Transitions = s.rec.t.Status, s.rec.t.StartedAt, s.rec.t.Clone().Transitions
	}
	if err := t.To(task.Pending, time.Now()); err != nil {
		return err
	}
	t.NotBefore = task.Stamp(due)
	err := s.rec.write(ctx, t)
	switch {
	case refused(err):
		return s.unwritable(ctx, t, err)
	case err != nil:
		return s.unwritten(ctx, err)
	}
	s.at.in.streak.note(0, false)
	s.at.ended(ctx, t, task.AttemptRetried, time.Since(s.rec.began), func() []any { return []any{"retry_in", time.Until(due)} })
	if s.at.talk.session != nil { // its message stays where it is and keeps the session closed
		s.at.lease.end()
		return s.at.msg.Nak(time.Until(due))
	}
	return s.at.requeue(ctx, t)
}

// handBack returns a task to the queue at shutdown, as if this attempt had
// never begun. One that was suspended before is woken once more.
func (s settlement) handBack(ctx context.Context) error {
	if s.rec.claimed {
		next := s.rec.t.Clone()
		s.rec.takeAll(next)
		next.Attempt--
		if err := next.To(task.Pending, time.Now()); err != nil {
			return err
		}
		if next.Suspended = s.at.goesOn; next.Suspended {
			next.Attempt++
		}
		if err := s.rec.write(ctx, next); err != nil {
			return s.unwritten(ctx, err)
		}
	}
	s.at.ended(ctx, s.rec.t, task.AttemptReturned, time.Since(s.rec.began), nil)
	s.at.lease.end()
	return s.at.msg.Nak(0)
}

// stopped notes on a canceled record that the agent has ended, the one
// annotation that a finished record may get.
func (s settlement) stopped(ctx context.Context, o outcome) error {
	if o.gone {
		// It still runs: say nothing about its end, and let go of the message.
		s.at.ack(ctx)
		return nil
	}
	rec, err := s.annotate(ctx)
	switch {
	case errors.Is(err, task.ErrDeleted):
		rec = s.rec.t.Clone()
		if err := rec.To(task.Canceled, time.Now()); err != nil {
			return err
		}
		s.dropJournal(ctx)
	case err != nil:
		return err
	default:
		s.at.endJournal(ctx, rec)
	}
	s.at.ended(ctx, rec, task.AttemptCanceled, time.Since(s.rec.began), nil)
	s.at.ack(ctx)
	return nil
}

// dropJournal removes the entries of a task that was deleted: no record names them any
// more.
func (s settlement) dropJournal(ctx context.Context) {
	err := s.at.untilAnswered(ctx, func() error { return s.at.w.core.Journals.Drop(ctx, s.rec.t) })
	if err != nil {
		s.at.log.Warn("journal not ended, a gateway will", "error", err)
	}
}

func (s settlement) annotate(ctx context.Context) (rec *task.Task, err error) {
	for {
		err = s.at.untilAnswered(ctx, func() error {
			rec, err = s.at.store.Tasks.Get(ctx, s.rec.t.Tenant, s.at.id)
			if err != nil || rec.Status != task.Canceled || !rec.StoppedAt.IsZero() {
				return err
			}
			s.countChildren(ctx, rec)
			if rec.Steps != nil && rec.Steps.Object == "" {
				if err := s.at.w.core.Journals.Archive(ctx, rec, s.at.journal.all()); err != nil {
					return err
				}
			}
			rec.StoppedAt = task.Stamp(time.Now())
			return s.at.store.Records.Fit(ctx, rec)
		})
		if !errors.Is(err, task.ErrConflict) {
			return rec, err
		}
	}
}

// unwritten says why a record could not be written: somebody canceled the task
// in the meantime, or has its lease.
func (s settlement) unwritten(ctx context.Context, err error) error {
	if !errors.Is(err, task.ErrConflict) {
		return err
	}
	var lost error
	look := s.at.untilAnswered(ctx, func() error {
		lost = s.rec.verify(ctx)
		return lost
	})
	switch {
	case errors.Is(lost, agent.ErrCanceled):
		return s.stopped(ctx, outcome{})
	case errors.Is(lost, agent.ErrLeaseLost):
		s.at.lost(ctx)
		return nil
	}
	return cmp.Or(look, err)
}

// done tells that the task has ended, and lets the message go.
func (at *attempt) done(ctx context.Context, t *task.Task, now time.Time) {
	took := now.Sub(at.rec.began)
	at.in.streak.note(took, t.Status == task.Completed)
	at.ended(ctx, t, task.Outcome(t.Status), took, func() []any { return []any{"since_accept", now.Sub(t.CreatedAt)} })
	countFinished(t)
	at.w.core.Tasks.Ended(ctx, t)
	at.endJournal(ctx, t)
	at.letGo(ctx)
}

// requeue queues t's next attempt, and acks. Until it has, the message comes
// again and is spent.
func (at *attempt) requeue(ctx context.Context, t *task.Task) error {
	err := at.untilAnswered(ctx, func() error {
		_, err := at.store.Tasks.Enqueue(ctx, t)
		return err
	})
	if err == nil && t.Kind != task.KindTurn && !t.NotBefore.IsZero() {
		err = at.straighten(ctx, t)
	}
	if err == nil {
		at.letGo(ctx)
	}
	return err
}

// straighten looks, after a schedule of t was published, whether its record is still
// that one: an answer or a cancel may have come between the two writes. The schedule
// is then set to what the record says now. Where that waits for nothing, it fires a
// moment later and finds nothing to do, rather than in days: a worker may drop none.
func (at *attempt) straighten(ctx context.Context, t *task.Task) error {
	for {
		var rec *task.Task
		err := at.untilAnswered(ctx, func() (err error) {
			rec, err = at.store.Tasks.Get(ctx, t.Tenant, t.ID)
			return err
		})
		if errors.Is(err, task.ErrNotFound) || err == nil && rec.Rev == t.Rev {
			return nil
		}
		if err != nil {
			return err
		}
		due := time.Now().Add(mesh.StrayFires)
		if rec.NotBefore.After(due) {
			due = rec.NotBefore
		}
		err = at.untilAnswered(ctx, func() error {
			_, err := at.store.Tasks.Rearm(ctx, rec, due)
			return err
		})
		if err != nil {
			return err
		}
		t = rec
	}
}

// stray has a schedule fire soon that may be left of a suspension which was overtaken, and
// whose worker died before it could set that right: its message comes again.
func (s settlement) stray(ctx context.Context, t *task.Task, deliveries int) {
	if deliveries == 1 || t == nil || t.Run == 0 || t.Kind == task.KindTurn || !t.NotBefore.IsZero() {
		return
	}
	if _, err := s.at.store.Tasks.Rearm(ctx, t, time.Now().Add(mesh.StrayFires)); err != nil {
		s.at.log.Debug("a schedule may be left, it finds nothing to do", "error", err)
	}
}
