package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/worker/agent"
	"github.com/nats-io/nats.go"
)

// attempt is one run of one task: the delivered message, the record as this
// worker last wrote it, and the handler. Only the goroutine of handle touches
// the record.
type attempt struct {
	w   *Worker
	in  *intake
	msg *nats.Msg
	log *slog.Logger
	id  string

	queued *task.Task // as the message has it

	t       *task.Task // the record; t.Rev 0 while it is not written
	claimed bool       // the processing state is written
	began   time.Time
	due     time.Time // when the message might run, if not at once

	session *session.Session // of a turn, as this attempt last read or wrote it
	reply   reply            // of a turn

	reports *reports
	looks   chan struct{}
	seat    *seat
}

// stopGrace is how long a handler may take to return after its context ended;
// then the attempt is settled without it. Its slot stays taken until it returns.
const stopGrace = 8 * time.Second // longer than a program has between SIGTERM and SIGKILL

// outcome is what a handler left.
type outcome struct {
	value    any
	err      error
	panicked bool
	gone     bool // it did not return in time
}

// handle takes a delivered message from claim to acknowledgement. It returns
// when the handler has returned, however the attempt was settled.
func (w *Worker) handle(work context.Context, in *intake, msg *nats.Msg) {
	seat := &seat{slots: in.slots}
	defer seat.leave()
	queued, deliveries, err := store.QueuedTask(msg)
	if err != nil {
		w.log.Error("queue message is no task, dropped", "subject", msg.Subject, "error", err)
		_ = msg.Term()
		return
	}
	ctx, span := w.startProcess(work, in.queue, msg, queued, deliveries)
	at := &attempt{
		w: w, in: in, msg: msg, id: queued.ID, queued: queued, began: time.Now(), due: queued.NotBefore, looks: make(chan struct{}, 1), seat: seat,
		log: w.log.With("task", queued.ID, "agent", queued.Agent, "trace_id", telemetry.TraceID(ctx)),
	}
	at.reports = newReports(w.store, queued)
	err = at.begin(ctx, queued, deliveries)
	telemetry.End(span, err)
	if err != nil {
		at.log.Warn("attempt given up, the task will be delivered again", "error", err)
	}
}

// begin decides what the message asks for and does it. An error leaves the
// message to be delivered again.
func (at *attempt) begin(ctx context.Context, queued *task.Task, deliveries int) error {
	var record *task.Task
	var err error
	first := deliveries == 1 && queued.Attempt == 0 && !queued.Waited
	for {
		if !first { // somebody may have written the record
			if record, err = at.read(ctx, queued); err != nil {
				return err
			}
		}
		d := decide(queued, record, deliveries, at.in.agent.Definition, at.w.id, time.Now())
		at.follow(ctx, record, d)
		if d.verb == run && d.task.ParentID != "" {
			if d, err = at.underParent(ctx, d); err != nil {
				return err
			}
		}
		if queued.Kind == task.KindTurn && (d.verb == run || d.verb == end) {
			if d, err = at.inSession(ctx, d, deliveries); err != nil {
				return err
			}
		}
		at.t = d.task
		switch d.verb {
		case forget:
			at.log.Debug("nothing to do", "reason", d.why)
			at.ack(ctx)
			return nil
		case requeue:
			if _, err := at.w.store.Enqueue(ctx, d.task, nil); err != nil {
				return err
			}
			at.ack(ctx)
			return nil
		case end:
			err = at.w.store.Save(ctx, d.task)
			if err == nil {
				at.log.InfoContext(ctx, "task ended without an attempt", "status", d.task.Status, "reason", d.why)
				countFinished(d.task)
				at.ack(ctx)
				return nil
			}
		case run:
			if !first || at.session != nil || !at.in.streak.earned() {
				err = at.claim(ctx)
			}
			if err == nil {
				return at.run(ctx)
			}
		}
		if !errors.Is(err, task.ErrConflict) {
			return err
		}
		first, err = false, nil
	}
}

// underParent has a task end that would run under a canceled parent: the cancel
// may have come when nobody knew this task yet.
func (at *attempt) underParent(ctx context.Context, d decision) (decision, error) {
	parent, err := at.w.store.Get(ctx, d.task.Tenant, d.task.ParentID)
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
	t, err := at.w.store.Get(ctx, queued.Tenant, queued.ID)
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
	err := at.w.store.Save(ctx, next)
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
		return cmp.Or(at.verify(ctx), error(agent.ErrLeaseLost))
	}
	return err
}

// run runs the handler and keeps the lease until it ends, then settles.
func (at *attempt) run(parent context.Context) error {
	at.w.enter(at)
	defer at.w.leave(at)
	at.countStarted()
	ctx, stop := context.WithCancelCause(parent)
	defer stop(nil)
	defer at.limit(stop)()

	done := make(chan outcome, 1)
	t := at.t // a late claim replaces it while the handler starts
	go func() { done <- at.call(ctx, t) }()
	o := at.attend(ctx, parent, stop, done)
	err := at.settle(ctx, o)
	if o.gone {
		at.log.Error("agent ignores its context: settled without it, its slot stays taken")
		<-done
	}
	return err
}

// limit ends the attempt at its timeout and at the task's deadline.
func (at *attempt) limit(stop context.CancelCauseFunc) (release func()) {
	timers := []*time.Timer{time.AfterFunc(at.timeout(), func() { stop(agent.ErrTimeout) })}
	if !at.t.Deadline.IsZero() {
		timers = append(timers, time.AfterFunc(time.Until(at.t.Deadline), func() { stop(agent.ErrDeadline) }))
	}
	return func() {
		for _, t := range timers {
			t.Stop()
		}
	}
}

func (at *attempt) timeout() time.Duration {
	return time.Duration(cmp.Or(at.t.Timeout, at.in.agent.Timeout))
}

// call runs the handler and survives its panic.
func (at *attempt) call(ctx context.Context, t *task.Task) (o outcome) {
	ctx, span := telemetry.StartAgent(ctx, t.Agent, at.in.agent.Version, at.in.agent.Remote, telemetry.TaskID(at.id), telemetry.Attempt(t.Attempt))
	defer func() {
		if p := recover(); p != nil {
			at.log.Error("agent panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			o = outcome{err: fmt.Errorf("panic: %v", p), panicked: true}
		}
		telemetry.End(span, o.err)
	}()
	input, err := at.w.store.Value(ctx, t.Input)
	if errors.Is(err, task.ErrNotFound) {
		return outcome{err: &agent.Error{Code: task.CodeInputLost, Message: "the input outlived its retention", Permanent: true, Err: err}}
	}
	if err != nil {
		return outcome{err: &agent.Error{Code: task.CodeInputUnavailable, Message: "the input could not be read", Err: err}}
	}
	job := agent.NewJob(t, input, telemetry.TraceParent(ctx), at.reports)
	job.MaxResult = at.w.cfg.MaxResult
	if at.session != nil {
		job.Turn = at.turn(t)
	}
	o.value, o.err = at.in.agent.Handler(ctx, job.WithCaller(&caller{at: at, parent: t, traceParent: job.TraceParent}))
	return o
}

// attend keeps the lease, writes what the job reports, and looks at the record
// now and then, until the handler has returned or had its grace. ctx is the
// handler's, parent outlives it.
func (at *attempt) attend(ctx, parent context.Context, stop context.CancelCauseFunc, done <-chan outcome) outcome {
	late := time.NewTimer(quickEnd) // when an attempt that is not claimed must be
	defer late.Stop()
	var beat, grace <-chan time.Time
	ended := ctx.Done()
	for {
		select {
		case o := <-done:
			return o
		case <-late.C:
			heart := time.NewTicker(at.w.cfg.Lease / 3)
			defer heart.Stop()
			beat = heart.C
			if !at.claimed {
				at.guard(at.claimLate(parent), stop)
			}
		case <-at.reports.due:
			if !at.claimed {
				at.guard(at.claimLate(parent), stop)
			}
			if at.claimed {
				at.guard(at.flush(parent), stop)
			}
		case <-beat:
			_ = at.msg.InProgress()
			if !at.claimed { // the store was away when it should have been
				at.guard(at.claimLate(parent), stop)
			}
			at.guard(at.verify(parent), stop)
		case <-at.looks:
			at.guard(at.verify(parent), stop)
		case <-ended:
			ended = nil
			t := time.NewTimer(stopGrace)
			defer t.Stop()
			grace = t.C
		case <-grace:
			return outcome{gone: true, err: context.Cause(ctx)}
		}
	}
}

// guard ends the handler when the record says that it works in vain.
func (at *attempt) guard(err error, stop context.CancelCauseFunc) {
	switch {
	case err == nil:
	case errors.Is(err, agent.ErrCanceled), errors.Is(err, agent.ErrLeaseLost):
		stop(err)
	default: // the next heartbeat tries again, and the last word is a compare-and-set
		at.log.Debug("record not reached", "error", err)
	}
}

// look has the attempt read its record soon.
func (at *attempt) look() {
	select {
	case at.looks <- struct{}{}:
	default:
	}
}

// verify reads the record and returns why the attempt may not go on, if so.
func (at *attempt) verify(ctx context.Context) error {
	rec, err := at.w.store.Get(ctx, at.t.Tenant, at.id)
	switch {
	case errors.Is(err, task.ErrNotFound) && !at.claimed:
		return nil
	case err != nil && !errors.Is(err, task.ErrNotFound):
		return err
	case err == nil && rec.Status == task.Canceled:
		return agent.ErrCanceled
	case err == nil && at.holds(rec):
		return nil
	}
	return agent.ErrLeaseLost
}

// holds reports whether rec is this attempt's own.
func (at *attempt) holds(rec *task.Task) bool {
	return at.claimed && rec.Status == task.Processing && rec.Attempt == at.t.Attempt &&
		rec.Lease != nil && rec.Lease.Worker == at.w.id && rec.Lease.Seq == at.t.Lease.Seq
}

// flush writes the newest progress and every new milestone, each milestone as a
// revision of its own.
func (at *attempt) flush(ctx context.Context) error {
	for {
		next := at.t.Clone()
		milestone, more := at.reports.takeMilestone(next)
		at.reports.take(next)
		next.UpdatedAt = task.Stamp(time.Now())
		err := at.w.store.Save(ctx, next)
		if errors.Is(err, task.ErrConflict) {
			if lost := at.verify(ctx); lost != nil {
				err = lost
			}
		}
		if milestone != nil {
			milestone <- err
		}
		if err != nil {
			return err
		}
		at.t = next
		if !more {
			return nil
		}
	}
}

// ack removes the queue message, and waits for the server's word on it: an ack
// that is lost costs a redelivery, which finds the record settled.
func (at *attempt) ack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := at.msg.AckSync(nats.Context(ctx)); err != nil {
		at.log.Debug("ack not confirmed", "error", err)
	}
	if at.in.queue == store.TurnQueue {
		at.publishNext(ctx)
	}
}
