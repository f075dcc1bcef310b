package notifier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"agentmesh/shared/pause"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/webhook"
)

// The wait after a fault of our own proxy, which doubles while it lasts.
const (
	proxyPause        = 10 * time.Second
	proxyPauseLongest = 5 * time.Minute
)

// withhold settles a delivery that cannot be sent: its webhook was deleted or is
// disabled, or there is nothing to sign it with. Nothing is sent unsigned.
func (c courier) withhold(ctx context.Context, d *webhook.Delivery, e *webhook.Endpoint, url string, err error) error {
	switch {
	case errors.Is(err, errGone):
		c.log.Info("delivery canceled, its webhook was deleted", "delivery", d.ID, "event", d.EventID, "webhook", d.Webhook)
		return c.end(ctx, d, webhook.Canceled)
	case errors.Is(err, errNoKey):
		v := verdict{attempt: webhook.Attempt{At: task.Stamp(time.Now()), URL: url, Class: webhook.ClassKey, Error: err.Error()}, alert: true}
		return c.settle(ctx, d, e, v)
	case err != nil:
		return err
	}
	return c.end(ctx, d, webhook.Parked)
}

// end gives a delivery its last status, unless another notifier has.
func (c courier) end(ctx context.Context, d *webhook.Delivery, s webhook.Status) error {
	var was webhook.Status
	err := c.record(ctx, d, func(d *webhook.Delivery) error {
		if was = d.Status; was.Final() {
			return nil
		}
		return d.To(s)
	})
	if err == nil && !was.Final() {
		countEnded(d)
	}
	return err
}

// settle writes down what an attempt came to, disables an endpoint that asked
// for it, and schedules the next attempt.
func (c courier) settle(ctx context.Context, d *webhook.Delivery, e *webhook.Endpoint, v verdict) error {
	signed := d.Signed
	var was webhook.Status
	err := c.record(ctx, d, func(d *webhook.Delivery) error {
		was = d.Status
		d.Signed = max(d.Signed, signed)
		d.Previous = v.span
		return judge(d, v)
	})
	if err != nil {
		return err
	}
	if v.disable && e != nil {
		if err := c.disable(ctx, e, v.attempt); err != nil {
			return err
		}
	}
	count(d, was, v)
	c.report(telemetry.WithTraceParent(ctx, v.span, ""), d, v)
	if d.Status.Final() || was.Final() {
		return nil
	}
	if err := c.store.Deliveries.Schedule(ctx, d); err != nil {
		return err
	}
	return c.later.restoreNewer(ctx, d)
}

// report is the one line of an attempt.
func (c courier) report(ctx context.Context, d *webhook.Delivery, v verdict) {
	attrs := []any{
		"delivery", d.ID, "event", d.EventID, "type", d.Type, "task", d.Source, "endpoint", laneOf(d), "status", d.Status,
		"class", v.attempt.Class, "status_code", v.attempt.StatusCode, "took", v.attempt.Duration, "failures", d.Failures,
		"trace_id", telemetry.TraceIDOf(d.TraceParent),
	}
	switch {
	case d.Status == webhook.Dead && !d.Test:
		c.log.ErrorContext(ctx, "delivery dead", attrs...)
	case v.alert:
		c.log.ErrorContext(ctx, "delivery failed, a person must look", attrs...)
	case v.after == finished:
		c.log.InfoContext(ctx, "delivered", attrs...)
	default:
		c.log.InfoContext(ctx, "delivery failed", append(attrs, "next", d.NextAt)...)
	}
}

// record changes a delivery's record by compare-and-set. d is what was last
// read of it, and then what was written.
func (c courier) record(ctx context.Context, d *webhook.Delivery, change func(*webhook.Delivery) error) error {
	// The request was sent, so its outcome is written also while this process
	// ends.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
	defer cancel()
	began := *d
	wait := 50 * time.Millisecond
	for {
		if err := change(d); err != nil {
			return err
		}
		d.UpdatedAt = task.Stamp(time.Now())
		err := c.store.Deliveries.Save(ctx, d)
		if err == nil {
			return nil
		}
		if !errors.Is(err, task.ErrConflict) {
			if !pause.For(ctx, wait) {
				return err
			}
			wait = min(2*wait, 2*time.Second)
		}
		rec, readErr := c.store.Deliveries.Get(ctx, d.Tenant, d.Source, d.ID)
		switch {
		case readErr == nil && sameAttempts(rec, d):
			*d = *rec // our own write, whose answer was lost
			return nil
		case readErr == nil:
			*d = *rec
		case errors.Is(readErr, webhook.ErrDeliveryNotFound):
			*d = began
		default:
			return errors.Join(err, readErr)
		}
	}
}

// disable turns an endpoint off that asked for it: later events are parked for
// it.
func (c courier) disable(ctx context.Context, e *webhook.Endpoint, a webhook.Attempt) error {
	for {
		if e.Disabled != nil {
			return nil
		}
		reason := fmt.Sprintf("the receiver answered %d and wants no more events", a.StatusCode)
		e.Disabled = &webhook.Disabled{Reason: reason, At: task.Stamp(time.Now())}
		e.UpdatedAt = e.Disabled.At
		err := c.store.Webhooks.Save(ctx, e)
		if err == nil {
			c.log.Error("webhook disabled by its receiver: events are parked until it is enabled again", "webhook", e.ID, "tenant", e.Tenant, "status_code", a.StatusCode)
			return nil
		}
		if !errors.Is(err, task.ErrConflict) {
			return err
		}
		fresh, err := c.store.Webhooks.Get(ctx, e.Tenant, e.ID)
		if errors.Is(err, webhook.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if fresh.URL != e.URL || !bytes.Equal(fresh.Sealed, e.Sealed) { // it was somebody else who asked
			return nil
		}
		e = fresh
	}
}

// judge puts the outcome of an attempt into the record.
func judge(d *webhook.Delivery, v verdict) (err error) {
	now, a := time.Now(), v.attempt
	switch {
	case v.after == finished:
		err = d.To(webhook.Delivered)
	case d.Status.Final(): // settled by another notifier in the meantime
	case v.after == giveUp:
		d.Failures++
		err = d.To(webhook.Dead)
	case v.after == retryUncounted:
		wait := proxyPause
		if last := len(d.Attempts) - 1; last >= 0 && d.Attempts[last].Class == a.Class {
			before := d.Attempts[last]
			wait = min(max(2*before.NextAt.Sub(before.At), proxyPause), proxyPauseLongest)
			d.Attempts = d.Attempts[:last] // one line for the whole time that it lasts
		}
		d.NextAt = task.Stamp(now.Add(wait))
	default:
		d.Failures++
		wait, again := retryIn(d.Failures, v.asked)
		if !again || d.Test {
			err = d.To(webhook.Dead)
			break
		}
		err = d.To(webhook.Retrying)
		d.NextAt = task.Stamp(now.Add(wait))
	}
	a.NextAt = d.NextAt
	d.Note(a)
	return err
}

// recordWithin bounds the tries to write a record.
const recordWithin = 20 * time.Second

// sameAttempts reports whether a record says what we wanted it to say.
func sameAttempts(rec, mine *webhook.Delivery) bool {
	a, b := rec.Attempts, mine.Attempts
	if rec.Status != mine.Status || len(a) != len(b) || !rec.UpdatedAt.Equal(mine.UpdatedAt) {
		return false
	}
	return len(a) == 0 || a[len(a)-1].At.Equal(b[len(b)-1].At) && a[len(a)-1].Duration == b[len(b)-1].Duration
}
