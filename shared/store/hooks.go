package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/hook"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Hooks are the records of hooks, and their logs.
type Hooks struct {
	*core

	records jetstream.Stream // behind the bucket
}

// Add records a new hook of a tenant that has fewer than limit, or returns
// hook.ErrTooMany.
func (s Hooks) Add(ctx context.Context, h *hook.Hook, limit int) error {
	data, err := marshal(h)
	if err == nil {
		h.Rev, err = s.addWhere(ctx, topology.HooksBucket, s.records, &nats.Msg{Subject: topology.Hook(h.Tenant, h.ID), Data: data}, func() error {
			all, err := s.List(ctx, h.Tenant)
			if err == nil && len(all) >= limit {
				err = hook.ErrTooMany
			}
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("record hook %s: %w", h.ID, err)
	}
	return nil
}

// Save writes a hook's record if its revision is still h.Rev, and sets h.Rev. It
// returns task.ErrConflict when another writer came first.
func (s Hooks) Save(ctx context.Context, h *hook.Hook) error {
	data, err := marshal(h)
	if err == nil {
		h.Rev, err = s.put(ctx, topology.Hook(h.Tenant, h.ID), data, h.Rev)
	}
	if err != nil {
		return fmt.Errorf("record hook %s: %w", h.ID, err)
	}
	return nil
}

// put writes a key if its revision is still rev; 0: if there is none.
func (s Hooks) put(ctx context.Context, subject string, data []byte, rev uint64) (uint64, error) {
	ack, err := s.publish(ctx, &nats.Msg{Subject: subject, Data: data}, ifLast(rev))
	if err != nil {
		return rev, err
	}
	return ack.Sequence, nil
}

// get reads what stands on a subject; nil: nothing.
func (s Hooks) get(ctx context.Context, bucket string, of jetstream.Stream, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := s.bound(ctx, bucket)
	defer cancel()
	msg, err := of.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	return msg, classify(err)
}

// Get reads a hook of a tenant; an empty one is any. It returns hook.ErrNotFound
// when there is none, also when it was deleted or is another tenant's.
func (s Hooks) Get(ctx context.Context, tenant string, id hook.ID) (*hook.Hook, error) {
	if tenant == "" {
		tenant = "*"
	}
	msg, err := s.get(ctx, topology.HooksBucket, s.records, topology.Hook(tenant, id))
	if err == nil && (msg == nil || len(msg.Data) == 0) {
		err = hook.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read hook %s: %w", id, err)
	}
	return decodeHook(msg.Data, msg.Sequence)
}

func decodeHook(data []byte, rev uint64) (*hook.Hook, error) {
	h, err := decodeValid("hook", data, rev, func(h *hook.Hook) bool { return h.ID.Valid() && task.ValidTenant(h.Tenant) })
	if err != nil {
		return nil, err
	}
	h.Rev = rev
	return h, nil
}

// Delete leaves a mark in the place of a hook's record, and of its log.
func (s Hooks) Delete(ctx context.Context, h *hook.Hook) error {
	mark := func(subject string) *nats.Msg {
		return &nats.Msg{Subject: subject, Header: nats.Header{headerOperation: {"DEL"}}}
	}
	_, err := s.publish(ctx, mark(topology.Hook(h.Tenant, h.ID)), ifLast(h.Rev))
	if err == nil {
		_, err = s.publish(ctx, mark(topology.HookRecent(h.Tenant, h.ID)))
	}
	if err != nil {
		return fmt.Errorf("delete hook %s: %w", h.ID, err)
	}
	return nil
}

// List lists the hooks of a tenant in the order of their creation; an empty tenant means all.
func (s Hooks) List(ctx context.Context, tenant string) ([]*hook.Hook, error) {
	if tenant == "" {
		tenant = "*"
	}
	all, err := recorded(ctx, s.core, s.records, topology.Hook(tenant, "*"), decodeHook)
	if err != nil {
		return nil, fmt.Errorf("list hooks: %w", err)
	}
	slices.SortStableFunc(all, func(a, b *hook.Hook) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return all, nil
}

// Recent reads the log of a hook; it is empty where there is none yet. It returns
// hook.ErrNotFound where the hook was deleted.
func (s Hooks) Recent(ctx context.Context, tenant string, id hook.ID) (*hook.Recent, error) {
	msg, err := s.get(ctx, topology.HooksBucket, s.records, topology.HookRecent(tenant, id))
	if err != nil {
		return nil, fmt.Errorf("read log of hook %s: %w", id, err)
	}
	r := &hook.Recent{}
	if msg == nil {
		return r, nil
	}
	if r.Rev = msg.Sequence; len(msg.Data) == 0 {
		return nil, fmt.Errorf("read log of hook %s: %w", id, hook.ErrNotFound)
	}
	if err := unmarshal(msg.Data, r); err != nil {
		return nil, fmt.Errorf("decode log of hook %s: %w", id, err)
	}
	return r, nil
}

// SaveRecent writes the log of a hook if its revision is still r.Rev. It returns
// task.ErrConflict when another writer came first.
func (s Hooks) SaveRecent(ctx context.Context, tenant string, id hook.ID, r *hook.Recent) error {
	data, err := marshal(r)
	if err == nil {
		r.Rev, err = s.put(ctx, topology.HookRecent(tenant, id), data, r.Rev)
	}
	if err != nil {
		return fmt.Errorf("write log of hook %s: %w", id, err)
	}
	return nil
}
