package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
	"agentmesh/shared/webhook"
)

// Save writes e's record if its revision is still e.Rev (0: if there is
// none) and sets e.Rev. It returns task.ErrConflict when another writer came
// first.
func (s Webhooks) Save(ctx context.Context, e *webhook.Endpoint) error {
	data, err := marshal(e)
	if err != nil {
		return fmt.Errorf("record webhook %s: %w", e.ID, err)
	}
	rev, err := s.replace(ctx, s.webhooks, &nats.Msg{Subject: topology.Webhook(e.Tenant, e.ID), Data: data}, e.Rev)
	if err != nil {
		return fmt.Errorf("record webhook %s: %w", e.ID, err)
	}
	e.Rev = rev
	return nil
}

// Add records a new webhook of a tenant that has fewer than limit, or returns
// webhook.ErrTooMany.
func (s Webhooks) Add(ctx context.Context, e *webhook.Endpoint, limit int) error {
	data, err := marshal(e)
	if err == nil {
		e.Rev, err = s.addWhere(ctx, topology.WebhooksBucket, s.webhooks, &nats.Msg{Subject: topology.Webhook(e.Tenant, e.ID), Data: data}, func() error {
			all, err := s.List(ctx, e.Tenant)
			if err == nil && len(all) >= limit {
				err = webhook.ErrTooMany
			}
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("record webhook %s: %w", e.ID, err)
	}
	return nil
}

// Get reads a webhook. It returns webhook.ErrNotFound when there is none,
// also when it was deleted or is another tenant's.
func (s Webhooks) Get(ctx context.Context, tenant string, id webhook.ID) (*webhook.Endpoint, error) {
	ctx, cancel := s.bound(ctx, topology.WebhooksBucket)
	defer cancel()
	msg, err := s.webhooks.GetLastMsgForSubject(ctx, topology.Webhook(tenant, id))
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && len(msg.Data) == 0 {
		return nil, fmt.Errorf("read webhook %s: %w", id, webhook.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read webhook %s: %w", id, classify(err))
	}
	return decodeWebhook(msg.Data, msg.Sequence)
}

func decodeWebhook(data []byte, rev uint64) (*webhook.Endpoint, error) {
	e, err := decodeValid("webhook", data, rev, func(e *webhook.Endpoint) bool { return e.ID.Valid() && task.ValidTenant(e.Tenant) })
	if err != nil {
		return nil, err
	}
	e.Rev = rev
	return e, nil
}

// Delete leaves a mark in the place of a webhook's record: it must not
// take a later change back.
func (s Webhooks) Delete(ctx context.Context, e *webhook.Endpoint) error {
	msg := &nats.Msg{Subject: topology.Webhook(e.Tenant, e.ID), Header: nats.Header{headerOperation: {"DEL"}}}
	if _, err := s.replace(ctx, s.webhooks, msg, e.Rev); err != nil {
		return fmt.Errorf("delete webhook %s: %w", e.ID, err)
	}
	return nil
}

// List lists the webhooks of a tenant in the order of their ids, which is
// that of their creation; an empty tenant means all.
func (s Webhooks) List(ctx context.Context, tenant string) ([]*webhook.Endpoint, error) {
	subject := topology.WebhooksAll
	if tenant != "" {
		subject = topology.Webhook(tenant, "*")
	}
	all, err := recorded(ctx, s.core, s.webhooks, subject, decodeWebhook)
	if err != nil {
		return nil, fmt.Errorf("list webhooks: %w", err)
	}
	slices.SortFunc(all, func(a, b *webhook.Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// Revision changes with every change of any webhook.
func (s Webhooks) Revision(ctx context.Context) (uint64, error) {
	rev, err := newest(ctx, s.core, topology.WebhooksBucket, s.webhooks, topology.WebhooksAll)
	return rev, wrapped("look for changed webhooks", err)
}

// newest is the revision of the newest record of a subject, 0: there is none.
func newest(ctx context.Context, s *core, bucket string, records jetstream.Stream, subject string) (uint64, error) {
	ctx, cancel := s.bound(ctx, bucket)
	defer cancel()
	msg, err := records.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, classify(err)
	}
	return msg.Sequence, nil
}
