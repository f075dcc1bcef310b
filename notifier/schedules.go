package notifier

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"agentmesh/shared/event"
	scheduled "agentmesh/shared/schedule"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// toldFor is how old an event of a schedule may be and still be told, after
// notifiers were away. The records of deliveries live longer, so that what is looked
// at again is known to have been told.
const toldFor = 72 * time.Hour

// fanSchedule turns one change of a schedule's record into deliveries. The bucket
// keeps the newest record only, which tells its newest runs and pauses: changes that
// nobody saw are told with it.
func (f *fanout) fanSchedule(ctx context.Context, msg *store.Delivered, _ time.Time) {
	err := f.fanScheduleChange(ctx, msg)
	switch {
	case err == nil:
		_ = msg.Ack()
	case errors.Is(err, task.ErrBadRecord), errors.Is(err, errMalformed):
		f.log.Error("a change of a schedule is left out, it is not readable", "subject", msg.Subject, "error", err)
		_ = msg.Drop()
	default:
		f.log.Warn("events of a schedule not fanned out, trying again", "subject", msg.Subject, "error", err)
		_ = msg.Nak(time.Second)
	}
}

func (f *fanout) fanScheduleChange(ctx context.Context, msg *store.Delivered) error {
	subscribed, err := f.webhooks.all(ctx)
	if err != nil || len(subscribed) == 0 {
		return err
	}
	by, err := msg.Delivery()
	if err != nil {
		return err
	}
	s, err := store.ScheduleOf(msg.Data, by.Seq)
	if err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	if s == nil {
		return nil
	}
	var to audience
	for _, e := range subscribed.of(s.Tenant, s.Agent()) {
		to = append(to, receiver{webhook: e, filter: e.Filter(), agent: s.Agent(), since: e.CreatedAt})
	}
	events, err := event.OfSchedule(s, time.Now().Add(-toldFor), to.wants)
	if err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	for _, e := range events {
		if f.told.has(e.ID) {
			continue
		}
		if err := f.sendSchedule(ctx, s, e, to); err != nil {
			return err
		}
		f.told.note(e.ID)
	}
	return nil
}

// sendSchedule hands an event of a schedule over to those who want it.
func (f *fanout) sendSchedule(ctx context.Context, s *scheduled.Schedule, e event.Event, to audience) error {
	for _, r := range to {
		if !r.wants(e.Type) || !e.At.Add(clockSkew).After(r.since) {
			continue
		}
		d := &webhook.Delivery{
			Tenant: s.Tenant, Source: webhook.Source(s.ID), EventID: e.ID, Type: e.Type, Agent: s.Agent(),
			Body: e.Body, CreatedAt: task.Stamp(time.Now()), Webhook: r.webhook.ID, Depth: 1,
		}
		if err := f.hand(ctx, d, r, false); err != nil {
			return err
		}
	}
	return nil
}

// told remembers which events of schedules were fanned out here: each later record
// tells them again. It only spares work, so it forgets at will.
type told struct {
	mu       sync.Mutex
	now, old map[string]bool
}

func newTold() *told { return &told{now: map[string]bool{}} }

func (t *told) has(event string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now[event] || t.old[event]
}

func (t *told) note(event string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now[event] = true
	if len(t.now) > maxSeen {
		t.now, t.old = map[string]bool{}, t.now
	}
}
