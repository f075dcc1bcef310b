package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
	"agentmesh/worker/agent"
)

// intake is the work of one agent from one queue. An agent's intakes share its slots.
type intake struct {
	w     *Worker
	agent agent.Agent
	queue store.Queue

	service  *service
	slots    *slots
	bulk     *bulk
	maxBytes int64 // of the messages of one pull
	streak   *quickStreak
}

// run pulls until ctx is done. Attempts run under work and outlive it.
func (in *intake) run(ctx, work context.Context) {
	bell := in.slots.newBell()
	defer in.slots.removeBell(bell)
	room, take := in.room, in.start
	if in.queue == store.BulkQueue {
		room, take = in.bulk.room, in.bulk.take
		defer in.bulk.close()
	}
	if in.agent.Away != nil {
		in.agent.Away(in.slots.ring)
		open := room
		room = func() int {
			if in.agent.Away(nil) != "" {
				return 0
			}
			return open()
		}
	}
	in.w.store.Consumers.Pull(ctx, store.Pull{
		Queue: in.queue, Agent: in.agent.Name, Lease: in.w.cfg.Lease, MaxBytes: in.maxBytes, Log: in.w.log.With("agent", in.agent.Name, "queue", in.queue.Template()),
		Most: in.agent.Concurrency, Room: room, Changed: bell.rings, Worth: bell.useFrom, Refused: in.recreateConsumer,
		Take: func(msg *store.Delivered) { take(ctx, work, msg) },
	})
}

// away says why no task is taken, empty: they are.
func (in *intake) away() string {
	if in.agent.Away == nil {
		return ""
	}
	return in.agent.Away(nil)
}

// room is for how many messages there are slots. Where quick tasks in bulk have all
// of them, one is free in a moment.
func (in *intake) room() int {
	n := in.slots.open()
	if n == 0 && in.bulk.quick() {
		return 1
	}
	return n
}

// start gives msg a slot. One that finds none, because an attempt took back the
// slot it had lent or tasks in bulk have it, waits for the next, until work ends.
func (in *intake) start(ctx, work context.Context, msg *store.Delivered) {
	held, lease := in.slots.tryTake(), keepLease(msg, in.w.cfg.Lease)
	in.service.attempts.Add(1)
	in.w.attempts.Go(func() {
		defer in.service.attempts.Done()
		if !held && in.slots.take(work) != nil {
			lease.end()
			_ = msg.Nak(0)
			return
		}
		in.w.handle(ctx, work, in, msg, lease)
	})
}

// service is an agent while a worker serves it, from its start or a reload to the next.
type service struct {
	agent    agent.Agent
	result   *mesh.Shape // of what its tasks come to
	attempts sync.WaitGroup
	shut     func()
}

func (s *service) open() {
	s.shut = func() {}
	if s.agent.Open != nil {
		s.shut = s.agent.Open()
	}
}

// close returns when no attempt runs and what the agent has kept is gone.
func (s *service) close() {
	s.attempts.Wait()
	s.shut()
}

// recreateConsumer creates the consumer again where somebody deleted it.
func (in *intake) recreateConsumer(ctx context.Context) {
	if _, err := in.w.upkeep.Open(ctx, in.durable()); err != nil && ctx.Err() == nil {
		in.w.log.Warn("consumer not there", "agent", in.agent.Name, "error", err)
	}
}

// durable is the consumer that in pulls from.
func (in *intake) durable() store.Durable {
	return store.AgentDurable(in.queue, in.agent.Name, in.agent.MaxInFlight, in.w.cfg.Lease)
}

// quickStreak remembers whether an agent's attempts end within quickEnd. One
// that has done so several times in a row may start before its claim is
// written; see attempt.begin. It starts over with the process, so that a task
// that kills its worker is always claimed first and its attempts are counted.
type quickStreak struct{ n atomic.Int32 }

const (
	quickEnd    = 50 * time.Millisecond
	quickEarned = 8
)

func (q *quickStreak) earned() bool { return q.n.Load() >= quickEarned }

func (q *quickStreak) note(took time.Duration, completed bool) {
	if !completed || took >= quickEnd {
		q.n.Store(0)
	} else if q.n.Load() < quickEarned {
		q.n.Add(1)
	}
}
