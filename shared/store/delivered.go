package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Delivered is a message that this process was given to work on. It stays with the
// process while InProgress says so in time. Settle it once: Ack, Nak or Drop.
type Delivered struct {
	Subject string
	Data    []byte
	Header  map[string][]string // with the trace context of the publish

	msg settler
}

// Owner is the tenant and the id, parted by a dot, of the task whose record the
// message is; empty: it is none's.
func (d *Delivered) Owner() string { return topology.RecordOwner(d.Subject) }

// Delivery is how a message came.
type Delivery struct {
	Seq   uint64    // its place in its stream
	Times int       // how often it was delivered, this time included
	At    time.Time // when it was stored, by the server's clock
}

// settler is a message of either of the client library's interfaces.
type settler interface {
	delivery() (Delivery, error)
	Ack() error
	DoubleAck(ctx context.Context) error
	Nak() error
	NakWithDelay(d time.Duration) error
	InProgress() error
	Term() error
}

// Delivery reads how the message came.
func (d *Delivered) Delivery() (Delivery, error) {
	by, err := d.msg.delivery()
	if err != nil {
		return by, fmt.Errorf("read delivery: %w", err)
	}
	return by, nil
}

// Ack removes the message. An ack that is lost costs a redelivery.
func (d *Delivered) Ack() error { return d.msg.Ack() }

// AckSync removes the message and waits for the server's word on it.
func (d *Delivered) AckSync(ctx context.Context) error { return d.msg.DoubleAck(ctx) }

// Nak has the message delivered again, after a delay; 0: at once.
func (d *Delivered) Nak(after time.Duration) error {
	if after > 0 {
		return d.msg.NakWithDelay(after)
	}
	return d.msg.Nak()
}

// InProgress tells that the message is worked on. It does not wait.
func (d *Delivered) InProgress() error { return d.msg.InProgress() }

// Drop removes a message that nobody can read.
func (d *Delivered) Drop() error { return d.msg.Term() }

// Task decodes a message of an agent's consumer and says how often it was
// delivered, this delivery included. The task's QueueSeq is set. The message
// forgets its data: the task has it.
func (d *Delivered) Task() (t *task.Task, deliveries int, err error) {
	t, deliveries, err = d.peek()
	d.Data = nil
	return t, deliveries, err
}

// peek is Task for a message that keeps its data.
func (d *Delivered) peek() (t *task.Task, deliveries int, err error) {
	by, err := d.Delivery()
	if err != nil {
		return nil, 0, err
	}
	t, err = decodeQueued(d.Data, by.Seq)
	if err == nil {
		t.Bulk = topology.IsBulk(d.Subject)
		if of := nats.Header(d.Header).Get(headerInPlaceOf); of != "" {
			t.InPlaceOf, _ = strconv.ParseUint(of, 10, 64)
		}
	}
	if err == nil && d.Subject != queueSubject(t) {
		return nil, 0, fmt.Errorf("queue message %d on %s is for another subject: %w", by.Seq, d.Subject, task.ErrBadRecord)
	}
	return t, by.Times, err
}

// pulled is a message that was pulled without the client library's iterators.
type pulled struct{ *nats.Msg }

func deliveredOf(msg *nats.Msg) *Delivered {
	d := &Delivered{Subject: msg.Subject, Data: msg.Data, Header: msg.Header, msg: pulled{msg}}
	msg.Data = nil
	return d
}

func (m pulled) delivery() (Delivery, error) {
	meta, err := m.Metadata()
	if err != nil {
		return Delivery{}, err
	}
	return Delivery{meta.Sequence.Stream, int(meta.NumDelivered), meta.Timestamp}, nil
}

func (m pulled) Ack() error                          { return m.Msg.Ack() }
func (m pulled) DoubleAck(ctx context.Context) error { return m.AckSync(nats.Context(ctx)) }
func (m pulled) Nak() error                          { return m.Msg.Nak() }
func (m pulled) NakWithDelay(d time.Duration) error  { return m.Msg.NakWithDelay(d) }
func (m pulled) InProgress() error                   { return m.Msg.InProgress() }
func (m pulled) Term() error                         { return m.Msg.Term() }

// iterated is a message of the client library's iterators.
type iterated struct{ jetstream.Msg }

func (m iterated) delivery() (Delivery, error) {
	meta, err := m.Metadata()
	if err != nil {
		return Delivery{}, err
	}
	return Delivery{meta.Sequence.Stream, int(meta.NumDelivered), meta.Timestamp}, nil
}

func (m iterated) Term() error { return m.TermWithReason("not readable") }

// Prefetch is how many messages a process may have that it does not work on yet.
type Prefetch struct {
	Messages  int
	Bytes     int
	Expires   time.Duration // of one pull
	Heartbeat time.Duration // of a server that has no messages
}

// Each calls take with every message of a consumer, one after the other, until ctx
// is done or this life of the consumer is over: then it returns nil. It calls
// disturbed when a pull was, which heals by itself, unless disturbed says that the
// life is over.
func (k *Kept) Each(ctx context.Context, p Prefetch, disturbed func(error) (over bool), take func(*Delivered)) error {
	msgs, err := k.consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(p.Messages, p.Bytes), jetstream.PullExpiry(p.Expires), jetstream.PullHeartbeat(p.Heartbeat))
	if err != nil {
		return err
	}
	defer msgs.Stop()
	defer context.AfterFunc(ctx, msgs.Drain)() // messages that have come already are handed back
	ended := make(chan struct{})
	var watching sync.WaitGroup
	defer watching.Wait()
	defer close(ended)
	watching.Go(func() {
		select {
		case <-k.gone:
			msgs.Stop()
		case <-ended:
		}
	})
	for {
		msg, err := msgs.Next()
		switch {
		case errors.Is(err, jetstream.ErrMsgIteratorClosed), errors.Is(err, jetstream.ErrConsumerDeleted), errors.Is(err, jetstream.ErrConsumerNotFound):
			return nil // the next look at it says why
		case err != nil: // heartbeats missed, a connection lost
			if disturbed(err) {
				return nil
			}
		default:
			take(&Delivered{Subject: msg.Subject(), Data: msg.Data(), Header: msg.Headers(), msg: iterated{msg}})
		}
	}
}
