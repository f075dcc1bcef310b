package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/worker/agent"
)

// attempt is one run of one task: the delivered message, the record and the
// handler.
type attempt struct {
	patience
	w   *Worker
	in  *intake
	msg *store.Delivered
	id  task.ID

	queued *task.Task // as the message has it
	due    time.Time  // when the message might run, if not at once
	goesOn bool       // it has begun before, and was suspended

	rec     record
	waits   waits
	journal journal
	lines   lines // of an agent outside of Go
	talk    talk  // of a turn

	key     agent.Secret // by which the agent calls the mesh; empty: it does not
	keyHash string

	owed bool // the message is not acknowledged yet: tasks in bulk run in its place

	bell   bell
	looked atomic.Bool // somebody has the record looked at
	seat   *seat
	lease  *lease
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

// handle takes a delivered message from claim to acknowledgement, and before that,
// where tasks wait in bulk, some of them in its place. It returns when the handler
// has returned, however the attempt was settled.
func (w *Worker) handle(ctx, work context.Context, in *intake, msg *store.Delivered, lease *lease) {
	held := &seat{slots: in.slots}
	defer func() { held.leave() }()
	defer lease.end()
	if at := w.attend(work, in, msg, lease, held); at != nil && at.owed {
		held = in.bulk.serve(ctx, work, held)
		at.ack(work)
	}
}

// attend does so with one message in a seat. It returns nil when that has no task.
func (w *Worker) attend(work context.Context, in *intake, msg *store.Delivered, lease *lease, seat *seat) *attempt {
	queued, deliveries, err := msg.Task()
	if err != nil {
		w.log.Error("queue message is no task, dropped", "subject", msg.Subject, "error", err)
		_ = msg.Drop()
		return nil
	}
	ctx, span := w.startProcess(work, in.queue, msg, queued)
	p := patience{w.store, slog.New(&names{w.log.Handler(), queued, span})}
	at := &attempt{
		patience: p, w: w, in: in, msg: msg, id: queued.ID, queued: queued, due: queued.NotBefore,
		rec:  record{patience: p, id: queued.ID, worker: w.id, began: time.Now()},
		talk: talk{patience: p, sessions: w.core.Sessions, queued: queued},
		bell: newBell(), seat: seat, lease: lease,
	}
	w.running.expect(at)
	defer w.running.leave(at)
	err = at.begin(ctx, deliveries)
	telemetry.End(span, err)
	if err != nil {
		at.log.Warn("attempt given up, the task will be delivered again", "error", err)
	}
	return at
}

// run runs the handler until it ends, then settles.
func (at *attempt) run(parent context.Context) error {
	at.w.running.enter(at)
	defer at.w.running.leave(at)
	at.countStarted()
	ctx, stop := context.WithCancelCause(parent)
	defer stop(nil)

	done := make(chan outcome, 1)
	t := at.rec.t // a late claim replaces it while the handler starts
	at.waits.at, at.waits.stop, at.waits.known = at, stop, t.Answers
	at.rec.waits = &at.waits
	at.journal.begin(at, t, func() error { return context.Cause(ctx) })
	go func() { done <- at.call(ctx, stop, t) }()
	o := at.watchHandler(ctx, parent, stop, done)
	at.waits.close()
	at.journal.flags.close()
	final, cancel := lastly(parent)
	defer cancel()
	err := settlement{at, &at.rec}.settle(final, context.Cause(ctx), o)
	at.rec.unsaved = append(at.rec.unsaved, at.rec.reports.close()...)
	at.rec.tell(cmp.Or(context.Cause(ctx), errEnded))
	if !at.owed {
		at.lease.end()
	}
	if o.gone {
		at.log.Error("agent ignores its context: settled without it, its slot stays taken")
		<-done
	}
	return err
}

// limits end the context of a handler.
type limits struct{ timeout, deadline *time.Timer }

// limit ends the context of a handler after its timeout, and at the task's deadline.
func limit(t *task.Task, timeout time.Duration, stop context.CancelCauseFunc) limits {
	l := limits{timeout: time.AfterFunc(timeout, func() { stop(agent.ErrTimeout) })}
	if !t.Deadline.IsZero() {
		l.deadline = time.AfterFunc(time.Until(t.Deadline), func() { stop(agent.ErrDeadline) })
	}
	return l
}

func (l limits) release() {
	l.timeout.Stop()
	if l.deadline != nil {
		l.deadline.Stop()
	}
}

func (at *attempt) timeout(t *task.Task) time.Duration {
	return time.Duration(cmp.Or(t.Timeout, at.in.agent.Timeout))
}

// call runs the handler and survives its panic. The handler's time begins when
// its input has been read.
func (at *attempt) call(ctx context.Context, stop context.CancelCauseFunc, t *task.Task) (o outcome) {
	ctx, span := startAgent(ctx, at, t)
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			at.log.Error("agent panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			o = outcome{err: &agent.Error{Message: "the agent panicked", Detail: fmt.Sprintf("panic: %v", p)}, panicked: true}
		}
		endAgent(span, t.Agent, began, o.err)
	}()
	var input []byte
	err := at.untilAnswered(ctx, func() (err error) {
		input, err = at.store.Artifacts.Read(ctx, t.Input)
		return err
	})
	if errors.Is(err, task.ErrNotFound) {
		return outcome{err: &agent.Error{Code: task.CodeInputLost, Message: "the input outlived its retention", Permanent: true, Err: err}}
	}
	if err != nil {
		return outcome{err: &agent.Error{Code: task.CodeInputUnavailable, Message: "the input could not be read", Err: err}}
	}
	defer limit(t, at.timeout(t), stop).release()
	if err := at.goOn(ctx, t); err != nil {
		return outcome{err: err}
	}
	if t.Steps != nil {
		if err := at.journal.resume(ctx, t.Rev); err != nil {
			return outcome{err: err}
		}
	}
	if err := (renewal{&at.journal}).decide(ctx); err != nil {
		return outcome{err: err}
	}
	job := agent.NewJob(t, input, telemetry.TraceParent(ctx), at.rec.reports)
	job.MaxResult = at.w.cfg.MaxResult
	job.Key = at.key
	if at.talk.session != nil {
		job.Turn = at.talk.turn(t)
		job.Instruction = job.Turn.Text()
	}
	calls := &caller{at: at, parent: t, traceParent: job.TraceParent}
	at.lines.open(calls)
	o.value, o.err = at.in.agent.Handler(ctx, job.WithCaller(calls).WithJournal(&at.journal).WithLines(&at.lines))
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
			if !at.rec.claimed {
				at.guard(at.rec.claimLate(parent), stop)
			}
		case <-beat:
			if !at.rec.claimed { // the store was away when it should have been
				at.guard(at.rec.claimLate(parent), stop)
			}
			at.guard(at.rec.verify(parent), stop)
		case <-at.bell.rings:
			at.heed(parent, stop, ended == nil)
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

// heed does what the bell was rung for. ended: the context of the handler has.
func (at *attempt) heed(parent context.Context, stop context.CancelCauseFunc, ended bool) {
	if at.rec.reports.due.Swap(false) {
		at.guard(at.rec.report(parent, ended), stop)
	}
	for _, ask := range at.journal.flags.heard() {
		rev, err := at.rec.flag(parent, ask)
		at.guard(err, stop)
		ask.answer <- flagged{rev, err}
	}
	if at.looked.Swap(false) {
		at.guard(at.rec.verify(parent), stop)
	}
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
	at.looked.Store(true)
	at.bell.ring()
}

// letGo removes the queue message when nothing is to run in its place.
func (at *attempt) letGo(ctx context.Context) {
	if at.owed = at.in.queue == store.TaskQueue && at.in.bulk.wanted(); !at.owed {
		at.ack(ctx)
	}
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
		at.talk.publishNext(ctx)
	}
}

// keep encodes a result into t and stores it when it is large.
func (at *attempt) keep(ctx context.Context, t *task.Task, v any) *agent.Error {
	raw, err := task.Encode(v)
	if err != nil {
		return &agent.Error{Code: task.CodeAgentBadOutput, Message: "the result cannot be kept as JSON: " + err.Error(), Permanent: true, Err: err}
	}
	if limit := at.w.cfg.MaxResult; int64(len(raw)) > limit {
		return &agent.Error{
			Code: task.CodeResultTooLarge, Permanent: true,
			Message: fmt.Sprintf("the result has %d bytes, allowed are %d: store it elsewhere and return a reference", len(raw), limit),
		}
	}
	if t.Kind != task.KindTurn {
		if err := at.in.service.result.Fits(ctx, raw); err != nil {
			return &agent.Error{Code: task.CodeAgentBadOutput, Message: "the result breaks output_schema: " + err.Error(), Permanent: true}
		}
	}
	// The attempt is part of the name: a frozen worker must not write over its
	// heir's.
	err = at.untilAnswered(ctx, func() (err error) {
		t.Result, err = at.store.Artifacts.Put(ctx, t.Tenant, t.ID, "result-"+strconv.Itoa(t.Attempt), raw)
		return err
	})
	if err != nil {
		return &agent.Error{Code: task.CodeResultNotStored, Message: "the result could not be stored", Err: err}
	}
	return nil
}
