package notifier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"agentmesh/shared/event"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/topology"
	"agentmesh/shared/webhook"
)

// clockSkew is how much older than a webhook an event may look and still be sent
// to it: their times come from different machines.
const clockSkew = 5 * time.Second

// callbackMark is in every record with a callback. Where no webhook wants to
// know either, a change is not worth decoding.
var callbackMark = []byte(`"callback":`)

// fanout turns what happens to tasks into deliveries.
type fanout struct {
	store     *store.Store
	log       *slog.Logger
	webhooks  *webhooks
	pushes    *pushIndex
	lanes     *lanes
	later     timetable
	seen      *seen
	told      *told
	started   time.Time // when this process did
	publicURL string
}

// sift acknowledges the changes that nobody wants to be told of, and returns the
// others. One look at who wants to be told does for all: it begins when they have come,
// so a webhook that was created before a task finished hears of it.
func (f *fanout) sift(ctx context.Context, burst []*store.Delivered) (rest []*store.Delivered, handle handler) {
	subscribed, err := f.webhooks.all(ctx)
	handle = func(ctx context.Context, msg *store.Delivered, born time.Time) {
		if err == nil {
			f.fan(ctx, subscribed, msg, born)
		} else {
			f.settle(msg, err)
		}
	}
	if err != nil {
		return burst, handle
	}
	for _, msg := range burst {
		if len(subscribed) > 0 || f.pushes.has(msg.Owner()) || bytes.Contains(msg.Data, callbackMark) {
			rest = append(rest, msg)
		} else {
			_ = msg.Ack()
		}
	}
	return rest, handle
}

// fan turns one change of a task's record into deliveries. A delivery's id is
// that of the event and the receiver, and the store takes it once, so a change
// may come any number of times.
func (f *fanout) fan(ctx context.Context, subscribed subscribers, msg *store.Delivered, born time.Time) {
	f.settle(msg, f.fanChange(ctx, subscribed, msg, born))
}

// settle ends the work on a change.
func (f *fanout) settle(msg *store.Delivered, err error) {
	switch {
	case err == nil:
		_ = msg.Ack()
	case errors.Is(err, task.ErrBadRecord), errors.Is(err, errMalformed):
		f.log.Error("a change of a record is left out, it is not readable", "subject", msg.Subject, "error", err)
		_ = msg.Drop()
	default:
		f.log.Warn("events not fanned out, trying again", "subject", msg.Subject, "error", err)
		_ = msg.Nak(time.Second)
	}
}

var errMalformed = errors.New("malformed")

func (f *fanout) fanChange(ctx context.Context, subscribed subscribers, msg *store.Delivered, born time.Time) error {
	owner := msg.Owner()
	pushed := f.pushes.has(owner)
	by, err := msg.Delivery()
	if err != nil {
		return err
	}
	t, err := store.RecordOf(msg.Data, by.Seq)
	if err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	if t == nil {
		return nil
	}
	if pushed {
		if err := f.push(ctx, t, owner, repeated(by, born, f.started)); err != nil {
			return err
		}
	}
	audience := audienceOf(t, subscribed)
	// Events that this process has fanned out before are left out. Every other
	// event that the record still tells is looked at: revisions that nobody saw
	// may have fallen out of the bucket's history.
	events, err := event.Of(t, f.seen.upTo(t), audience.wants, f.resultURL)
	if err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	if len(events) == 0 {
		f.seen.note(t)
		return nil
	}
	ctx, span := startFanout(ctx, t)
	err = f.sendAll(ctx, t, events, audience, repeated(by, born, f.started))
	telemetry.End(span, err)
	if err == nil {
		f.seen.note(t)
	}
	return err
}

// resultURL is where a receiver reads the result of a task: at a gateway.
func (f *fanout) resultURL(t *task.Task) string {
	kind := "/tasks/"
	if t.Kind == task.KindAction {
		kind = "/actions/"
	}
	return strings.TrimSuffix(f.publicURL, "/") + kind + string(t.ID) + "/result"
}

// sendAll hands the events of a change over to those who want them.
func (f *fanout) sendAll(ctx context.Context, t *task.Task, events []event.Event, audience audience, repeated bool) error {
	for _, e := range events {
		fresh := e.After >= t.Replaces && !repeated
		for _, r := range audience {
			if r.wants(e.Type) && (r.since.IsZero() || e.At.Add(clockSkew).After(r.since)) {
				if err := f.send(ctx, t, e, r, fresh); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// receiver is who is told of a task's events: its callback or a webhook.
type receiver struct {
	callback *task.Callback
	webhook  *webhook.Endpoint
	push     *webhook.Push
	filter   event.Filter
	agent    string
	since    time.Time
}

func (r receiver) wants(t event.Type) bool { return r.filter.Match(t, r.agent) }

type audience []receiver

func (a audience) wants(t event.Type) bool {
	for _, r := range a {
		if r.wants(t) {
			return true
		}
	}
	return false
}

// audienceOf are the receivers that may want events of t.
func audienceOf(t *task.Task, all subscribers) (told audience) {
	if c := t.Callback; c != nil {
		f := event.Filter{}
		for _, name := range c.Events {
			f.Types = append(f.Types, event.Type(name))
		}
		told = append(told, receiver{callback: c, filter: f, agent: t.Agent})
	}
	for _, e := range all.of(t.Tenant, t.Agent) {
		told = append(told, receiver{webhook: e, filter: e.Filter(), agent: t.Agent, since: e.CreatedAt})
	}
	return told
}

// send hands the delivery of a task's event to a receiver over.
func (f *fanout) send(ctx context.Context, t *task.Task, e event.Event, r receiver, fresh bool) error {
	d := &webhook.Delivery{
		Tenant: t.Tenant, Source: webhook.Source(t.ID), EventID: e.ID, Type: e.Type, Agent: t.Agent,
		Body: e.Body, CreatedAt: task.Stamp(time.Now()), TraceParent: t.TraceParent, TraceState: t.TraceState,
		Cause: causeOf(t), Depth: t.EventDepth + 1,
	}
	if r.webhook != nil {
		d.Webhook = r.webhook.ID
	} else if r.push != nil {
		d.Push, d.URL = r.push.ID, r.push.URL
	} else {
		d.URL, d.SealedURL, d.SecretRef = r.callback.URL, r.callback.Sealed, webhook.ID(r.callback.SecretRef)
	}
	return f.hand(ctx, d, r, fresh)
}

// hand hands a delivery over to the queue, parks it where the receiver is disabled,
// and schedules it where the receiver is known to be down. Unless it is fresh, it may
// have been handed over before.
func (f *fanout) hand(ctx context.Context, d *webhook.Delivery, r receiver, fresh bool) error {
	d.ID = webhook.NewDeliveryID(d.EventID, d.Receiver())
	begins := webhook.Pending
	if r.webhook != nil && r.webhook.Disabled != nil {
		begins = webhook.Parked
	}
	if err := d.To(begins); err != nil {
		return err
	}
	if !fresh {
		_, err := f.store.Deliveries.Get(ctx, d.Tenant, d.Source, d.ID)
		if err == nil {
			return f.later.ensure(ctx, d)
		}
		if !errors.Is(err, webhook.ErrDeliveryNotFound) {
			return err
		}
	}
	if d.Status == webhook.Parked {
		d.UpdatedAt = d.CreatedAt
		err := f.store.Deliveries.Save(ctx, d)
		if err == nil {
			countEnded(d)
		}
		return once(err)
	}
	if come := f.lanes.full(laneOf(d)); !come.IsZero() { // it would stand in the way of others
		return f.later.postpone(ctx, d, come)
	}
	ctx, span := telemetry.StartPublish(ctx, topology.DueTemplate, telemetry.TaskID(d.Source), telemetry.Tenant(d.Tenant), telemetry.DeliveryID(d.ID), telemetry.MessageID(d.ID))
	err := f.store.Deliveries.Enqueue(ctx, d)
	telemetry.End(span, err)
	return err
}

// once treats a record that exists already as written.
func once(err error) error {
	if errors.Is(err, task.ErrConflict) {
		return nil
	}
	return err
}

// seen remembers up to which revision the events of a task were fanned out here.
// It only spares work, so it forgets at will.
type seen struct {
	mu       sync.Mutex
	now, old map[task.ID]uint64
}

const maxSeen = 8192

func newSeen() *seen { return &seen{now: map[task.ID]uint64{}} }

func (s *seen) upTo(t *task.Task) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.now[t.ID], s.old[t.ID])
}

// note remembers t until it has finished.
func (s *seen) note(t *task.Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.Rev > s.now[t.ID] {
		s.now[t.ID] = t.Rev
	}
	if len(s.now) > maxSeen {
		s.now, s.old = map[task.ID]uint64{}, s.now
	}
}
