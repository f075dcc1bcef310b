package mesh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"agentmesh/shared/audit"
	"agentmesh/shared/auth"
	"agentmesh/shared/event"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// Deliveries tells what became of events on their way to receivers, and sends them
// again.
type Deliveries struct{ *core }

// DeliveryFilter is what a listing of deliveries asks for. Its zero value asks for
// all.
type DeliveryFilter struct {
	Statuses []webhook.Status // any of them
	Webhook  webhook.ID
	Type     event.Type
	Class    webhook.Class // of the last attempt
	Since    time.Time     // created then or later
}

func (f DeliveryFilter) match(d *webhook.Delivery) bool {
	if f.Class != "" && (len(d.Attempts) == 0 || d.Attempts[len(d.Attempts)-1].Class != f.Class) {
		return false
	}
	return !d.CreatedAt.Before(f.Since) && (len(f.Statuses) == 0 || slices.Contains(f.Statuses, d.Status)) && (f.Webhook == "" || d.Webhook == f.Webhook) && (f.Type == "" || d.Type == f.Type)
}

func (f DeliveryFilter) holds() []store.Member {
	all := holding("webhook_id", string(f.Webhook), "type", string(f.Type), "class", string(f.Class))
	if len(f.Statuses) > 0 {
		of := store.Member{Name: "status"}
		for _, s := range f.Statuses {
			of.Values = append(of.Values, string(s))
		}
		all = append(all, of)
	}
	return all
}

// digest is what a cursor is bound to.
func (f DeliveryFilter) digest(of string) string {
	return digest(of, fmt.Sprint(f.Statuses), string(f.Webhook), string(f.Type), string(f.Class), f.Since.UTC().Format(time.RFC3339Nano))
}

// ListedDeliveries is a page of a listing.
type ListedDeliveries struct {
	Deliveries []*webhook.Delivery
	Next       string // cursor of the next page, empty on the last one
	Scanned    int    // records that were looked at
}

// List lists the recorded deliveries of a tenant, newest change first, a page from a
// cursor on. A page may be short and still have a next one.
func (c Deliveries) List(ctx context.Context, who auth.Caller, f DeliveryFilter, limit int, cursor string) (ListedDeliveries, error) {
	bound := f.digest("deliveries")
	at, err := decodeRevision(cursor, bound)
	if err != nil {
		return ListedDeliveries{}, err
	}
	page, err := c.store.Deliveries.List(ctx, who.Tenant, store.Search[*webhook.Delivery]{From: at, Limit: limit, Match: f.match, Holds: f.holds()})
	if err != nil {
		return ListedDeliveries{}, err
	}
	found := ListedDeliveries{Deliveries: page.Items, Scanned: page.Scanned}
	if page.Next > 0 {
		found.Next = encodeRevision(page.Next, bound)
	}
	return found, nil
}

// Get reads a delivery, also one that waits for its first attempt and is only in
// the queue.
func (c Deliveries) Get(ctx context.Context, who auth.Caller, id webhook.DeliveryID) (*webhook.Delivery, error) {
	if !id.Valid() {
		return nil, webhook.ErrDeliveryNotFound
	}
	return c.store.Deliveries.Find(ctx, who.Tenant, "*", id)
}

// Of lists the deliveries of a task, oldest first: those that have a record, and the
// callback's that had none a moment ago.
func (c Deliveries) Of(ctx context.Context, who auth.Caller, taskID task.ID) ([]*webhook.Delivery, error) {
	t, err := c.store.Tasks.Find(ctx, who.Tenant, taskID)
	if err != nil {
		return nil, err
	}
	all, err := c.store.Deliveries.Of(ctx, who.Tenant, webhook.Source(taskID))
	if err != nil || t.Callback == nil {
		return all, err
	}
	f := event.Filter{}
	for _, name := range t.Callback.Events {
		f.Types = append(f.Types, event.Type(name))
	}
	events, err := event.Of(t, 0, func(name event.Type) bool { return f.Match(name, t.Agent) }, noLink)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		want := webhook.NewDeliveryID(e.ID, webhook.Callback)
		if slices.ContainsFunc(all, func(d *webhook.Delivery) bool { return d.ID == want }) {
			continue
		}
		d, err := c.store.Deliveries.Queued(ctx, who.Tenant, webhook.Source(taskID), want)
		if err == nil {
			all = append(all, d)
		} else if !errors.Is(err, webhook.ErrDeliveryNotFound) && !errors.Is(err, task.ErrBadRecord) {
			return nil, err
		}
	}
	slices.SortStableFunc(all, func(a, b *webhook.Delivery) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return all, nil
}

// noLink is for the ids of events, whose bodies nobody reads.
func noLink(*task.Task) string { return "" }

// Redeliver starts a delivery's schedule over, from now.
func (c Deliveries) Redeliver(ctx context.Context, who auth.Caller, id webhook.DeliveryID) (*webhook.Delivery, error) {
	ctx = context.WithoutCancel(ctx)
	d, err := c.Get(ctx, who, id)
	if err == nil {
		d, err = c.redeliver(ctx, d)
	}
	c.audit(ctx, who, audit.DeliveryRetry, string(id), err)
	return d, err
}

// RedeliverTask sends a task's callback again all that it was sent.
func (c Deliveries) RedeliverTask(ctx context.Context, who auth.Caller, taskID task.ID) (again []*webhook.Delivery, err error) {
	defer func() { c.audit(ctx, who, audit.TaskRedeliver, string(taskID), err) }()
	ctx = context.WithoutCancel(ctx)
	all, err := c.Of(ctx, who, taskID)
	if err != nil {
		return nil, err
	}
	for _, d := range all {
		if d.Webhook != "" || d.Push != "" {
			continue
		}
		if d, err = c.redeliver(ctx, d); err != nil {
			return nil, err
		}
		again = append(again, d)
	}
	if len(again) == 0 {
		return nil, Refuse(ErrNothingToRedeliver, "Nothing was sent to the callback of this action yet.")
	}
	return again, nil
}

// redeliver starts a delivery's schedule over. One that has no record waits for its
// first attempt.
func (c Deliveries) redeliver(ctx context.Context, d *webhook.Delivery) (*webhook.Delivery, error) {
	if d.Webhook != "" {
		e, err := c.store.Webhooks.Get(ctx, d.Tenant, d.Webhook)
		if err != nil {
			return nil, err
		}
		if e.Disabled != nil && !d.Test {
			return nil, disabled(e)
		}
	}
	if d.Rev == 0 {
		return d, nil
	}
	own := d
	err := besideOthers(ctx, deliveryChanged, func() (err error) {
		if own == nil { // somebody has changed it since
			if own, err = c.store.Deliveries.Get(ctx, d.Tenant, d.Source, d.ID); err != nil {
				return err
			}
		}
		d, own = own, nil
		if err := d.To(webhook.Pending); err != nil {
			return err
		}
		d.UpdatedAt = task.Stamp(time.Now())
		return c.store.Deliveries.Save(ctx, d)
	})
	if err != nil {
		return nil, err
	}
	return d, c.store.Deliveries.Again(ctx, d)
}

func deliveryChanged() error {
	return Refuse(ErrConflict, "The delivery is being attempted in this moment. Try again.")
}

func disabled(e *webhook.Endpoint) error {
	return Refuse(ErrWebhookDisabled, "Enable it first: PATCH /webhooks/%s with {\"enabled\":true}.", e.ID)
}
