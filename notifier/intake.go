package notifier

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"

	"agentmesh/shared/pause"
	"agentmesh/shared/store"
)

// intake is one of the two ways by which messages come.
type intake struct {
	durable store.Durable
	limit   int   // messages that are worked on at a time
	bytes   int64 // of them together
	handle  func(ctx context.Context, msg jetstream.Msg, born time.Time)
}

func (n *Notifier) durables() []store.Durable { return []store.Durable{fanoutDurable, dueDurable} }

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
	bytes := max(prefetchBytes, 2*int(n.store.MaxPayload()))
	msgs, err := c.Messages(jetstream.PullMaxMessagesWithBytesLimit(prefetch, bytes), jetstream.PullExpiry(pullExpires), jetstream.PullHeartbeat(pullBeat))
	if err != nil {
		return err
	}
	defer msgs.Stop()
	defer context.AfterFunc(ctx, msgs.Drain)() // messages that have come already are handed back
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-c.Gone:
			msgs.Stop()
		case <-over:
		}
	}()
	for {
		msg, err := msgs.Next()
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) || errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound) {
			return nil // the next look at it says why
		}
		if err != nil { // heartbeats missed, a connection lost: the iterator heals itself, unless its consumer is gone
			n.log.Debug("pull disturbed", "consumer", in.durable.String(), "error", err)
			pause.For(ctx, consumeAgain)
			if now, err := n.upkeep.Open(ctx, in.durable); err == nil && now != c {
				return nil
			}
			continue
		}
		leave := room.enter(ctx, len(msg.Data()))
		if leave == nil {
			_ = msg.Nak() // for another notifier, at once
			continue
		}
		works.Go(func() {
			defer leave()
			defer keep(msg)()
			in.handle(work, msg, c.Born)
		})
	}
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
// delivered before, or is from the time before this process or before this life
// of its consumer. A server that was killed has forgotten the last
// acknowledgements, a consumer that was made again all of them.
func (n *Notifier) repeated(meta *jetstream.MsgMetadata, born time.Time) bool {
	return meta.NumDelivered > 1 || meta.Timestamp.Before(n.started.Add(time.Second)) || meta.Timestamp.Before(born.Add(time.Second))
}
