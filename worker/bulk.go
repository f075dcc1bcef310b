package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	"agentmesh/shared/pause"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// bulk takes the tasks of an agent that wait in bulk. One runs in the place of a ready
// task that has ended: in its slot, and before its message is acknowledged. So what
// runs of an agent in the mesh is bounded by what is held of the ready ones
// (max_in_flight), wherever it waited. Where slots are idle, tasks are promoted: they
// become ready.
//
// Ready tasks go first: a slot that they want is theirs after the task that runs. But
// for each bulkShare of them one in bulk runs.
type bulk struct {
	in *intake // of the bulk queue

	mu      sync.Mutex
	more    bool      // some wait, as far as is known
	asked   time.Time // when that was asked last without a sign of it
	ready   int       // tasks that have ended since one in bulk ran
	running int       // tasks in bulk
	moving  int       // messages that are promoted, or were a moment ago
	rests   bool      // nothing is promoted until it has a use
	looking bool      // somebody counts places
	places  store.Places
	moved   int            // since places were counted
	takers  []*store.Taker // that nobody uses: as many as there were slots in use at once
	closed  bool
}

const (
	bulkShare = 4
	// bulkLook is how often a worker without an idle slot looks whether tasks wait in
	// bulk; one with an idle slot is told.
	bulkLook = 50 * time.Millisecond
	// bulkPlaces is how long a count of the ready tasks is good.
	bulkPlaces = 10 * time.Millisecond // while tasks are quick
	// bulkRest is how long a worker promotes nothing when that had no use, at most; at
	// first it is bulkPlaces.
	bulkRest = time.Second
)

// quick reports whether tasks in bulk run, and each is over in a moment.
func (b *bulk) quick() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.running > 0 && b.in.streak.earned()
}

// wanted notes that a ready task has ended, and reports whether one in bulk may run in
// its place.
func (b *bulk) wanted() bool {
	idle := b.in.slots.open() > 0 // then a pull is open, and tells
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready++
	if !b.more && !idle && time.Since(b.asked) > bulkLook {
		b.more, b.asked = true, time.Now()
	}
	return b.more
}

// serve runs tasks in bulk in a seat, one after the other, until ctx is done or ready
// tasks want it. It returns the seat as it is then.
func (b *bulk) serve(ctx, work context.Context, s *seat) *seat {
	var taker *store.Taker
	defer func() { b.putBack(taker) }()
	for b.turn(ctx) {
		next := s.pass()
		if next == nil {
			return s
		}
		if s = next; taker == nil {
			taker = b.taker()
		}
		if taker == nil {
			return s
		}
		// The message of a turn that has come is run, also if ctx is done meanwhile.
		msg, err := taker.Next(work)
		if err != nil || msg == nil {
			b.none()
			return s
		}
		b.run(work, msg, s)
	}
	return s
}

// taker is one that nobody uses, nil: there is no connection.
func (b *bulk) taker() *store.Taker {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.takers); n > 0 {
		t := b.takers[n-1]
		b.takers = b.takers[:n-1]
		return t
	}
	t, err := b.in.w.store.Consumers.Taker(store.BulkQueue, b.in.agent.Name)
	if err != nil {
		b.in.w.log.Debug("tasks in bulk cannot be taken", "error", err)
		return nil
	}
	return t
}

func (b *bulk) putBack(t *store.Taker) {
	if t == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		t.Close()
		return
	}
	b.takers = append(b.takers, t)
}

// close ends the takers, those in use when they come back.
func (b *bulk) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.takers {
		t.Close()
	}
	b.takers, b.closed = nil, true
}

// run runs one task in bulk.
func (b *bulk) run(work context.Context, msg *store.Delivered, s *seat) {
	lease := keepLease(msg, b.in.w.cfg.Lease)
	defer lease.end()
	b.count(&b.running, 1)
	defer b.count(&b.running, -1)
	b.in.slots.ring() // there may be room for a ready one
	b.in.w.attend(work, b.in, msg, lease, s)
}

func (b *bulk) count(what *int, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*what += n
}

// none notes that no task waits in bulk.
func (b *bulk) none() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.more, b.asked = false, time.Now()
}

// turn reports whether the next task of a slot is one in bulk.
func (b *bulk) turn(ctx context.Context) bool {
	b.look(ctx)
	wanted, open := b.in.slots.wanted(), b.in.slots.open()
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() != nil || !b.more {
		return false
	}
	// Slots that are idle take those that wait, unless no more may run.
	if !wanted && b.places.Waiting > 0 && (b.places.Waiting > open || b.places.Free() <= 0) {
		wanted = true
		b.places.Waiting-- // the next slot is for the next one
	}
	if wanted && b.ready < bulkShare {
		return false
	}
	b.ready = 0
	return true
}

// look counts the ready tasks, unless that was done a moment ago or somebody does. An
// error leaves what is known.
func (b *bulk) look(ctx context.Context) {
	good := bulkPlaces
	if !b.in.streak.earned() {
		good /= 10 // nobody says when a ready task comes, see quick
	}
	b.mu.Lock()
	old := !b.looking && time.Since(b.places.At) >= good
	b.looking = b.looking || old
	b.mu.Unlock()
	if !old {
		return
	}
	p, err := b.in.w.store.Consumers.Places(ctx, store.TaskQueue, b.in.agent.Name)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.looking = false; err == nil {
		b.places, b.moved = p, 0
	}
}

// room is how many tasks may be promoted for the slots that are idle.
func (b *bulk) room() int {
	n := b.in.slots.open()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rests {
		return 0
	}
	return max(n-b.moving, 0)
}

// take promotes a task that has come for an idle slot, if that helps.
func (b *bulk) take(ctx, work context.Context, msg *store.Delivered) {
	b.mu.Lock()
	b.more = true
	b.moving++
	b.mu.Unlock()
	lease := keepLease(msg, b.in.w.cfg.Lease)
	b.in.w.attempts.Go(func() {
		defer lease.end()
		b.promote(ctx, work, msg)
		// The slot is taken in a moment.
		time.AfterFunc(bulkPlaces, func() { b.count(&b.moving, -1); b.in.slots.ring() })
	})
}

func (b *bulk) promote(ctx, work context.Context, msg *store.Delivered) {
	if !b.helps(ctx) {
		b.rest(ctx)
		_ = msg.Nak(0)
		return
	}
	err := b.in.w.store.Tasks.Promote(work, msg)
	if errors.Is(err, task.ErrBadRecord) {
		b.in.w.log.Error("queue message is no task, dropped", "subject", msg.Subject, "error", err)
		_ = msg.Drop()
	} else if err != nil {
		b.in.w.log.Debug("task in bulk not promoted", "error", err)
		b.rest(ctx)
		_ = msg.Nak(bulkRest)
	}
}

// helps reports whether one more ready task would be given to an idle slot now, and
// counts on it.
func (b *bulk) helps(ctx context.Context) bool {
	b.look(ctx)
	open := b.in.slots.open()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.places.Waiting+b.moved >= open || b.places.Free() <= b.moved {
		return false
	}
	b.moved++
	return true
}

// rest has nothing promoted until it helps.
func (b *bulk) rest(ctx context.Context) {
	b.mu.Lock()
	already := b.rests
	b.rests = true
	b.mu.Unlock()
	if already {
		return
	}
	b.in.w.attempts.Go(func() {
		for wait := bulkPlaces; pause.For(ctx, wait) && !b.helps(ctx); wait = min(2*wait, bulkRest) {
		}
		b.mu.Lock()
		b.rests, b.moved = false, 0
		b.mu.Unlock()
		b.in.slots.ring()
	})
}
