package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/pause"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/topology"
	"agentmesh/shared/webhook"
)

// Enqueue publishes a whole delivery that nobody has recorded yet: this
// one write accepts it. A repeat while it is queued changes nothing; once it is
// recorded, a repeat must not come (see Get). It carries ctx's trace context.
func (s Deliveries) Enqueue(ctx context.Context, d *webhook.Delivery) error {
	data, err := marshal(d)
	if err != nil {
		return fmt.Errorf("queue delivery %s: %w", d.ID, err)
	}
	msg := &nats.Msg{Subject: topology.DeliveryDue(d.Tenant, d.ID), Data: data, Header: nats.Header{}}
	telemetry.Inject(ctx, msg.Header)
	_, err = s.publish(ctx, msg, onceAs(string(d.ID)), ifLast(0))
	if err != nil && !errors.Is(err, task.ErrConflict) { // a conflict: it is queued already
		return fmt.Errorf("queue delivery %s: %w", d.ID, err)
	}
	return nil
}

// dueRef is the queue message of a delivery that has a record: the record is
// the truth.
type dueRef struct {
	ID     webhook.DeliveryID `json:"delivery_id"`
	Tenant string             `json:"tenant"`
	Source webhook.Source     `json:"source"`
	Ref    bool               `json:"ref"`
}

// Schedule has a recorded delivery come due at d.NextAt, in place of any
// time before.
func (s Deliveries) Schedule(ctx context.Context, d *webhook.Delivery) error {
	at := d.NextAt
	if at.IsZero() {
		at = time.Now()
	}
	msg, err := refMessage(topology.DeliveryLater(d.ID), d)
	if err != nil {
		return err
	}
	msg.Header.Set(headerSchedule, "@at "+at.UTC().Format(time.RFC3339Nano))
	msg.Header.Set(headerScheduleTarget, topology.DeliveryDue(d.Tenant, d.ID))
	if _, err := s.publish(ctx, msg); err != nil {
		return fmt.Errorf("schedule delivery %s: %w", d.ID, err)
	}
	return nil
}

// Now has a recorded delivery come due at once. Where it is due already,
// or a notifier works on it, nothing changes.
func (s Deliveries) Now(ctx context.Context, d *webhook.Delivery) error {
	_, err := s.deliverNow(ctx, d)
	return err
}

// deliverNow reports whether the delivery was queued, and not there already.
func (s Deliveries) deliverNow(ctx context.Context, d *webhook.Delivery) (queued bool, err error) {
	msg, err := refMessage(topology.DeliveryDue(d.Tenant, d.ID), d)
	if err != nil {
		return false, err
	}
	_, err = s.publish(ctx, msg, ifLast(0))
	if err != nil && !errors.Is(err, task.ErrConflict) {
		return false, fmt.Errorf("deliver %s now: %w", d.ID, err)
	}
	return err == nil, nil
}

// Again is Now for a delivery that somebody asks for once more, in
// place of any time that it is scheduled for. The
// message of its last attempt may still end after the outcome was recorded, and
// what is asked for must not end with it: then the delivery comes when that
// attempt is over for certain.
func (s Deliveries) Again(ctx context.Context, d *webhook.Delivery) error {
	scheduled, err := s.scheduleOf(ctx, d)
	if err != nil {
		return err
	}
	for range againTries {
		queued, err := s.deliverNow(ctx, d)
		if err != nil {
			return err
		}
		if queued {
			// By its sequence: a later schedule stays. One that cannot be taken away
			// meets a record that is settled when it comes.
			if scheduled > 0 {
				_ = discard(ctx, s.due, scheduled)
			}
			return nil
		}
		if !pause.For(ctx, againPause) {
			return fmt.Errorf("deliver %s again: %w", d.ID, ctx.Err())
		}
	}
	later := *d
	later.NextAt = time.Now().Add(againLater)
	return s.Schedule(ctx, &later)
}

// scheduleOf is the sequence of the message that schedules a delivery, 0: none does.
func (s Deliveries) scheduleOf(ctx context.Context, d *webhook.Delivery) (seq uint64, err error) {
	ctx, cancel := s.bound(ctx, topology.Deliveries)
	defer cancel()
	msg, err := s.due.GetLastMsgForSubject(ctx, topology.DeliveryLater(d.ID))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look schedule of delivery %s up: %w", d.ID, classify(err))
	}
	return msg.Sequence, nil
}

// How often and when a delivery that is in the queue is asked for again. An
// attempt and its record take less than againLater.
const (
	againTries = 2
	againPause = 20 * time.Millisecond
	againLater = 20 * time.Second
)

func refMessage(subject string, d *webhook.Delivery) (*nats.Msg, error) {
	data, err := marshal(dueRef{d.ID, d.Tenant, d.Source, true})
	if err != nil {
		return nil, fmt.Errorf("queue delivery %s: %w", d.ID, err)
	}
	return &nats.Msg{Subject: subject, Data: data, Header: nats.Header{}}, nil
}

// DueDelivery decodes a message of the queue. When recorded, the delivery names
// only its record, which is the truth; see Delivery.
func DueDelivery(data []byte) (d *webhook.Delivery, recorded bool, err error) {
	var both struct {
		webhook.Delivery
		Ref bool `json:"ref"`
	}
	if err := unmarshal(data, &both); err != nil {
		return nil, false, fmt.Errorf("decode due delivery: %w: %w", task.ErrBadRecord, err)
	}
	d = &both.Delivery
	if both.Ref {
		if !d.ID.Valid() || !task.ValidTenant(d.Tenant) || !d.Source.Valid() {
			return nil, true, fmt.Errorf("decode due delivery: %w", task.ErrBadRecord)
		}
		return d, true, nil
	}
	if err := d.Validate(); err != nil {
		return nil, false, fmt.Errorf("decode due delivery: %w", err)
	}
	return d, false, nil
}

// Save writes d's record if its revision is still d.Rev (0: if there is
// none) and sets d.Rev. It returns task.ErrConflict when another writer came
// first. A record without room loses the older half of its attempts.
func (s Deliveries) Save(ctx context.Context, d *webhook.Delivery) error {
	err := s.save(ctx, d)
	for errors.Is(err, task.ErrTooLarge) && len(d.Attempts) > 1 {
		d.Attempts = d.Attempts[(len(d.Attempts)+1)/2:]
		err = s.save(ctx, d)
	}
	return err
}

func (s Deliveries) save(ctx context.Context, d *webhook.Delivery) error {
	data, err := marshal(d)
	if err != nil {
		return fmt.Errorf("record delivery %s: %w", d.ID, err)
	}
	msg := &nats.Msg{Subject: topology.DeliveryRecord(d.Tenant, d.Source, d.ID), Data: data}
	rev, err := s.replace(ctx, s.deliveries, msg, d.Rev)
	if err != nil {
		return fmt.Errorf("record delivery %s: %w", d.ID, err)
	}
	d.Rev = rev
	return nil
}

// Get reads the record of a delivery. It returns
// webhook.ErrDeliveryNotFound when there is none. The source may be "*" when it
// is not known.
func (s Deliveries) Get(ctx context.Context, tenant string, source webhook.Source, id webhook.DeliveryID) (*webhook.Delivery, error) {
	ctx, cancel := s.bound(ctx, topology.DeliveriesBucket)
	defer cancel()
	msg, err := s.deliveries.GetLastMsgForSubject(ctx, topology.DeliveryRecord(tenant, source, id))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("read delivery %s: %w", id, webhook.ErrDeliveryNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read delivery %s: %w", id, classify(err))
	}
	return decodeDelivery(msg.Data, msg.Sequence)
}

// Find reads a delivery, also one that waits for its first attempt and is only in the
// queue. It returns webhook.ErrDeliveryNotFound when there is none. The source may be
// "*" when it is not known.
func (s Deliveries) Find(ctx context.Context, tenant string, source webhook.Source, id webhook.DeliveryID) (*webhook.Delivery, error) {
	d, err := s.Get(ctx, tenant, source, id)
	if errors.Is(err, webhook.ErrDeliveryNotFound) {
		return s.Queued(ctx, tenant, source, id)
	}
	return d, err
}

// Queued is Find for a delivery that had no record a moment ago. The order is the way
// of a delivery: one that is recorded while we look is met at its record.
func (s Deliveries) Queued(ctx context.Context, tenant string, source webhook.Source, id webhook.DeliveryID) (*webhook.Delivery, error) {
	d, recorded, err := s.queued(ctx, tenant, id)
	if recorded || errors.Is(err, webhook.ErrDeliveryNotFound) {
		return s.Get(ctx, tenant, source, id)
	}
	return d, err
}

// queued reads the message of a delivery that is due. When recorded, that names only
// the record.
func (s Deliveries) queued(ctx context.Context, tenant string, id webhook.DeliveryID) (d *webhook.Delivery, recorded bool, err error) {
	ctx, cancel := s.bound(ctx, topology.Deliveries)
	defer cancel()
	msg, err := s.due.GetLastMsgForSubject(ctx, topology.DeliveryDue(tenant, id))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		err = webhook.ErrDeliveryNotFound
	}
	if err != nil {
		return nil, false, fmt.Errorf("look delivery %s up in the queue: %w", id, classify(err))
	}
	return DueDelivery(msg.Data)
}

func decodeDelivery(data []byte, rev uint64) (*webhook.Delivery, error) {
	var d webhook.Delivery
	if err := unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("decode delivery at revision %d: %w: %w", rev, task.ErrBadRecord, err)
	}
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("decode delivery at revision %d: %w", rev, err)
	}
	d.Rev = rev
	return &d, nil
}

// Of lists the recorded deliveries of a task, oldest change first.
func (s Deliveries) Of(ctx context.Context, tenant string, source webhook.Source) ([]*webhook.Delivery, error) {
	all, err := recorded(ctx, s.core, s.deliveries, topology.DeliveryRecordsOf(tenant, source), decodeDelivery)
	if err != nil {
		return nil, fmt.Errorf("list deliveries of %s: %w", source, err)
	}
	return all, nil
}

// List returns up to limit recorded deliveries of a tenant that match,
// newest change first, from revision at (0: the newest) downwards. A short page
// is not the end.
func (s Deliveries) List(ctx context.Context, tenant string, q Search[*webhook.Delivery]) (Found[*webhook.Delivery], error) {
	page, err := newestFirst(ctx, s.core, s.deliveries, topology.DeliveriesOf(tenant), q, decodeDelivery)
	if err != nil {
		return page, fmt.Errorf("list deliveries: %w", err)
	}
	return page, nil
}

// RecordOf decodes a change of a task's record, as a consumer of the records'
// stream gets it; nil when it is no value.
func RecordOf(data []byte, rev uint64) (*task.Task, error) {
	if len(data) == 0 {
		return nil, nil
	}
	return decodeRecord(data, rev)
}
