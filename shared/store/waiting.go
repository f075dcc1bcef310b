package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Line is the tasks, or the turns, of one agent that wait for a worker, in their
// order.
type Line struct {
	InFlight int // tasks that workers hold
	Limit    int // of InFlight, in the whole mesh
	Waiting  int
	Paused   bool      // nothing is given to a worker
	Until    time.Time // of Paused: its end; zero: when somebody resumes it

	taken uint64   // every message up to this sequence was given to a worker
	seqs  []uint64 // of the first that wait
	last  uint64   // of the last, where they are more
}

// lineCounted bounds how many of those who wait are told apart: each is a request,
// since a work queue lets nobody but its consumer walk through it.
const lineCounted = 32

// Line reads the line of an agent. Keep the answer for a while.
func (s Consumers) Line(ctx context.Context, q Queue, agent string) (l Line, err error) {
	ctx, cancel := s.bound(ctx, topology.Tasks)
	defer cancel()
	stream := s.queue(q)
	c, err := stream.Consumer(ctx, q.durable(agent))
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return l, nil // the agent was removed, and nobody has served it since
	}
	if err != nil {
		return l, fmt.Errorf("read the line of agent %s: %w", agent, classify(err))
	}
	info := c.CachedInfo()
	l = Line{Waiting: int(info.NumPending), taken: info.Delivered.Stream}
	held := info
	if q == BulkQueue { // each that runs does so in the place of a ready one
		if c, err = stream.Consumer(ctx, TaskQueue.durable(agent)); err != nil {
			return l, fmt.Errorf("read the line of agent %s: %w", agent, classify(err))
		}
		held = c.CachedInfo()
	}
	l.Until, l.Paused = pauseOf(held)
	l.InFlight, l.Limit = held.NumAckPending, held.Config.MaxAckPending
	if l.Waiting == 0 {
		return l, nil
	}
	for seq := l.taken + 1; len(l.seqs) < min(lineCounted, l.Waiting); {
		msg, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(info.Config.FilterSubject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break // they were taken in the meantime
		}
		if err != nil {
			return l, fmt.Errorf("read the line of agent %s: %w", agent, classify(err))
		}
		l.seqs, seq = append(l.seqs, msg.Sequence), msg.Sequence+1
	}
	if l.Waiting > len(l.seqs) {
		msg, err := stream.GetLastMsgForSubject(ctx, info.Config.FilterSubject)
		if errors.Is(err, jetstream.ErrMsgNotFound) { // so was the last of them
			l.Waiting = len(l.seqs)
			return l, nil
		}
		if err != nil {
			return l, fmt.Errorf("read the line of agent %s: %w", agent, classify(err))
		}
		l.last = msg.Sequence
	}
	return l, nil
}

// Place is the place in the line of the message with a sequence, from 1; 0: a
// worker has it already. Far behind it is an estimate.
func (l Line) Place(seq uint64) int {
	if seq <= l.taken {
		return 0
	}
	at, found := slices.BinarySearch(l.seqs, seq)
	if found || at < len(l.seqs) || l.last == 0 {
		return at + 1
	}
	// Behind those that were told apart: as if the rest came evenly.
	from := l.taken
	if len(l.seqs) > 0 {
		from = l.seqs[len(l.seqs)-1]
	}
	if seq >= l.last {
		return l.Waiting
	}
	share := float64(seq-from) / float64(l.last-from)
	return len(l.seqs) + max(int(share*float64(l.Waiting-len(l.seqs))), 1)
}

// ReadySequence is the sequence of a task's message among those that are ready, or
// in bulk, which t.Bulk then says. It returns task.ErrNotFound when there is none.
func (s Tasks) ReadySequence(ctx context.Context, t *task.Task) (uint64, error) {
	if t.QueueSeq > 0 {
		return t.QueueSeq, nil
	}
	ctx, cancel := s.bound(ctx, topology.Tasks)
	defer cancel()
	stream := s.tasks
	if t.Kind == task.KindTurn {
		stream = s.turns
	}
	subject := queueSubject(t)
	if t.Kind != task.KindTurn {
		subject = topology.TaskOf(t.Tenant, t.ID)
	}
	msg, err := stream.GetLastMsgForSubject(ctx, subject)
	if err != nil {
		return 0, fmt.Errorf("look task %s up in the queue: %w", t.ID, missing(err))
	}
	t.Bulk = topology.IsBulk(msg.Subject)
	return msg.Sequence, nil
}
