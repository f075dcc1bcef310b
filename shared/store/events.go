package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Watch follows the record of one task through a core subscription: no
// goroutine and no consumer on the server. The server republishes changes at
// most once, so the watcher reads the record itself now and then; a record
// tells all that happened before it (task.Events), so nothing is missed.
type Watch struct {
	s      *core
	tenant string
	id     task.ID
	sub    *nats.Subscription
	out    *nats.Subscription // of its live output
	steps  *nats.Subscription // of its journal
	msgs   chan *nats.Msg
}

// Repair times of a watch: soon after it began, since in a cluster the interest
// takes a moment to reach the leader, then rarely.
const (
	repairFirst = time.Second
	repairEvery = 15 * time.Second
)

// Watch begins to follow a task. Subscribe first, then read the record: a change
// in between is in one or the other. live: what its agent says and finishes comes too,
// at most once. Close it.
func (s Tasks) Watch(tenant string, id task.ID, live bool) (*Watch, error) {
	if !id.Valid() { // as a subject it could stand for others
		return nil, task.ErrNotFound
	}
	w := &Watch{s: s.core, tenant: tenant, id: id, msgs: make(chan *nats.Msg, 16)}
	if live {
		w.msgs = make(chan *nats.Msg, 256)
	}
	var err error
	if w.sub, err = s.nc.ChanSubscribe(topology.TaskEvents(tenant, id), w.msgs); err != nil {
		return nil, fmt.Errorf("watch task %s: %w", id, classify(err))
	}
	if live {
		if w.out, err = s.nc.ChanSubscribe(topology.TaskOutput(tenant, id), w.msgs); err == nil {
			w.steps, err = s.nc.ChanSubscribe(topology.StepEvents(tenant, id), w.msgs)
		}
		if err != nil {
			w.Close()
			return nil, fmt.Errorf("watch output of task %s: %w", id, classify(err))
		}
	}
	return w, nil
}

// Close ends the watch.
func (w *Watch) Close() {
	for _, sub := range []*nats.Subscription{w.sub, w.out, w.steps} {
		if sub != nil {
			_ = sub.Unsubscribe()
		}
	}
}

// Update is a newer record, a piece of live output, or a new entry of the journal.
type Update struct {
	Task   *task.Task
	Output []byte // as given to PublishOutput
	Step   *task.Entry
}

// Updates calls f with each record newer than revision rev, in order, and with
// what is live, until f returns false or ctx ends; then it returns nil or ctx's
// error. A task that is deleted meanwhile is task.ErrDeleted. It is for one goroutine.
func (w *Watch) Updates(ctx context.Context, rev uint64, f func(Update) bool) error {
	return w.UpdatesWithin(ctx, context.Background(), forever, rev, f)
}

// forever is longer than anybody waits.
const forever = time.Duration(math.MaxInt64)

// UpdatesWithin is Updates for d at most, and until closing ends: then it returns nil,
// too. One timer does for both, and no context is made: most who wait do so for a moment.
func (w *Watch) UpdatesWithin(ctx, closing context.Context, d time.Duration, rev uint64, f func(Update) bool) error {
	over := time.Now().Add(d)
	timer := time.NewTimer(min(d, repairFirst))
	defer timer.Stop()
	deliver := func(t *task.Task) bool {
		if t == nil || t.Rev <= rev {
			return true
		}
		rev = t.Rev
		return f(Update{Task: t})
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case msg := <-w.msgs:
			if msg.Sub == w.sub && msg.Header.Get(headerOperation) != "" {
				return fmt.Errorf("follow task %s: %w", w.id, task.ErrDeleted)
			}
			if more := w.tell(msg, deliver, f); !more {
				return nil
			}
		case <-closing.Done():
			return nil
		case <-timer.C:
			left := time.Until(over)
			if left <= 0 {
				return nil
			}
			timer.Reset(min(left, repairEvery))
			// A reader that cannot reach the store keeps its subscription and
			// tries again: the connection heals itself.
			t, err := w.read(ctx, closing, left)
			if errors.Is(err, task.ErrDeleted) {
				return err
			}
			if err == nil && !deliver(t) {
				return nil
			}
		}
	}
}

// read reads the record within d.
func (w *Watch) read(ctx, closing context.Context, d time.Duration) (*task.Task, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	defer context.AfterFunc(closing, cancel)()
	return Tasks{w.s}.Get(ctx, w.tenant, w.id)
}

// tell gives a message to who waits for its kind, and reports whether they want more.
func (w *Watch) tell(msg *nats.Msg, deliver func(*task.Task) bool, f func(Update) bool) bool {
	switch msg.Sub {
	case w.out:
		return f(Update{Output: msg.Data})
	case w.steps:
		e, err := DecodeEntry(msg.Data)
		return err != nil || e.Kind == task.EntryEpoch || f(Update{Step: e})
	}
	return deliver(republished(msg))
}

// republished reads a record from the server's second copy of a change; nil
// when it is none (a delete marker).
func republished(msg *nats.Msg) *task.Task {
	rev, err := strconv.ParseUint(msg.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil || len(msg.Data) == 0 {
		return nil
	}
	t, err := decodeRecord(msg.Data, rev)
	if err != nil {
		return nil
	}
	return t
}
