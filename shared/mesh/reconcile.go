package mesh

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
)

// Reconciler finds accepted work that no worker or notifier would get any more,
// and puts it into its queue again: a record that has not ended and has no
// message, a message that its consumer will not deliver, a schedule that did not
// fire. A mesh without a fault has none of it; each find is counted in
// mesh.reconciled and logged as an error. A double does no harm, since the claim
// of a task is a compare-and-set.
//
// Any number of gateways may run one; one at a time works.
type Reconciler struct {
	turns

	store *store.Store
	log   *slog.Logger
	who   string

	seen    map[place]sighting // messages that somebody holds
	held    map[place]uint64   // where the walk through an intake goes on; seq is 0
	leaders map[place]string   // of an intake's consumer, by the last look
	workers []store.Presence   // that live
	alive   map[string]bool    // their ids
	tasks   cursor             // through the records of tasks
	sent    cursor             // through those of deliveries
	talks   cursor             // through those of sessions
	later   [2]uint64          // through the schedules of tasks and of deliveries
	whole   time.Time          // when all records were read last
}

// place is a message of an agent's queue.
type place struct {
	kind  string
	agent string
	seq   uint64
}

// sighting is when a held message was seen first and last.
type sighting struct{ first, last time.Time }

// cursor goes through records, window by window.
type cursor struct {
	at    uint64
	hurry bool // until the end, without a rest
}

const (
	reconcileEvery = 15 * time.Second
	leadFor        = 3 * reconcileEvery
	// settleTime is what a record and its message may take to follow each other, on
	// clocks that differ.
	settleTime = 30 * time.Second
	// wholeEvery bounds how often a change of leaders has all records read.
	wholeEvery = 10 * time.Minute
	// heldBudget bounds the bytes that one look reads of what an agent holds.
	heldBudget = 8 << 20
)

// Kinds of work that is put back, as the metric names them.
const (
	lostTask     = "task"
	lostTurn     = "turn"
	lostDelivery = "delivery"
)

// NewReconciler makes one. who names the process, to others that run one.
func NewReconciler(st *store.Store, who string, log *slog.Logger) *Reconciler {
	for _, kind := range []string{lostTask, lostTurn, lostDelivery} {
		telemetry.Reconciled.Add(0, kind)
	}
	return &Reconciler{
		turns: turns{store: st}, store: st, log: log, who: who,
		seen: map[place]sighting{}, held: map[place]uint64{}, leaders: map[place]string{},
		tasks: cursor{hurry: true}, sent: cursor{hurry: true}, talks: cursor{hurry: true},
	}
}

// Run looks at once and then every 15 s, until ctx is done; then it returns nil.
func (r *Reconciler) Run(ctx context.Context) error {
	tick := time.NewTicker(reconcileEvery)
	defer tick.Stop()
	for {
		if err := r.Look(ctx); err != nil && ctx.Err() == nil {
			r.log.Debug("reconciler could not look, it will again", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Look looks once, unless another process does. The first look reads every
// record, as one after a change of leaders does; the others read a window each.
func (r *Reconciler) Look(ctx context.Context) error {
	mine, err := r.store.Repair.Lead(ctx, r.who, leadFor)
	if err != nil || !mine {
		return err
	}
	workers, err := r.store.Registry.Workers(ctx)
	if err != nil {
		return err
	}
	r.workers, r.alive = workers, map[string]bool{}
	for _, w := range workers {
		r.alive[w.WorkerID] = true
	}
	now := time.Now()
	var errs []error
	for _, look := range []func(context.Context, time.Time) error{r.queues, r.bulk, r.schedules, r.dueDeliveries, r.sessions, r.records, r.deliveryRecords} {
		errs = append(errs, look(ctx, now))
	}
	for at, s := range r.seen {
		if now.Sub(s.last) > wholeEvery {
			delete(r.seen, at)
		}
	}
	return errors.Join(errs...)
}

// queues looks at what the agents' consumers hold.
func (r *Reconciler) queues(ctx context.Context, now time.Time) error {
	for _, q := range store.Queues {
		intakes, err := r.store.Repair.Intakes(ctx, q)
		if err != nil {
			return err
		}
		for _, in := range intakes {
			w := r.walking(place{kind: q.Template(), agent: in.Agent}, in, now)
			var lost []*task.Task
			next, err := r.store.Repair.Held(ctx, q, in, w.from, heldBudget, func(t *task.Task) {
				if w.suspect(t.QueueSeq) {
					lost = append(lost, t)
				}
			})
			if err != nil {
				return err
			}
			w.end(next)
			for _, t := range lost {
				if w.lost(t.QueueSeq) {
					if err := r.deliverAgain(ctx, in, t, now); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// walked is one look at what a consumer has delivered and is still there.
type walked struct {
	r    *Reconciler
	at   place
	in   store.Intake
	now  time.Time
	from uint64
	met  int
	more bool // than the server knows to be with somebody
}

func (r *Reconciler) walking(at place, in store.Intake, now time.Time) *walked {
	before, known := r.leaders[at]
	r.leaders[at] = in.Leader
	if known && before != in.Leader && now.Sub(r.whole) > wholeEvery {
		r.tasks.hurry, r.sent.hurry, r.talks.hurry = true, true, true
	}
	return &walked{r: r, at: at, in: in, now: now, from: r.held[at]}
}

// suspect reports whether a message may not come again: its consumer takes it for
// acknowledged, or nobody has got it for two leases although somebody asks.
func (w *walked) suspect(seq uint64) bool {
	w.met++
	if seq <= w.in.Floor {
		return true
	}
	at := place{w.at.kind, w.at.agent, seq}
	s, known := w.r.seen[at]
	if !known || !w.in.Asking {
		s.first = w.now
	}
	s.last = w.now
	w.r.seen[at] = s
	return w.now.Sub(s.first) > 2*w.in.Lease+settleTime
}

// end notes where the next look goes on, 0: this one has met all that is left.
func (w *walked) end(next uint64) {
	w.r.held[w.at] = next
	w.more = w.from == 0 && next == 0 && w.met > w.in.Unacked
}

// lost reports whether a suspect is lost. Somebody may hold a message for hours;
// the server counts those that are held.
func (w *walked) lost(seq uint64) bool { return seq <= w.in.Floor || w.more }

// deliverAgain puts back a task whose message is suspect, unless its record says
// that somebody works on it.
func (r *Reconciler) deliverAgain(ctx context.Context, in store.Intake, queued *task.Task, now time.Time) error {
	rec, err := r.store.Tasks.Get(ctx, queued.Tenant, queued.ID)
	if errors.Is(err, task.ErrNotFound) {
		rec, err = queued, nil
	}
	if err != nil {
		return err
	}
	acked := queued.QueueSeq <= in.Floor
	switch {
	case rec.Status.Terminal():
		return r.withdraw(ctx, rec)
	case !acked && rec.Status == task.Processing && rec.Lease != nil && rec.Lease.Seq == queued.QueueSeq && r.alive[rec.Lease.Worker]:
		return nil
	case !acked && now.Before(rec.NotBefore.Add(settleTime)): // of a turn: a delayed redelivery
		return nil
	}
	return r.putBack(ctx, rec, queued.QueueSeq, "its consumer would not deliver it again")
}

func (r *Reconciler) withdraw(ctx context.Context, t *task.Task) error {
	if t.Kind == task.KindTurn {
		return r.store.Turns.Withdraw(ctx, t)
	}
	return r.store.Tasks.Withdraw(ctx, t)
}

// putBack queues a task again, in place of the message seq (0: there is none).
func (r *Reconciler) putBack(ctx context.Context, rec *task.Task, seq uint64, why string) error {
	next := rec.Clone()
	if next.Status == task.Processing { // the worker that had it lets go of it
		next.Lease = nil
		if err := next.To(task.Pending, time.Now()); err != nil {
			return err
		}
	}
	if next.Status != rec.Status || next.Kind == task.KindTurn && next.Rev == 0 {
		err := r.store.Records.Fit(ctx, next)
		if errors.Is(err, task.ErrConflict) {
			return nil // somebody works on it after all
		}
		if err != nil {
			return err
		}
	}
	next.QueueSeq = seq
	err := r.store.Repair.Requeue(ctx, next)
	if errors.Is(err, session.ErrBusy) {
		return nil // its session has another turn open; a later look finds it again
	}
	if err != nil {
		return err
	}
	kind := lostTask
	if next.Kind == task.KindTurn {
		kind = lostTurn
	}
	telemetry.Reconciled.Add(1, kind)
	r.log.Error("a task would have been lost and was queued again", "task", next.ID, "agent", next.Agent, "status", rec.Status, "reason", why)
	return nil
}

// schedules looks for those that should have fired.
func (r *Reconciler) schedules(ctx context.Context, now time.Time) (err error) {
	var late []*task.Task
	r.later[0], err = r.store.Repair.Scheduled(ctx, r.later[0], heldBudget, func(t *task.Task) {
		if now.Sub(t.NotBefore) > 2*settleTime {
			late = append(late, t)
		}
	})
	for _, t := range late {
		if err == nil {
			err = r.fire(ctx, t)
		}
	}
	return err
}

// fire queues a task whose schedule did not.
func (r *Reconciler) fire(ctx context.Context, queued *task.Task) error {
	rec, err := r.store.Tasks.Get(ctx, queued.Tenant, queued.ID)
	if errors.Is(err, task.ErrNotFound) {
		rec, err = queued, nil
	}
	switch {
	case err != nil:
		return err
	case rec.Status.Terminal():
		return r.withdraw(ctx, rec)
	case rec.Status == task.Processing: // under another message
		return nil
	}
	return r.putBack(ctx, rec, queued.QueueSeq, "its schedule did not fire")
}

// records looks whether tasks that have not ended have a message.
func (r *Reconciler) records(ctx context.Context, now time.Time) error {
	return r.tasks.walk(ctx, func(from uint64) (uint64, error) {
		var open []*task.Task
		next, err := r.store.Repair.Records(ctx, from, func(t *task.Task) {
			if now.Sub(changed(t)) > settleTime {
				open = append(open, t)
			}
		})
		if err != nil {
			return from, err
		}
		for _, t := range open {
			if err := r.checkRecord(ctx, t); err != nil {
				return from, err
			}
		}
		if next == 0 {
			r.whole = now
		}
		return next, nil
	})
}

func changed(t *task.Task) time.Time {
	if t.UpdatedAt.After(t.CreatedAt) {
		return t.UpdatedAt
	}
	return t.CreatedAt
}

// checkRecord puts back a task that has no message. A worker that lives has more
// than the record: it will say what became of it.
func (r *Reconciler) checkRecord(ctx context.Context, t *task.Task) error {
	if t.Status == task.Processing && t.Lease != nil && r.alive[t.Lease.Worker] {
		return nil
	}
	has, err := r.store.Repair.HasMessage(ctx, t)
	if err != nil || has {
		return err
	}
	// The message went after the record was read, or before: the record tells.
	newest, err := r.store.Tasks.Get(ctx, t.Tenant, t.ID)
	if errors.Is(err, task.ErrNotFound) || err == nil && newest.Rev != t.Rev {
		return nil
	}
	if err != nil {
		return err
	}
	if _, waits, err := r.tendTurn(ctx, newest); err != nil || waits {
		return err // it stands in its session's queue
	}
	return r.putBack(ctx, newest, 0, "the queue had no message of it")
}

// sessions opens the next turn where turns wait and none is open: the process
// that ended the last one died before it could.
func (r *Reconciler) sessions(ctx context.Context, _ time.Time) error {
	return r.talks.walk(ctx, func(from uint64) (uint64, error) {
		type of struct {
			tenant  string
			session session.ID
		}
		var queues []of
		next, err := r.store.Repair.QueuesOfSessions(ctx, from, func(tenant string, id session.ID) { queues = append(queues, of{tenant, id}) })
		if err != nil {
			return from, err
		}
		for _, q := range queues {
			opened, err := r.publishNext(ctx, q.tenant, q.session)
			if err != nil {
				return from, err
			}
			if opened != "" {
				r.log.Info("the next turn of a session was opened", "session", q.session, "task", opened)
			}
		}
		return next, nil
	})
}

// walk goes on through the windows: one, or in a hurry all of them.
func (c *cursor) walk(ctx context.Context, window func(from uint64) (next uint64, err error)) error {
	for ctx.Err() == nil {
		next, err := window(c.at)
		if err != nil {
			return err
		}
		if c.at = next; next == 0 {
			c.hurry = false
		}
		if !c.hurry {
			return nil
		}
	}
	return ctx.Err()
}
