package store

import (
	"context"
	"fmt"
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
	out    *nats.Subscription
	msgs   chan *nats.Msg
}

// Repair times of a watch: soon after it began, since in a cluster the interest
// takes a moment to reach the leader, then rarely.
const (
	repairFirst = time.Second
	repairEvery = 15 * time.Second
)

// Watch begins to follow a task. Subscribe first, then read the record: a change
// in between is in one or the other. With output the task's live text comes too.
// Close it.
func (s Tasks) Watch(tenant string, id task.ID, output bool) (*Watch, error) {
	w := &Watch{s: s.core, tenant: tenant, id: id, msgs: make(chan *nats.Msg, 16)}
	if output {
		w.msgs = make(chan *nats.Msg, 256)
	}
	var err error
	if w.sub, err = s.nc.ChanSubscribe(topology.TaskEvents(tenant, id), w.msgs); err != nil {
		return nil, fmt.Errorf("watch task %s: %w", id, classify(err))
	}
	if output {
		if w.out, err = s.nc.ChanSubscribe(topology.TaskOutput(tenant, id), w.msgs); err != nil {
			w.Close()
			return nil, fmt.Errorf("watch output of task %s: %w", id, classify(err))
		}
	}
	return w, nil
}

// Close ends the watch.
func (w *Watch) Close() {
	_ = w.sub.Unsubscribe()
	if w.out != nil {
		_ = w.out.Unsubscribe()
	}
}

// Update is a newer record, or a piece of live output.
type Update struct {
	Task   *task.Task
	Output []byte // as given to PublishOutput
}

// Updates calls f with each record newer than revision rev, in order, and with
// live output, until f returns false or ctx ends; then it returns nil or ctx's
// error. It is for one goroutine.
func (w *Watch) Updates(ctx context.Context, rev uint64, f func(Update) bool) error {
	repair := time.NewTimer(repairFirst)
	defer repair.Stop()
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
			if msg.Subject == topology.TaskOutput(w.tenant, w.id) {
				if !f(Update{Output: msg.Data}) {
					return nil
				}
				continue
			}
			if !deliver(republished(msg)) {
				return nil
			}
		case <-repair.C:
			repair.Reset(repairEvery)
			// A reader that cannot reach the store keeps its subscription and
			// tries again: the connection heals itself.
			if t, err := (Tasks{w.s}).Get(ctx, w.tenant, w.id); err == nil && !deliver(t) {
				return nil
			}
		}
	}
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
