package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/topology"
)

// Headers of a scheduled message, as the server defines them (ADR-51). The
// client's helper writes the time in whole seconds and so fires early.
const (
	headerSchedule       = "Nats-Schedule"
	headerScheduleTarget = "Nats-Schedule-Target"
)

// Enqueue publishes the whole task as its queue message: to the ready subject, or
// the bulk one where t.Bulk says so, or as a schedule when t.NotBefore lies ahead. This one write accepts a task
// and, with the next attempt in t.Attempt, retries it. The message carries ctx's
// trace context.
//
// A repeat of the same attempt within the dedupe window is stored once and
// reported as duplicate. The error is task.ErrUnavailable when the outcome is
// unknown, and task.ErrFull when nothing was stored.
func (s Tasks) Enqueue(ctx context.Context, t *task.Task) (duplicate bool, err error) {
	return s.enqueue(ctx, t)
}

// EnqueueOnce is Enqueue for a task that may wait already, however long: then it is
// a duplicate.
func (s Tasks) EnqueueOnce(ctx context.Context, t *task.Task) (duplicate bool, err error) {
	duplicate, err = s.enqueue(ctx, t, ifLast(0))
	if errors.Is(err, task.ErrConflict) {
		return true, nil
	}
	return duplicate, err
}

func (s Tasks) enqueue(ctx context.Context, t *task.Task, conditions ...condition) (duplicate bool, err error) {
	msg, err := s.queueMessage(t)
	if err != nil {
		return false, fmt.Errorf("queue task %s: %w", t.ID, err)
	}
	telemetry.Inject(ctx, msg.Header)
	if t.Bulk = t.Bulk && t.Attempt == 0; t.Attempt == 0 { // a retry has waited already
		if err := s.roomFor(msg); err != nil {
			return false, fmt.Errorf("queue task %s: %w", t.ID, err)
		}
	}
	if id := messageID(t); id != "" {
		conditions = append(conditions, onceAs(id))
	}
	ack, err := s.publish(ctx, msg, conditions...)
	if err != nil {
		return false, fmt.Errorf("queue task %s: %w", t.ID, err)
	}
	t.QueueSeq = ack.Sequence
	s.seen.add(t.Tenant, string(t.ID))
	return ack.Duplicate, nil
}

// queueMessage is the message that carries a task: where it is ready, or as a
// schedule when its time has not come. A turn has no schedule. What the record has as well
// is left out where the message would be too large.
func (s *core) queueMessage(t *task.Task) (*nats.Msg, error) {
	data, err := encode(t)
	if limit := s.nc.MaxPayload(); err == nil && t.Rev > 0 && limit > 0 && int64(len(data))+queueHeaders > limit {
		brief := t.Clone()
		brief.Output, brief.Milestones, brief.Transitions, brief.Warnings, brief.ErrorDetail, brief.Answers, brief.Exchanges = "", nil, nil, nil, "", nil, nil
		data, err = encode(brief)
	}
	if err != nil {
		return nil, err
	}
	msg := &nats.Msg{Subject: queueSubject(t), Data: data, Header: nats.Header{}}
	if t.Kind != task.KindTurn && time.Until(t.NotBefore) > 0 {
		msg.Subject = topology.TaskLater(t.ID)
		msg.Header.Set(headerSchedule, "@at "+t.NotBefore.UTC().Format(time.RFC3339Nano))
		msg.Header.Set(headerScheduleTarget, topology.TaskReady(t.Tenant, t.Agent, t.ID))
	}
	return msg, nil
}

// queueHeaders is more than the headers of a queue message take, in bytes.
const queueHeaders = 1 << 10

// roomFor refuses a task that could be queued and then not be claimed, since its
// record, which names who has it and since when, would be too large.
func (s *core) roomFor(msg *nats.Msg) error {
	const claim = 8 << 10
	if limit := s.nc.MaxPayload(); limit > 0 && int64(msg.Size())+claim > limit {
		return fmt.Errorf("it has %d bytes, allowed are %d (max_payload of the NATS server, without %d for its record): %w", msg.Size(), limit-claim, claim, task.ErrTooLarge)
	}
	return nil
}

// messageID is the task id for the message that accepts it, so that a repeated
// accept is stored once, and tells the attempts apart after that. That of a
// suspended task stands for its record; a schedule of one replaces the one before,
// and has none.
func messageID(t *task.Task) string {
	switch {
	case t.Suspended && !t.NotBefore.IsZero():
		return ""
	case t.Suspended:
		return string(t.ID) + "-" + strconv.Itoa(t.Attempt) + "-" + strconv.FormatUint(t.Rev, 10)
	case t.Attempt == 0:
		return string(t.ID)
	}
	return string(t.ID) + "-" + strconv.Itoa(t.Attempt)
}

// Rearm has a task that was suspended looked at at a time, instead of the one that
// its schedule says, and returns the sequence of the schedule.
func (s Tasks) Rearm(ctx context.Context, t *task.Task, at time.Time) (seq uint64, err error) {
	later := t.Clone()
	later.NotBefore = task.Stamp(at)
	msg, err := s.queueMessage(later)
	if err == nil {
		var ack *stored
		if ack, err = s.publish(ctx, msg); err == nil {
			return ack.Sequence, nil
		}
	}
	return 0, fmt.Errorf("schedule task %s: %w", t.ID, err)
}

// Disarm drops a schedule that Rearm made. gone says that it was not there any more: it
// has fired, or another has replaced it.
func (s Tasks) Disarm(ctx context.Context, seq uint64) (gone bool, err error) {
	ctx, cancel := s.bound(ctx, topology.Tasks)
	defer cancel()
	return discarded(ctx, s.tasks, seq)
}

// Withdraw takes the queue messages of a task that was canceled before it ran
// out of the queue. It is a courtesy to the workers: a message that stays is
// acked by the first worker that meets it, since the record is terminal.
func (s Tasks) Withdraw(ctx context.Context, t *task.Task) error {
	s.seen.forget(t.Tenant, string(t.ID))
	for _, subject := range messagesOf(t) {
		if err := s.remove(ctx, s.tasks, subject, t.ID); err != nil {
			return fmt.Errorf("withdraw task %s: %w", t.ID, err)
		}
	}
	return nil
}

// remove deletes the last message of a subject, if it is the task's, by its
// sequence: for a consumer that holds it this is an ack. Never purge a subject in
// its place: a purge moves the consumer's ack floor past other messages that it
// holds, and after a restart or a leader change those are never delivered again
// (nats-server 2.15.2; TestWithdrawLosesNoOtherTask...).
func (s *core) remove(ctx context.Context, queue jetstream.Stream, subject string, id task.ID) error {
	ctx, cancel := s.bound(ctx, queue.CachedInfo().Config.Name)
	defer cancel()
	msg, err := queue.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return classify(err)
	}
	if t, err := decodeQueued(msg.Data, msg.Sequence); err != nil || t.ID != id {
		return err
	}
	return discard(ctx, queue, msg.Sequence)
}

// discard deletes one message, unless it is gone already: it was acked or replaced
// meanwhile, or the answer to a try before was lost. The client library gives no code
// of a deletion that failed, so the stream says whether that is why.
func discard(ctx context.Context, queue jetstream.Stream, seq uint64) error {
	_, err := discarded(ctx, queue, seq)
	return err
}

// discarded is discard, and reports whether the message was gone.
func discarded(ctx context.Context, queue jetstream.Stream, seq uint64) (gone bool, err error) {
	err = queue.DeleteMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		if _, there := queue.GetMsg(ctx, seq); errors.Is(there, jetstream.ErrMsgNotFound) {
			return true, nil
		}
	}
	return false, classify(err)
}

// Queued is how many messages are in the queue: waiting, scheduled or held by a
// worker.
func (s Tasks) Queued(ctx context.Context) (int, error) {
	info, err := s.info(ctx, s.tasks)
	if err != nil {
		return 0, fmt.Errorf("count queue: %w", classify(err))
	}
	return int(info.State.Msgs), nil
}

// SignalCancel tells whichever worker runs the task to end it. It is sent at
// most once; a worker that misses it reads the record with its next heartbeat.
func (s Tasks) SignalCancel(id task.ID) error {
	return s.nc.Publish(topology.Cancel(id), nil)
}

// OnCancel calls f with the id of each task that is canceled anywhere, until stop.
func (s Tasks) OnCancel(f func(id task.ID)) (stop func(), err error) {
	return s.listen(topology.CancelAny, func(m *nats.Msg) { f(task.ID(topology.SubjectID(m.Subject))) })
}

// PublishOutput sends live output text to whoever listens now.
func (s Tasks) PublishOutput(tenant string, id task.ID, chunk []byte) error {
	return s.nc.Publish(topology.TaskOutput(tenant, id), chunk)
}

// Queue is one of those that an agent's work waits in.
type Queue int

// The queues. A turn differs from any other task in that its message stays in
// the queue until the turn has ended, and so keeps its session closed. In bulk
// are the tasks of tenants that have many of them.
const (
	TaskQueue Queue = iota
	TurnQueue
	BulkQueue
)

// Queues lists them.
var Queues = []Queue{TaskQueue, TurnQueue, BulkQueue}

// Ensure makes the durable consumer of an agent in a queue, or gives it the limits of
// the agent. Its other settings are left as they are.
func (s Consumers) Ensure(ctx context.Context, q Queue, agent string, maxInFlight int, ackWait time.Duration) error {
	d := AgentDurable(q, agent, maxInFlight, ackWait)
	ctx, cancel := s.bound(ctx, d.Stream)
	defer cancel()
	got, err := s.js.Consumer(ctx, d.Stream, d.Config.Durable)
	if err == nil {
		// An equal config is left alone: updates race with other workers.
		c := got.CachedInfo().Config
		if c.MaxAckPending == d.Config.MaxAckPending && c.AckWait == d.Config.AckWait {
			return nil
		}
		c.MaxAckPending, c.AckWait = d.Config.MaxAckPending, d.Config.AckWait
		d.Config = c
	}
	if _, err := s.js.CreateOrUpdateConsumer(ctx, d.Stream, d.Config); err != nil {
		return fmt.Errorf("create consumer %s: %w", d, classify(err))
	}
	return nil
}

func (q Queue) pullSubject(agent string) string {
	return topology.PullSubject(q.stream(), q.durable(agent))
}

// stream is the name of the queue's stream.
func (q Queue) stream() string {
	if q == TurnQueue {
		return topology.Turns
	}
	return topology.Tasks
}

// durable is the name of an agent's consumer.
func (q Queue) durable(agent string) string {
	if q == BulkQueue {
		return topology.BulkDurable(agent)
	}
	return topology.AgentDurable(agent)
}

// filter matches the messages of an agent.
func (q Queue) filter(agent string) string {
	switch q {
	case TurnQueue:
		return topology.AgentTurns(agent)
	case BulkQueue:
		return topology.AgentBulk(agent)
	}
	return topology.AgentReady(agent)
}

// agent is whose consumer in the queue a durable is, if any's.
func (q Queue) agent(durable string) (name string, ok bool) {
	if q == BulkQueue {
		return topology.DurableBulk(durable)
	}
	return topology.DurableAgent(durable)
}

// Template names the queue's subjects in spans.
func (q Queue) Template() string {
	switch q {
	case TurnQueue:
		return topology.TurnsTemplate
	case BulkQueue:
		return topology.BulkTemplate
	}
	return topology.ReadyTemplate
}

// queueSubject is where a task waits when it is ready.
func queueSubject(t *task.Task) string {
	if t.Kind == task.KindTurn {
		return topology.Turn(t.Tenant, t.Agent, session.Of(t))
	}
	if t.Bulk {
		return topology.TaskBulk(t.Tenant, t.Agent, t.ID)
	}
	return topology.TaskReady(t.Tenant, t.Agent, t.ID)
}

// messagesOf are the subjects that a task which is no turn may have a message on.
func messagesOf(t *task.Task) []string {
	return []string{topology.TaskLater(t.ID), topology.TaskReady(t.Tenant, t.Agent, t.ID), topology.TaskBulk(t.Tenant, t.Agent, t.ID)}
}
