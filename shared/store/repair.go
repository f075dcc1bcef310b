package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Intake is a queue's consumer as the server counts it: the numbers tell whether
// a message will still be delivered.
type Intake struct {
	Agent     string        // whose consumer it is; empty: the notifiers'
	Leader    string        // the node that answers for it, empty without a cluster
	Floor     uint64        // every message up to this sequence counts as acknowledged
	Delivered uint64        // every message up to this sequence was given to somebody
	Unacked   int           // messages that the server knows to be with somebody
	Waiting   int           // messages that were given to nobody yet
	Asking    bool          // somebody asks for messages now
	Lease     time.Duration // a message that nobody acknowledges comes again after it
}

// Lead reports whether who may look for lost work now: one at a time
// does, until it has not asked again for a while.
func (s Repair) Lead(ctx context.Context, who string, lasts time.Duration) (bool, error) {
	ctx, cancel := s.bound(ctx, topology.BucketStream(topology.IdempotencyBucket))
	defer cancel()
	type lead struct {
		Who   string    `json:"who"`
		Until time.Time `json:"until"`
	}
	var held lead
	var rev uint64
	e, err := s.idempotency.Get(ctx, topology.ReconcilerKey)
	switch {
	case err == nil:
		rev = e.Revision()
		if unmarshal(e.Value(), &held) == nil && held.Who != who && time.Now().Before(held.Until) {
			return false, nil
		}
	case !errors.Is(err, jetstream.ErrKeyNotFound):
		return false, fmt.Errorf("lead the reconcilers: %w", classify(err))
	}
	data, err := marshal(lead{who, time.Now().Add(lasts)})
	if err != nil {
		return false, fmt.Errorf("lead the reconcilers: %w", err)
	}
	_, err = s.idempotency.Update(ctx, topology.ReconcilerKey, data, rev)
	if err = classify(err); errors.Is(err, task.ErrConflict) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lead the reconcilers: %w", err)
	}
	return true, nil
}

// Intakes lists the consumers of the agents in a queue.
func (s Repair) Intakes(ctx context.Context, q Queue) (all []Intake, err error) {
	ctx, cancel := s.bound(ctx, s.queue(q).CachedInfo().Config.Name)
	defer cancel()
	consumers, err := consumersOf(ctx, s.queue(q))
	if err != nil {
		return nil, fmt.Errorf("list intakes: %w", classify(err))
	}
	for _, info := range consumers {
		if agent, ok := q.agent(info.Config.Durable); ok {
			all = append(all, intakeOf(agent, info))
		}
	}
	return all, nil
}

func intakeOf(agent string, info *jetstream.ConsumerInfo) Intake {
	in := Intake{
		Agent: agent, Floor: info.AckFloor.Stream, Delivered: info.Delivered.Stream,
		Unacked: info.NumAckPending, Waiting: int(info.NumPending), Asking: info.NumWaiting > 0, Lease: info.Config.AckWait,
	}
	if info.Cluster != nil {
		in.Leader = info.Cluster.Leader
	}
	return in
}

func (s *core) queue(q Queue) jetstream.Stream {
	if q == TurnQueue {
		return s.turns
	}
	return s.tasks
}

// Held calls f with the messages of an agent that were delivered and are still in
// the queue, from sequence from on, until the budget of bytes is used up. next is
// where to go on, 0: that was all.
func (s Repair) Held(ctx context.Context, q Queue, in Intake, from uint64, budget int, f func(t *task.Task)) (next uint64, err error) {
	next, err = s.walk(ctx, s.queue(q), q.filter(in.Agent), from, in.Delivered, budget, func(msg *jetstream.RawStreamMsg) {
		if t, err := decodeQueued(msg.Data, msg.Sequence); err == nil {
			f(t)
		}
	})
	if err != nil {
		return from, fmt.Errorf("read what agent %s holds: %w", in.Agent, err)
	}
	return next, nil
}

// InBulk calls f with the tasks of an agent that are in bulk, until the budget of
// bytes is used up.
func (s Repair) InBulk(ctx context.Context, agent string, budget int, f func(t *task.Task)) error {
	_, err := s.walk(ctx, s.tasks, BulkQueue.filter(agent), 1, ^uint64(0), budget, func(msg *jetstream.RawStreamMsg) {
		if t, err := decodeQueued(msg.Data, msg.Sequence); err == nil {
			f(t)
		}
	})
	if err != nil {
		return fmt.Errorf("read what agent %s has in bulk: %w", agent, err)
	}
	return nil
}

// Scheduled calls f with the tasks that a schedule holds, as Held does.
func (s Repair) Scheduled(ctx context.Context, from uint64, budget int, f func(t *task.Task)) (next uint64, err error) {
	next, err = s.walk(ctx, s.tasks, topology.TasksLater, from, ^uint64(0), budget, func(msg *jetstream.RawStreamMsg) {
		if t, err := decodeQueued(msg.Data, msg.Sequence); err == nil {
			f(t)
		}
	})
	if err != nil {
		return from, fmt.Errorf("read the schedules: %w", err)
	}
	return next, nil
}

// walk calls f with the messages of a filter from one sequence to another: a work
// queue lets nobody but its consumer read it otherwise.
func (s Repair) walk(ctx context.Context, queue jetstream.Stream, filter string, from, to uint64, budget int, f func(*jetstream.RawStreamMsg)) (next uint64, err error) {
	for seq := max(from, 1); seq <= to; {
		if budget <= 0 {
			return seq, nil
		}
		msg, err := s.step(ctx, queue, seq, filter)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return 0, nil
		}
		if err != nil {
			return seq, classify(err)
		}
		if msg.Sequence > to {
			return 0, nil
		}
		f(msg)
		budget -= len(msg.Data) + messageFrame
		seq = msg.Sequence + 1
	}
	return 0, nil
}

// messageFrame is about what reading a message costs besides its data, in bytes.
const messageFrame = 512

// step reads the first message of a filter from a sequence on.
func (s Repair) step(ctx context.Context, stream jetstream.Stream, seq uint64, filter string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := s.bound(ctx, stream.CachedInfo().Config.Name)
	defer cancel()
	return stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(filter))
}

// HasMessage reports whether the queue has a message of a task, or a schedule.
func (s Repair) HasMessage(ctx context.Context, t *task.Task) (bool, error) {
	subjects := messagesOf(t)
	if t.Kind == task.KindTurn {
		subjects = []string{queueSubject(t)}
	}
	for _, subject := range subjects {
		msg, err := s.lastQueued(ctx, t, subject)
		if err != nil || msg != nil {
			return msg != nil, err
		}
	}
	return false, nil
}

// lastQueued reads the newest message of a subject, nil when it is none of t's.
func (s Repair) lastQueued(ctx context.Context, t *task.Task, subject string) (*jetstream.RawStreamMsg, error) {
	queue := s.tasks
	if t.Kind == task.KindTurn {
		queue = s.turns
	}
	ctx, cancel := s.bound(ctx, queue.CachedInfo().Config.Name)
	defer cancel()
	msg, err := queue.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look task %s up in the queue: %w", t.ID, classify(err))
	}
	if q, err := decodeQueued(msg.Data, msg.Sequence); err == nil && q.ID != t.ID {
		return nil, nil // a session's next turn
	}
	return msg, nil
}

// Requeue puts a task that nobody will get any more among the ready ones, in place
// of the message that its queue has of it (t.QueueSeq, 0: none). Two that do so at
// once put in one. A task whose time has not come goes into a schedule.
func (s Repair) Requeue(ctx context.Context, t *task.Task) error {
	if t.Kind == task.KindTurn {
		return s.requeueTurn(ctx, t)
	}
	t.Bulk = false
	msg, err := s.queueMessage(t)
	if err != nil {
		return fmt.Errorf("requeue task %s: %w", t.ID, err)
	}
	var last uint64
	var conditions []condition
	if msg.Subject == topology.TaskReady(t.Tenant, t.Agent, t.ID) {
		if last, err = s.before(ctx, t, msg); err != nil {
			return fmt.Errorf("requeue task %s: %w", t.ID, err)
		}
		conditions = append(conditions, ifLast(last))
	}
	if last <= t.QueueSeq { // otherwise a newer message carries it already
		_, err = s.publish(ctx, msg, conditions...)
	}
	if err == nil && t.QueueSeq > 0 {
		err = discard(ctx, s.tasks, t.QueueSeq)
	}
	if errors.Is(err, task.ErrConflict) {
		return nil // somebody else did
	}
	if err != nil {
		return fmt.Errorf("requeue task %s: %w", t.ID, err)
	}
	return nil
}

// before gives msg the headers of the newest message of a task on its subject, but
// the server's own, and returns that one's sequence, 0: there is none.
func (s Repair) before(ctx context.Context, t *task.Task, msg *nats.Msg) (uint64, error) {
	newest, err := s.lastQueued(ctx, t, msg.Subject)
	if err != nil {
		return 0, err
	}
	if newest != nil {
		carryOn(msg.Header, newest.Header)
		return newest.Sequence, nil
	}
	if t.Kind != task.KindTurn { // it may have waited in bulk
		if newest, err = s.lastQueued(ctx, t, topology.TaskBulk(t.Tenant, t.Agent, t.ID)); err != nil || newest == nil {
			return 0, err
		}
		carryOn(msg.Header, newest.Header)
	}
	return 0, nil
}

// carryOn copies the headers of an earlier message, but the server's own.
func carryOn(hdr, before nats.Header) {
	for name, values := range before {
		if !strings.HasPrefix(name, "Nats-") {
			hdr[name] = values
		}
	}
}

// requeueTurn does so for a turn, whose subject takes one message: its record must
// have been written before, so that a crash in between leaves a turn that is found
// again. It returns session.ErrBusy when the session has another turn open.
func (s Repair) requeueTurn(ctx context.Context, t *task.Task) error {
	msg, err := s.queueMessage(t)
	if err != nil {
		return fmt.Errorf("requeue turn %s: %w", t.ID, err)
	}
	last, err := s.before(ctx, t, msg)
	if err == nil && last > 0 {
		err = discard(ctx, s.turns, last)
	}
	if err == nil {
		_, err = s.publish(ctx, msg)
	}
	if err != nil {
		return fmt.Errorf("requeue turn %s: %w", t.ID, busy(err))
	}
	return nil
}

// Records calls f with the newest records of tasks that were written in a window of
// revisions, from revision from on, and have not ended. next is where to go on, 0:
// that was the last window.
func (s Repair) Records(ctx context.Context, from uint64, f func(*task.Task)) (next uint64, err error) {
	open := map[task.ID]*task.Task{}
	next, err = s.forwards(ctx, s.records, topology.RecordsAll, from, func(m message) {
		t, err := RecordOf(m.data, m.seq)
		if err != nil {
			s.damaged.note(m, err)
		}
		if t == nil { // a marker takes the place of all that came before it
			delete(open, task.ID(topology.SubjectID(m.subject)))
			return
		}
		if open[t.ID] = t; t.Status.Terminal() {
			delete(open, t.ID)
		}
	})
	if err != nil {
		return from, fmt.Errorf("read records: %w", err)
	}
	for _, t := range open {
		newest, err := Tasks(s).Get(ctx, t.Tenant, t.ID)
		if errors.Is(err, task.ErrNotFound) {
			continue
		}
		if err != nil {
			return from, err
		}
		if newest.Rev == t.Rev { // otherwise it is met again in a later window
			f(newest)
		}
	}
	return next, nil
}

// forwardWindow is how many revisions one look reads.
const forwardWindow = 1024

// forwards calls f with the messages of the window of a stream that begins at a
// sequence, and returns where the next one does, 0: nowhere.
func (s Repair) forwards(ctx context.Context, stream jetstream.Stream, subject string, from uint64, f func(message)) (uint64, error) {
	info, err := s.info(ctx, stream)
	if err != nil {
		return from, classify(err)
	}
	low := max(from, info.State.FirstSeq, 1)
	if low > info.State.LastSeq {
		return 0, nil
	}
	high := min(low+forwardWindow-1, info.State.LastSeq)
	err = s.readers(stream, subject, s.scans)(ctx, low, high, func(m message) error {
		f(m)
		return nil
	})
	if err != nil {
		return from, err
	}
	if high == info.State.LastSeq {
		return 0, nil
	}
	return high + 1, nil
}

func (s *core) info(ctx context.Context, stream jetstream.Stream) (*jetstream.StreamInfo, error) {
	ctx, cancel := s.bound(ctx, stream.CachedInfo().Config.Name)
	defer cancel()
	return stream.Info(ctx)
}
