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
	"agentmesh/shared/webhook"
)

// QueuedMessage is a message of the queue of deliveries. Recorded says that its
// delivery names only the record, which is the truth.
type QueuedMessage struct {
	Delivery *webhook.Delivery
	Recorded bool
	Seq      uint64
	At       time.Time // in a schedule: when it is due

	data   []byte
	header nats.Header
}

// DeliveryIntake is the notifiers' consumer of what is due. It returns
// task.ErrNotFound when there is none.
func (s Repair) DeliveryIntake(ctx context.Context) (Intake, error) {
	ctx, cancel := s.bound(ctx, topology.Deliveries)
	defer cancel()
	c, err := s.due.Consumer(ctx, topology.DeliverDurable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return Intake{}, fmt.Errorf("read consumer %s: %w", topology.DeliverDurable, task.ErrNotFound)
	}
	if err != nil {
		return Intake{}, fmt.Errorf("read consumer %s: %w", topology.DeliverDurable, classify(err))
	}
	return intakeOf("", c.CachedInfo()), nil
}

// HeldDeliveries is Held for the deliveries that the notifiers hold.
func (s Repair) HeldDeliveries(ctx context.Context, in Intake, from uint64, budget int, f func(QueuedMessage)) (next uint64, err error) {
	return s.walkDeliveries(ctx, topology.DueAll, from, in.Delivered, budget, f)
}

// ScheduledDeliveries is Scheduled for deliveries.
func (s Repair) ScheduledDeliveries(ctx context.Context, from uint64, budget int, f func(QueuedMessage)) (next uint64, err error) {
	return s.walkDeliveries(ctx, topology.DueLaterAll, from, ^uint64(0), budget, f)
}

func (s Repair) walkDeliveries(ctx context.Context, filter string, from, to uint64, budget int, f func(QueuedMessage)) (uint64, error) {
	next, err := s.walk(ctx, s.due, filter, from, to, budget, func(msg *jetstream.RawStreamMsg) {
		if d, recorded, err := DueDelivery(msg.Data); err == nil {
			f(QueuedMessage{d, recorded, msg.Sequence, scheduledFor(msg), msg.Data, msg.Header})
		}
	})
	if err != nil {
		return from, fmt.Errorf("read the queue of deliveries: %w", err)
	}
	return next, nil
}

// scheduledFor is when a schedule fires; of any other message when it was stored.
func scheduledFor(msg *jetstream.RawStreamMsg) time.Time {
	at, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(msg.Header.Get(headerSchedule), "@at "))
	if err != nil {
		return msg.Time
	}
	return at
}

// DropDelivery removes the message of a delivery that is final.
func (s Repair) DropDelivery(ctx context.Context, m QueuedMessage) error {
	if err := discard(ctx, s.due, m.Seq); err != nil {
		return fmt.Errorf("drop delivery %s: %w", m.Delivery.ID, err)
	}
	return nil
}

// HasDelivery reports whether the queue has a message of a delivery, or a schedule.
func (s Repair) HasDelivery(ctx context.Context, d *webhook.Delivery) (bool, error) {
	for _, subject := range []string{topology.DeliveryLater(d.ID), topology.DeliveryDue(d.Tenant, d.ID)} {
		seq, err := s.lastDelivery(ctx, subject)
		if err != nil || seq > 0 {
			return seq > 0, err
		}
	}
	return false, nil
}

// lastDelivery is the sequence of a subject's newest message, 0: there is none.
func (s Repair) lastDelivery(ctx context.Context, subject string) (uint64, error) {
	ctx, cancel := s.bound(ctx, topology.Deliveries)
	defer cancel()
	msg, err := s.due.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look %s up in the queue: %w", subject, classify(err))
	}
	return msg.Sequence, nil
}

// RequeueDelivery puts a message that nobody will get any more into the queue of
// what is due again, in place of itself. Two that do so at once put in one.
func (s Repair) RequeueDelivery(ctx context.Context, m QueuedMessage) error {
	msg := &nats.Msg{Subject: topology.DeliveryDue(m.Delivery.Tenant, m.Delivery.ID), Data: m.data, Header: nats.Header{}}
	carryOn(msg.Header, m.header)
	last, err := s.lastDelivery(ctx, msg.Subject)
	if err == nil && last <= m.Seq { // otherwise a newer message carries it already
		_, err = s.publish(ctx, msg, ifLast(last))
	}
	if err == nil {
		err = discard(ctx, s.due, m.Seq)
	}
	if err != nil && !errors.Is(err, task.ErrConflict) { // a conflict: somebody else did
		return fmt.Errorf("requeue delivery %s: %w", m.Delivery.ID, err)
	}
	return nil
}

// OpenDeliveries is Records for deliveries that are not final.
func (s Repair) OpenDeliveries(ctx context.Context, from uint64, f func(*webhook.Delivery)) (next uint64, err error) {
	next, err = s.forwards(ctx, s.deliveries, topology.DeliveryRecordsAll, from, func(m message) {
		d, err := decodeDelivery(m.data, m.seq)
		if err != nil {
			s.damaged.note(m, err)
		} else if !d.Status.Final() {
			f(d)
		}
	})
	if err != nil {
		return from, fmt.Errorf("read deliveries: %w", err)
	}
	return next, nil
}
