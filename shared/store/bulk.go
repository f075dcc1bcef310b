package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Places is how the server counts the tasks of an agent in a queue.
type Places struct {
	At        time.Time
	Waiting   int    // for a worker
	Delivered uint64 // to workers, since there is a consumer
	Held      int    // by workers: running, or of ready ones in whose place one in bulk runs
	Limit     int    // of Held, in the whole mesh
}

// Free is how many more tasks would be given to workers that ask.
func (p Places) Free() int { return p.Limit - p.Held - p.Waiting }

// Places reads them: one short request. Where nobody has served the agent yet, all
// is zero.
func (s Consumers) Places(ctx context.Context, q Queue, agent string) (p Places, err error) {
	ctx, cancel := s.bound(ctx, q.stream())
	defer cancel()
	p.At = time.Now()
	c, err := s.queue(q).Consumer(ctx, q.durable(agent))
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("count the tasks of agent %s: %w", agent, classify(err))
	}
	info := c.CachedInfo()
	p.Waiting, p.Delivered, p.Held, p.Limit = int(info.NumPending), info.Delivered.Consumer, info.NumAckPending, info.Config.MaxAckPending
	return p, nil
}

// Taker takes the tasks of an agent that wait in a queue one by one, and none where
// none waits. It is for one goroutine; close it.
type Taker struct {
	store   *core
	subject string
	sub     *nats.Subscription // answers come here: the server writes their own subject on messages, so none can be told from another's
	asked   bool               // an answer is on its way
}

// Taker makes one.
func (s Consumers) Taker(q Queue, agent string) (*Taker, error) {
	sub, err := s.nc.SubscribeSync(s.nc.NewInbox())
	if err != nil {
		return nil, fmt.Errorf("take tasks of agent %s: %w", agent, classify(err))
	}
	return &Taker{store: s.core, subject: q.pullSubject(agent), sub: sub}, nil
}

// Close ends it. A message that is on its way is delivered again after its lease.
func (t *Taker) Close() { _ = t.sub.Unsubscribe() }

// Next is the task that waits longest, nil: none does.
func (t *Taker) Next(ctx context.Context) (*Delivered, error) {
	ctx, cancel := t.store.bound(ctx, topology.Tasks)
	defer cancel()
	if !t.asked {
		if err := t.store.nc.PublishRequest(t.subject, t.sub.Subject, []byte(`{"batch":1,"no_wait":true}`)); err != nil {
			return nil, fmt.Errorf("take a task: %w", classify(err))
		}
		t.asked = true
	}
	msg, err := t.sub.NextMsgWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("take a task: %w", classify(err))
	}
	t.asked = false
	if msg.Header.Get(headerStatus) != "" && len(msg.Data) == 0 {
		return nil, nil
	}
	return deliveredOf(msg), nil
}

// headerInPlaceOf names the message in bulk that a ready one was promoted from.
const headerInPlaceOf = "Mesh-In-Place-Of"

// Promote puts a task that waits in bulk among the ready ones. A crash in between
// leaves it in both, of which one is claimed. The attempt that held the message
// before, and lost it, writes no more. It returns task.ErrConflict when that one
// wrote meanwhile.
func (s Tasks) Promote(ctx context.Context, d *Delivered) error {
	t, deliveries, err := d.peek()
	if err != nil {
		return err
	}
	if deliveries > 1 {
		if err := s.release(ctx, t); err != nil {
			return fmt.Errorf("promote task %s: %w", t.ID, err)
		}
	}
	data, err := encode(t)
	if err != nil {
		return fmt.Errorf("promote task %s: %w", t.ID, err)
	}
	msg := &nats.Msg{Subject: topology.TaskReady(t.Tenant, t.Agent, t.ID), Data: data, Header: nats.Header{}}
	carryOn(msg.Header, d.Header)
	msg.Header.Set(headerInPlaceOf, strconv.FormatUint(t.QueueSeq, 10))
	_, err = s.publish(ctx, msg, ifLast(0))
	if err != nil && !errors.Is(err, task.ErrConflict) { // it is there already
		return fmt.Errorf("promote task %s: %w", t.ID, err)
	}
	return d.AckSync(ctx)
}

// release takes a task out of the hands of the attempt that claimed it under a
// message that has been delivered again. The message counts that attempt from then on.
func (s Tasks) release(ctx context.Context, queued *task.Task) error {
	rec, err := s.Get(ctx, queued.Tenant, queued.ID)
	if errors.Is(err, task.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if rec.Lease == nil || rec.Lease.Seq != queued.QueueSeq {
		return nil
	}
	queued.Attempt = rec.Attempt
	if rec.Status != task.Processing {
		return nil
	}
	next := rec.Clone()
	next.Lease = nil
	if err := next.To(task.Pending, time.Now()); err != nil {
		return err
	}
	return Records(s).Fit(ctx, next)
}
