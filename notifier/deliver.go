package notifier

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"agentmesh/shared/store"
	"agentmesh/shared/webhook"
)

// courier takes deliveries that are due to their receivers.
type courier struct {
	store     *store.Store
	log       *slog.Logger
	lanes     *lanes
	later     timetable
	addresses addresses
	sender    sender
	started   time.Time // when this process did
}

// handle works on one delivery that is due. The message is acknowledged last,
// when the record and the schedule say what comes next: after a crash at any
// point it comes again.
func (c courier) handle(ctx context.Context, msg *store.Delivered, born time.Time) {
	defer c.lanes.arrive()()
	d, recorded, err := store.DueDelivery(msg.Data)
	if err != nil {
		c.log.Error("a delivery is left out, it is not readable", "subject", msg.Subject, "error", err)
		_ = msg.Drop()
		return
	}
	came, err := msg.Delivery()
	var early time.Duration
	if err == nil {
		early, err = c.deliver(ctx, d, arrival{came, msg.Header, recorded, recorded || repeated(came, born, c.started)})
	}
	switch {
	case early > 0:
		_ = msg.Nak(early)
	case err == nil:
		_ = msg.Ack()
	case ctx.Err() != nil:
		_ = msg.Nak(0) // for another notifier, at once
	default:
		c.log.Warn("delivery not settled, trying again", "delivery", d.ID, "error", err)
		_ = msg.Nak(time.Second)
	}
}

// errGone is an endpoint that was deleted.
var errGone = errors.New("the webhook was deleted")

// arrival is how a delivery came.
type arrival struct {
	came     store.Delivery
	header   map[string][]string
	recorded bool // the message names a record
	known    bool // there may be a record: it is the truth
}

// deliver attempts a delivery, unless it need not be or cannot be now. A wait says
// that its message is early, by our clock.
func (c courier) deliver(ctx context.Context, d *webhook.Delivery, by arrival) (wait time.Duration, err error) {
	if by.known {
		rec, err := c.store.Deliveries.Get(ctx, d.Tenant, d.Source, d.ID)
		switch {
		case err == nil:
			d = rec
		case by.recorded && errors.Is(err, webhook.ErrDeliveryNotFound):
			c.log.Info("delivery is past its retention", "delivery", d.ID)
			return 0, nil
		case !errors.Is(err, webhook.ErrDeliveryNotFound):
			return 0, err
		}
	}
	if d.Status.Final() {
		return 0, nil // a repeat
	}
	switch hold, replaced := early(d.NextAt, by.came.At, time.Now()); {
	case replaced:
		return 0, c.store.Deliveries.Schedule(ctx, d)
	case hold > 0:
		return hold, nil
	}
	return 0, c.take(ctx, d, by.header)
}

// maxEarly bounds how long one message is held that is early.
const maxEarly = 30 * time.Second

// early decides on a message that the server stored at one time, by its clock, of
// a delivery that is due at another. One of a schedule that was replaced by a
// later one goes back into the schedule. Where the server takes the delivery for
// due and we do not, its clock is ahead of ours: a schedule would bring it back
// at once, so the message is held.
func early(due, stored, now time.Time) (hold time.Duration, replaced bool) {
	left := due.Sub(now)
	if left <= time.Second {
		return 0, false
	}
	if due.Sub(stored) > time.Second {
		return 0, true
	}
	return min(left, maxEarly), false
}

// take has a delivery that is due wait for its turn, and attempts it.
func (c courier) take(ctx context.Context, d *webhook.Delivery, hdr map[string][]string) error {
	done, come, err := c.lanes.enter(ctx, laneOf(d), d.Test)
	if err != nil {
		return err
	}
	if !come.IsZero() {
		return c.later.postpone(ctx, d, come)
	}
	// The endpoint is read only now: the delivery may have waited long, and the
	// settings count that hold when the request is sent.
	to, endpoint, err := c.addresses.of(ctx, d)
	if err != nil || endpoint != nil && endpoint.Disabled != nil && !d.Test {
		done(neutral)
		return c.withhold(ctx, d, endpoint, shown(to.url), err)
	}
	v := c.sender.traced(ctx, d, to, hdr)
	if ctx.Err() != nil && v.attempt.Class != webhook.ClassDelivered { // cut by our own end
		done(neutral)
		return ctx.Err()
	}
	if done(v.health) {
		c.log.Warn("endpoint is down, its deliveries wait", "endpoint", laneOf(d), "class", v.attempt.Class)
	}
	return c.settle(ctx, d, endpoint, v)
}
