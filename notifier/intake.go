package notifier

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"agentmesh/shared/pause"
	"agentmesh/shared/store"
)

// intake is one of the ways by which messages come.
type intake struct {
	durable store.Durable
	limit   int   // messages that are worked on at a time
	bytes   int64 // of them together
	handle  handler

	// sift settles those of many messages that need no handler, and has one for the
	// rest; nil: each message comes to handle, as soon as it can be had.
	sift func(ctx context.Context, burst []*store.Delivered) (rest []*store.Delivered, handle handler)
}

// handler works on one message of a consumer, and settles it.
type handler func(ctx context.Context, msg *store.Delivered, born time.Time)

func (n *Notifier) durables() []store.Durable {
	return []store.Durable{fanoutDurable, schedulesDurable, dueDurable}
}

// consume gives each message of an intake to its handler until ctx is done. A
// message that the handler has not acknowledged comes again. A consumer that was
// deleted is made again, and read from the beginning of its new life.
func (n *Notifier) consume(ctx, work context.Context, in intake, works *sync.WaitGroup) {
	room := &room{slots: make(chan struct{}, in.limit), bytes: semaphore.NewWeighted(in.bytes), most: in.bytes}
	for ctx.Err() == nil {
		c, err := n.upkeep.Open(ctx, in.durable)
		if err == nil {
			err = n.pull(ctx, work, c, in, room, works)
		}
		if err != nil && ctx.Err() == nil {
			n.log.Warn("cannot pull, trying again", "consumer", in.durable.String(), "error", err)
		}
		pause.For(ctx, consumeAgain)
	}
}

// pull works on one life of a consumer.
func (n *Notifier) pull(ctx, work context.Context, c *store.Kept, in intake, room *room, works *sync.WaitGroup) error {
	prefetch := store.Prefetch{Messages: prefetch, Bytes: max(prefetchBytes, 2*int(n.store.MaxPayload())), Expires: pullExpires, Heartbeat: pullBeat}
	disturbed := func(err error) (over bool) {
		n.log.Debug("pull disturbed", "consumer", in.durable.String(), "error", err)
		pause.For(ctx, consumeAgain)
		now, err := n.upkeep.Open(ctx, in.durable)
		return err == nil && now != c
	}
	begin := func(msg *store.Delivered, handle handler) {
		leave := room.enter(ctx, len(msg.Data))
		if leave == nil {
			_ = msg.Nak(0) // for another notifier, at once
			return
		}
		works.Go(func() {
			defer leave()
			defer keep(msg)()
			handle(work, msg, c.Born)
		})
	}
	if in.sift == nil {
		return c.Each(ctx, prefetch, disturbed, func(msg *store.Delivered) { begin(msg, in.handle) })
	}
	return c.Bursts(ctx, store.Bursts{Prefetch: prefetch, Every: burstEvery, Spare: burstSpare}, disturbed, func(burst []*store.Delivered) {
		rest, handle := in.sift(work, burst)
		for _, msg := range rest {
			begin(msg, handle)
		}
	})
}

// room bounds what one intake works on, in messages and in bytes.
type room struct {
	slots chan struct{}
	bytes *semaphore.Weighted
	most  int64
}

// enter waits until there is room for a message; nil when ctx is done first.
func (r *room) enter(ctx context.Context, size int) (leave func()) {
	if ctx.Err() != nil {
		return nil
	}
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	weight := min(int64(size), r.most) // the largest message has it all to itself
	if r.bytes.Acquire(ctx, weight) != nil {
		<-r.slots
		return nil
	}
	return func() {
		r.bytes.Release(weight)
		<-r.slots
	}
}

// repeated reports whether a message may have been worked on before: it was
// delivered before, or is from the time before this process started or before this
// life of its consumer. A server that was killed has forgotten the last
// acknowledgements, a consumer that was made again all of them.
func repeated(by store.Delivery, born, started time.Time) bool {
	return by.Times > 1 || by.At.Before(started.Add(time.Second)) || by.At.Before(born.Add(time.Second))
}
