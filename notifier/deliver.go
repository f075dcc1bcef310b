package notifier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"agentmesh/shared/egress"
	"agentmesh/shared/keyring"
	"agentmesh/shared/pause"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/webhook"
)

// handle works on one delivery that is due. The message is acknowledged last,
// when the record and the schedule say what comes next: after a crash at any
// point it comes again.
func (n *Notifier) handle(ctx context.Context, msg *store.Delivered, born time.Time) {
	defer n.lanes.arrive()()
	d, recorded, err := store.DueDelivery(msg.Data)
	if err != nil {
		n.log.Error("a delivery is left out, it is not readable", "subject", msg.Subject, "error", err)
		_ = msg.Drop()
		return
	}
	came, err := msg.Delivery()
	var early time.Duration
	if err == nil {
		early, err = n.deliver(ctx, d, arrival{came, msg.Header, recorded, recorded || n.repeated(came, born)})
	}
	switch {
	case early > 0:
		_ = msg.Nak(early)
	case err == nil:
		_ = msg.Ack()
	case ctx.Err() != nil:
		_ = msg.Nak(0) // for another notifier, at once
	default:
		n.log.Warn("delivery not settled, trying again", "delivery", d.ID, "error", err)
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
func (n *Notifier) deliver(ctx context.Context, d *webhook.Delivery, by arrival) (wait time.Duration, err error) {
	if by.known {
		rec, err := n.store.Deliveries.Get(ctx, d.Tenant, d.Source, d.ID)
		switch {
		case err == nil:
			d = rec
		case by.recorded && errors.Is(err, webhook.ErrDeliveryNotFound):
			n.log.Info("delivery is past its retention", "delivery", d.ID)
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
		return 0, n.store.Deliveries.Schedule(ctx, d)
	case hold > 0:
		return hold, nil
	}
	return 0, n.take(ctx, d, by.header)
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
func (n *Notifier) take(ctx context.Context, d *webhook.Delivery, hdr map[string][]string) error {
	done, come, err := n.lanes.enter(ctx, laneOf(d), d.Test)
	if err != nil {
		return err
	}
	if !come.IsZero() {
		return n.postpone(ctx, d, come)
	}
	// The endpoint is read only now: the delivery may have waited long, and the
	// settings count that hold when the request is sent.
	to, endpoint, err := n.targetOf(ctx, d)
	if err != nil || endpoint != nil && endpoint.Disabled != nil && !d.Test {
		done(neutral)
		return n.withhold(ctx, d, endpoint, to.url, err)
	}
	v := n.attemptTraced(ctx, d, to, hdr)
	if ctx.Err() != nil && v.attempt.Class != webhook.ClassDelivered { // cut by our own end
		done(neutral)
		return ctx.Err()
	}
	if done(v.health) {
		n.log.Warn("endpoint is down, its deliveries wait", "endpoint", laneOf(d), "class", v.attempt.Class)
	}
	return n.settle(ctx, d, endpoint, v)
}

// withhold settles a delivery that cannot be sent: its webhook was deleted or is
// disabled, or there is nothing to sign it with. Nothing is sent unsigned.
func (n *Notifier) withhold(ctx context.Context, d *webhook.Delivery, e *webhook.Endpoint, url string, err error) error {
	switch {
	case errors.Is(err, errGone):
		n.log.Info("delivery canceled, its webhook was deleted", "delivery", d.ID, "event", d.EventID, "webhook", d.Webhook)
		return n.end(ctx, d, webhook.Canceled)
	case errors.Is(err, errNoKey):
		v := verdict{attempt: webhook.Attempt{At: task.Stamp(time.Now()), URL: url, Class: webhook.ClassKey, Error: err.Error()}, alert: true}
		return n.settle(ctx, d, e, v)
	case err != nil:
		return err
	}
	return n.end(ctx, d, webhook.Parked)
}

// end gives a delivery its last status, unless another notifier has.
func (n *Notifier) end(ctx context.Context, d *webhook.Delivery, s webhook.Status) error {
	var was webhook.Status
	err := n.record(ctx, d, func(d *webhook.Delivery) error {
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

func (n *Notifier) attemptTraced(ctx context.Context, d *webhook.Delivery, to target, hdr map[string][]string) verdict {
	traced, span := startProcess(ctx, d, hdr)
	v := n.attempt(traced, d, to)
	v.span = telemetry.Recorded(traced)
	var err error
	if v.after != finished {
		err = errors.New(string(v.attempt.Class))
	}
	telemetry.End(span, err)
	return v
}

var errNoKey = errors.New("there is no key to sign with")

// targetOf finds where a delivery goes now, and its webhook, if it has one. It
// returns errGone when that was deleted, and errNoKey when nothing can be signed.
func (n *Notifier) targetOf(ctx context.Context, d *webhook.Delivery) (to target, e *webhook.Endpoint, err error) {
	if d.Webhook != "" {
		if e, err = n.store.Webhooks.Get(ctx, d.Tenant, d.Webhook); errors.Is(err, webhook.ErrNotFound) {
			return to, nil, errGone
		}
		if err != nil {
			return to, nil, err
		}
		to.url = e.URL
		secrets, err := n.keys.Open(e)
		if err == nil {
			to.headers = secrets.Headers
			to.identity = egress.Identity{Certificate: e.Certificate, Key: secrets.ClientKey, CA: e.CA}
			to.keys, err = keyring.SigningKeys(e, secrets, time.Now())
		}
		return to, e, noKey(err)
	}
	to.url = d.URL
	if d.SecretRef == "" {
		to.keys, err = n.keys.CallbackKeys(d.Tenant)
		return to, nil, noKey(err)
	}
	by, err := n.store.Webhooks.Get(ctx, d.Tenant, d.SecretRef)
	if errors.Is(err, webhook.ErrNotFound) {
		return to, nil, fmt.Errorf("%w: webhook %s was deleted", errNoKey, d.SecretRef)
	}
	if err != nil {
		return to, nil, err
	}
	secrets, err := n.keys.Open(by)
	if keys, bad := keyring.SigningKeys(by, secrets, time.Now()); bad == nil { // the rest of its secrets is not needed
		to.keys, err = keys, nil
	} else if err == nil {
		err = bad
	}
	return to, nil, noKey(err)
}

func noKey(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errNoKey, err)
}

// The wait after a fault of our own proxy, which doubles while it lasts.
const (
	proxyPause        = 10 * time.Second
	proxyPauseLongest = 5 * time.Minute
)

// settle writes down what an attempt came to, disables an endpoint that asked
// for it, and schedules the next attempt.
func (n *Notifier) settle(ctx context.Context, d *webhook.Delivery, e *webhook.Endpoint, v verdict) error {
	signed := d.Signed
	var was webhook.Status
	err := n.record(ctx, d, func(d *webhook.Delivery) error {
		was = d.Status
		d.Signed = max(d.Signed, signed)
		d.Previous = v.span
		return judge(d, v)
	})
	if err != nil {
		return err
	}
	if v.disable && e != nil {
		if err := n.disable(ctx, e, v.attempt); err != nil {
			return err
		}
	}
	n.count(d, was, v)
	n.report(telemetry.WithTraceParent(ctx, v.span, ""), d, v)
	if d.Status.Final() || was.Final() {
		return nil
	}
	if err := n.store.Deliveries.Schedule(ctx, d); err != nil {
		return err
	}
	return n.restoreNewerSchedule(ctx, d)
}

// restoreNewerSchedule puts back a schedule that the one of d has replaced: since
// d's record was written somebody may have asked for the delivery at once.
func (n *Notifier) restoreNewerSchedule(ctx context.Context, d *webhook.Delivery) error {
	rec, err := n.store.Deliveries.Get(ctx, d.Tenant, d.Source, d.ID)
	if err != nil || rec.Rev == d.Rev || rec.Status.Final() {
		return err
	}
	return n.store.Deliveries.Schedule(ctx, rec)
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

// report is the one line of an attempt.
func (n *Notifier) report(ctx context.Context, d *webhook.Delivery, v verdict) {
	attrs := []any{
		"delivery", d.ID, "event", d.EventID, "type", d.Type, "task", d.Source, "endpoint", laneOf(d), "status", d.Status,
		"class", v.attempt.Class, "status_code", v.attempt.StatusCode, "took", v.attempt.Duration, "failures", d.Failures,
		"trace_id", telemetry.TraceIDOf(d.TraceParent),
	}
	switch {
	case d.Status == webhook.Dead && !d.Test:
		n.log.ErrorContext(ctx, "delivery dead", attrs...)
	case v.alert:
		n.log.ErrorContext(ctx, "delivery failed, a person must look", attrs...)
	case v.after == finished:
		n.log.InfoContext(ctx, "delivered", attrs...)
	default:
		n.log.InfoContext(ctx, "delivery failed", append(attrs, "next", d.NextAt)...)
	}
}

// record changes a delivery's record by compare-and-set. d is what was last
// read of it, and then what was written.
func (n *Notifier) record(ctx context.Context, d *webhook.Delivery, change func(*webhook.Delivery) error) error {
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
		err := n.store.Deliveries.Save(ctx, d)
		if err == nil {
			return nil
		}
		if !errors.Is(err, task.ErrConflict) {
			if !pause.For(ctx, wait) {
				return err
			}
			wait = min(2*wait, 2*time.Second)
		}
		rec, readErr := n.store.Deliveries.Get(ctx, d.Tenant, d.Source, d.ID)
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

// disable turns an endpoint off that asked for it: later events are parked for
// it.
func (n *Notifier) disable(ctx context.Context, e *webhook.Endpoint, a webhook.Attempt) error {
	for {
		if e.Disabled != nil {
			return nil
		}
		reason := fmt.Sprintf("the receiver answered %d and wants no more events", a.StatusCode)
		e.Disabled = &webhook.Disabled{Reason: reason, At: task.Stamp(time.Now())}
		e.UpdatedAt = e.Disabled.At
		err := n.store.Webhooks.Save(ctx, e)
		if err == nil {
			n.log.Error("webhook disabled by its receiver: events are parked until it is enabled again", "webhook", e.ID, "tenant", e.Tenant, "status_code", a.StatusCode)
			return nil
		}
		if !errors.Is(err, task.ErrConflict) {
			return err
		}
		fresh, err := n.store.Webhooks.Get(ctx, e.Tenant, e.ID)
		if errors.Is(err, webhook.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if fresh.URL != e.URL { // it was somebody else who asked
			return nil
		}
		e = fresh
	}
}
