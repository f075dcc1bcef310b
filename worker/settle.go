package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// settle records what an attempt came to and then lets its message go. It is
// the one place that ends an attempt. cause is why its context ended, if it has.
// An error leaves the message to be delivered again.
func (at *attempt) settle(ctx context.Context, cause error, o outcome) error {
	switch {
	case errors.Is(cause, agent.ErrLeaseLost):
		// The message is the heir's: an ack now would take it away from it.
		at.lost(ctx)
		return nil
	case errors.Is(cause, agent.ErrCanceled):
		return at.stopped(ctx, o)
	case errors.Is(cause, agent.ErrDraining) && o.err != nil:
		return at.handBack(ctx)
	}
	next := at.t.Clone()
	at.takeAll(next)
	at.countChildren(ctx, next)
	failure, after := at.judge(ctx, next, o, cause)
	if failure == nil {
		full := 100
		next.Percent, next.Error = &full, nil
		if at.session != nil {
			return at.commit(ctx, next)
		}
		return at.finish(ctx, next, task.Completed)
	}
	next.Error = failure
	if failure.Retryable && next.Attempt < maxAttempts(next, at.in.agent.Definition) {
		delay := max(at.in.agent.Retry.Delay(next.Attempt), after)
		due := time.Now().Add(delay)
		if next.Deadline.IsZero() || due.Before(next.Deadline) {
			return at.retry(ctx, next, due)
		}
		failure.Message += " (no further attempt fits before the deadline)"
	}
	if at.session != nil {
		at.release(ctx)
	}
	return at.finish(ctx, next, task.Failed)
}

// countChildren asks whether an attempt that nobody heard of children of has any:
// the gateway's signal is sent at most once.
func (at *attempt) countChildren(ctx context.Context, t *task.Task) {
	if t.HasChildren || time.Since(at.began) < quickEnd {
		return
	}
	var children []task.ID
	err := at.untilAnswered(ctx, func() (err error) {
		children, err = at.w.store.Children.Of(ctx, t.Tenant, t.ID)
		return err
	})
	t.HasChildren = err == nil && len(children) > 0
}

// takeAll takes the last word of the job into t.
func (at *attempt) takeAll(t *task.Task) {
	at.unsaved = append(at.unsaved, at.reports.close()...)
	at.addMilestones(t)
	at.reports.take(t)
}

// judge sets the result of a good outcome, or returns the error of a bad one
// and the least delay before a retry.
func (at *attempt) judge(ctx context.Context, t *task.Task, o outcome, cause error) (failure *task.Error, after time.Duration) {
	e := &agent.Error{}
	switch {
	case o.err == nil:
		e = at.result(ctx, t, o.value)
		if e == nil {
			return nil, 0
		}
	case o.panicked:
		e.Code, e.Message = task.CodeAgentPanicked, o.err.Error()
	case errors.Is(cause, agent.ErrTimeout):
		// A turn that hangs is not tried again: it would keep its session closed.
		e.Code, e.Message, e.Permanent = task.CodeAgentTimeout, fmt.Sprintf("the attempt took longer than %v", at.timeout(at.t)), at.session != nil
	case errors.Is(cause, agent.ErrDeadline):
		e.Code, e.Message, e.Permanent = task.CodeDeadlineExceeded, "the deadline passed while the agent ran", true
	case errors.As(o.err, &e):
	default:
		e = &agent.Error{Message: o.err.Error()}
	}
	detail := agent.Error{}
	if told := (*agent.Error)(nil); errors.As(o.err, &told) { // also where the cause is another
		detail = *told
	}
	t.Explain(detail.Detail)
	code := e.Code
	if !errorCode.MatchString(code) {
		code = task.CodeAgentError
	}
	return &task.Error{Code: code, Message: task.Cut(e.Error(), 4<<10), Attempt: t.Attempt, Retryable: !e.Permanent}, e.RetryAfter
}

var errorCode = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)

// result encodes the handler's value into t.
func (at *attempt) result(ctx context.Context, t *task.Task, v any) *agent.Error {
	if at.session != nil {
		var fault *agent.Error
		if v, fault = at.replied(v); fault != nil {
			return fault
		}
	}
	return at.keep(ctx, t, v)
}

// keep encodes a result into t and stores it when it is large.
func (at *attempt) keep(ctx context.Context, t *task.Task, v any) *agent.Error {
	raw, err := task.Marshal(v)
	if err == nil {
		raw, err = task.Normal(raw)
	}
	if err != nil {
		return &agent.Error{Code: task.CodeAgentBadOutput, Message: "the result cannot be kept as JSON: " + err.Error(), Permanent: true, Err: err}
	}
	if limit := at.w.cfg.MaxResult; int64(len(raw)) > limit {
		return &agent.Error{
			Code: task.CodeResultTooLarge, Permanent: true,
			Message: fmt.Sprintf("the result has %d bytes, allowed are %d: store it elsewhere and return a reference", len(raw), limit),
		}
	}
	// The attempt is part of the name: a frozen worker must not write over its
	// heir's.
	err = at.untilAnswered(ctx, func() (err error) {
		t.Result, err = at.w.store.Artifacts.Put(ctx, t.Tenant, t.ID, "result-"+strconv.Itoa(t.Attempt), raw)
		return err
	})
	if err != nil {
		return &agent.Error{Code: task.CodeResultNotStored, Message: "the result could not be stored", Err: err}
	}
	return nil
}

// finish writes the terminal record and acks.
func (at *attempt) finish(ctx context.Context, t *task.Task, s task.State) error {
	now := time.Now()
	if t.StartedAt.IsZero() { // the processing write was skipped
		t.StartedAt = task.Stamp(at.began)
	}
	if err := t.To(s, now); err != nil {
		return err
	}
	err := at.write(ctx, t)
	switch {
	case refused(err):
		return at.unwritable(ctx, t, err)
	case err != nil:
		return at.unwritten(ctx, err)
	}
	at.done(ctx, t, now)
	return nil
}

// done tells that the task has ended, and lets the message go.
func (at *attempt) done(ctx context.Context, t *task.Task, now time.Time) {
	took := now.Sub(at.began)
	at.in.streak.note(took, t.Status == task.Completed)
	at.ended(ctx, t, task.Outcome(t.Status), took, "since_accept", now.Sub(t.CreatedAt))
	countFinished(t)
	at.ack(ctx)
}

// retry writes the pending record, queues the next attempt for its time, and
// acks; a turn's message is delivered again instead. A redelivery completes what
// a crash has cut off.
func (at *attempt) retry(ctx context.Context, t *task.Task, due time.Time) error {
	if !at.claimed { // it ended before its claim was due: a retry follows a claim
		if err := at.untilAnswered(ctx, func() error { return at.claim(ctx) }); err != nil {
			return at.unwritten(ctx, err)
		}
		t.Rebase(at.t)
		t.Status, t.StartedAt, t.Transitions = at.t.Status, at.t.StartedAt, at.t.Clone().Transitions
	}
	if err := t.To(task.Pending, time.Now()); err != nil {
		return err
	}
	t.NotBefore = task.Stamp(due)
	err := at.write(ctx, t)
	switch {
	case refused(err):
		return at.unwritable(ctx, t, err)
	case err != nil:
		return at.unwritten(ctx, err)
	}
	at.in.streak.note(0, false)
	at.ended(ctx, t, task.AttemptRetried, time.Since(at.began), "retry_in", time.Until(due))
	if at.session != nil { // its message stays where it is and keeps the session closed
		at.lease.end()
		return at.msg.Nak(time.Until(due))
	}
	return at.requeue(ctx, t)
}

// requeue queues t's next attempt, and acks. Until it has, the message comes
// again and is spent. Parts that the record has as well are left out where they
// would make the message too large.
func (at *attempt) requeue(ctx context.Context, t *task.Task) error {
	enqueue := func() error {
		_, err := at.w.store.Tasks.Enqueue(ctx, t)
		return err
	}
	err := at.untilAnswered(ctx, enqueue)
	if refused(err) {
		t = t.Clone()
		t.Output, t.Milestones, t.Transitions, t.Warnings, t.ErrorDetail = "", nil, nil, nil, ""
		err = at.untilAnswered(ctx, enqueue)
	}
	if err == nil {
		at.ack(ctx)
	}
	return err
}

// handBack returns a task to the queue at shutdown, as if this attempt had
// never begun.
func (at *attempt) handBack(ctx context.Context) error {
	if at.claimed {
		next := at.t.Clone()
		at.takeAll(next)
		next.Attempt--
		if err := next.To(task.Pending, time.Now()); err != nil {
			return err
		}
		if err := at.write(ctx, next); err != nil {
			return at.unwritten(ctx, err)
		}
	}
	at.ended(ctx, at.t, task.AttemptReturned, time.Since(at.began))
	at.lease.end()
	return at.msg.Nak(0)
}

// stopped notes on a canceled record that the agent has ended, the one
// annotation that a finished record may get.
func (at *attempt) stopped(ctx context.Context, o outcome) error {
	if o.gone {
		// It still runs: say nothing about its end, and let go of the message.
		at.ack(ctx)
		return nil
	}
	rec, err := at.annotate(ctx)
	if err != nil {
		return err
	}
	at.ended(ctx, rec, task.AttemptCanceled, time.Since(at.began))
	at.ack(ctx)
	return nil
}

func (at *attempt) annotate(ctx context.Context) (rec *task.Task, err error) {
	for {
		err = at.untilAnswered(ctx, func() error {
			rec, err = at.w.store.Tasks.Get(ctx, at.t.Tenant, at.id)
			if err != nil || rec.Status != task.Canceled || !rec.StoppedAt.IsZero() {
				return err
			}
			at.countChildren(ctx, rec)
			rec.StoppedAt = task.Stamp(time.Now())
			return at.w.store.Tasks.Save(ctx, rec)
		})
		if !errors.Is(err, task.ErrConflict) {
			return rec, err
		}
	}
}

// unwritten says why a record could not be written: somebody canceled the task
// in the meantime, or has its lease.
func (at *attempt) unwritten(ctx context.Context, err error) error {
	if !errors.Is(err, task.ErrConflict) {
		return err
	}
	var lost error
	look := at.untilAnswered(ctx, func() error {
		lost = at.verify(ctx)
		return lost
	})
	switch {
	case errors.Is(lost, agent.ErrCanceled):
		return at.stopped(ctx, outcome{})
	case errors.Is(lost, agent.ErrLeaseLost):
		at.lost(ctx)
		return nil
	}
	return cmp.Or(look, err)
}
