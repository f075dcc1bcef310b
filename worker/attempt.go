package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/worker/agent"
)

// attempt is one run of one task: the delivered message, the record as this
// worker last wrote it, and the handler. Only the goroutine of handle touches
// the record.
type attempt struct {
	w   *Worker
	in  *intake
	msg *store.Delivered
	log *slog.Logger
	id  task.ID

	queued *task.Task // as the message has it

	t       *task.Task // the record; t.Rev 0 while it is not written
	claimed bool       // the processing state is written
	began   time.Time
	due     time.Time // when the message might run, if not at once

	session *session.Session // of a turn, as this attempt last read or wrote it
	reply   mesh.Reply       // of a turn

	reports *reports
	unsaved []pendingMilestone // taken from reports, and in no record that is known to be written
	flushed time.Time
	looks   chan struct{}
	seat    *seat
	lease   *lease
}

// stopGrace is how long a handler may take to return after its context ended;
// then the attempt is settled without it. Its slot stays taken until it returns.
const stopGrace = 8 * time.Second // longer than a program has between SIGTERM and SIGKILL

// lastWord is how long an attempt may wait for the store once the drain is over.
const lastWord = 3 * time.Second

// outcome is what a handler left.
type outcome struct {
	value    any
	err      error
	panicked bool
	gone     bool // it did not return in time
}

// handle takes a delivered message from claim to acknowledgement. It returns
// when the handler has returned, however the attempt was settled.
func (w *Worker) handle(work context.Context, in *intake, msg *store.Delivered, lease *lease) {
	seat := &seat{slots: in.slots}
	defer seat.leave()
	defer lease.end()
	queued, deliveries, err := msg.Task()
	if err != nil {
		w.log.Error("queue message is no task, dropped", "subject", msg.Subject, "error", err)
		_ = msg.Drop()
		return
	}
	ctx, span := w.startProcess(work, in.queue, msg, queued)
	at := &attempt{
		w: w, in: in, msg: msg, id: queued.ID, queued: queued, began: time.Now(), due: queued.NotBefore, looks: make(chan struct{}, 1), seat: seat, lease: lease,
		log: w.log.With("task", queued.ID, "agent", queued.Agent, "trace_id", telemetry.TraceID(ctx)),
	}
	err = at.begin(ctx, queued, deliveries)
	telemetry.End(span, err)
	if err != nil {
		at.log.Warn("attempt given up, the task will be delivered again", "error", err)
	}
}

// run runs the handler until it ends, then settles.
func (at *attempt) run(parent context.Context) error {
	at.w.enter(at)
	defer at.w.leave(at)
	at.countStarted()
	ctx, stop := context.WithCancelCause(parent)
	defer stop(nil)

	done := make(chan outcome, 1)
	t := at.t // a late claim replaces it while the handler starts
	go func() { done <- at.call(ctx, stop, t) }()
	o := at.watchHandler(ctx, parent, stop, done)
	final, cancel := endLater(parent, lastWord)
	defer cancel()
	err := at.settle(final, context.Cause(ctx), o)
	at.unsaved = append(at.unsaved, at.reports.close()...)
	at.tell(cmp.Or(context.Cause(ctx), errEnded))
	at.lease.end()
	if o.gone {
		at.log.Error("agent ignores its context: settled without it, its slot stays taken")
		<-done
	}
	return err
}

// limit ends the attempt at its timeout and at the task's deadline.
func (at *attempt) limit(t *task.Task, stop context.CancelCauseFunc) (release func()) {
	timers := []*time.Timer{time.AfterFunc(at.timeout(t), func() { stop(agent.ErrTimeout) })}
	if !t.Deadline.IsZero() {
		timers = append(timers, time.AfterFunc(time.Until(t.Deadline), func() { stop(agent.ErrDeadline) }))
	}
	return func() {
		for _, t := range timers {
			t.Stop()
		}
	}
}

func (at *attempt) timeout(t *task.Task) time.Duration {
	return time.Duration(cmp.Or(t.Timeout, at.in.agent.Timeout))
}

// call runs the handler and survives its panic. The handler's time begins when
// its input has been read.
func (at *attempt) call(ctx context.Context, stop context.CancelCauseFunc, t *task.Task) (o outcome) {
	ctx, span := telemetry.StartAgent(ctx, t.Agent, at.in.agent.Version, at.in.agent.Remote, telemetry.TaskID(at.id), telemetry.Attempt(t.Attempt))
	defer func() {
		if p := recover(); p != nil {
			at.log.Error("agent panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			o = outcome{err: &agent.Error{Message: "the agent panicked", Detail: fmt.Sprintf("panic: %v", p)}, panicked: true}
		}
		telemetry.End(span, o.err)
	}()
	var input []byte
	err := at.untilAnswered(ctx, func() (err error) {
		input, err = at.w.store.Artifacts.Read(ctx, t.Input)
		return err
	})
	if errors.Is(err, task.ErrNotFound) {
		return outcome{err: &agent.Error{Code: task.CodeInputLost, Message: "the input outlived its retention", Permanent: true, Err: err}}
	}
	if err != nil {
		return outcome{err: &agent.Error{Code: task.CodeInputUnavailable, Message: "the input could not be read", Err: err}}
	}
	defer at.limit(t, stop)()
	job := agent.NewJob(t, input, telemetry.TraceParent(ctx), at.reports)
	job.MaxResult = at.w.cfg.MaxResult
	if at.session != nil {
		job.Turn = at.turn(t)
	}
	o.value, o.err = at.in.agent.Handler(ctx, job.WithCaller(&caller{at: at, parent: t, traceParent: job.TraceParent}))
	return o
}

// watchHandler writes what the job reports, and looks at the record now and then,
// until the handler has returned or had its grace. ctx is the handler's, parent
// outlives it.
func (at *attempt) watchHandler(ctx, parent context.Context, stop context.CancelCauseFunc, done <-chan outcome) outcome {
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
			at.guard(at.report(parent, ended == nil), stop)
		case <-beat:
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

// report writes what the job has told. Nobody waits for milestones any more once
// the attempt's context has ended: they are written now and then, all together.
func (at *attempt) report(ctx context.Context, ended bool) error {
	if !at.claimed {
		if err := at.claimLate(ctx); err != nil {
			at.reports.again(flushEvery)
			return err
		}
	}
	if pause := flushEvery - time.Since(at.flushed); ended && pause > 0 {
		at.reports.again(pause)
		return nil
	}
	at.flushed = time.Now()
	return at.flush(ctx)
}

// guard ends the handler when the record says that it works in vain.
func (at *attempt) guard(err error, stop context.CancelCauseFunc) {
	switch {
	case err == nil:
	case errors.Is(err, agent.ErrCanceled), errors.Is(err, agent.ErrLeaseLost):
		stop(err)
	default: // it is tried again, and the last word is a compare-and-set
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

// flush writes the newest progress and every milestone that waits, in one
// revision. While the store is away they wait on, and the agent with them.
func (at *attempt) flush(ctx context.Context) error {
	at.unsaved = append(at.unsaved, at.reports.takeMilestones()...)
	next := at.t.Clone()
	at.addMilestones(next)
	at.reports.take(next)
	next.UpdatedAt = task.Stamp(time.Now())
	err := at.put(ctx, next)
	switch {
	case err == nil:
		at.t = next
		at.tell(nil)
	case errors.Is(err, task.ErrConflict):
		if err = at.whyLost(ctx); away(err) {
			at.reports.again(retryFirst)
		}
	case refused(err): // a side note must not cost the work
		for _, p := range at.unsaved {
			at.reports.Warn(fmt.Sprintf("milestone %s was left out: the record of the task is full", p.m.Name))
		}
		at.tell(nil)
	default:
		at.reports.again(flushEvery)
	}
	return err
}

// addMilestones puts the milestones that are in no record yet into t.
func (at *attempt) addMilestones(t *task.Task) {
	for _, p := range at.unsaved {
		t.AddMilestone(p.m)
	}
}

// tell tells the agent what became of the milestones that it waits for.
func (at *attempt) tell(err error) {
	for _, p := range at.unsaved {
		p.done <- err
	}
	at.unsaved = nil
}

// ack removes the queue message, and waits for the server's word on it: an ack
// that is lost costs a redelivery, which finds the record settled.
func (at *attempt) ack(ctx context.Context) {
	at.lease.end()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := at.msg.AckSync(ctx); err != nil {
		at.log.Debug("ack not confirmed", "error", err)
	}
	if at.in.queue == store.TurnQueue {
		at.publishNext(ctx)
	}
}
