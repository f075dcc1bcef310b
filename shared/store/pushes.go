package store

import (
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

// Pushes are the push configurations of tasks.
type Pushes struct {
	*core

	records jetstream.Stream // behind the bucket
}

// Put writes a push configuration, in the place of one of the same id.
func (s Pushes) Put(ctx context.Context, p *webhook.Push) error {
	data, err := marshal(p)
	if err == nil {
		_, err = s.publish(ctx, &nats.Msg{Subject: topology.Push(p.Tenant, p.Task, p.ID), Data: data})
	}
	if err != nil {
		return fmt.Errorf("record push configuration %s of %s: %w", p.ID, p.Task, err)
	}
	return nil
}

// Get reads a push configuration, or returns webhook.ErrPushNotFound.
func (s Pushes) Get(ctx context.Context, tenant string, id task.ID, name string) (*webhook.Push, error) {
	ctx, cancel := s.bound(ctx, topology.PushesBucket)
	defer cancel()
	msg, err := s.records.GetLastMsgForSubject(ctx, topology.Push(tenant, id, name))
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && len(msg.Data) == 0 {
		err = webhook.ErrPushNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read push configuration %s of %s: %w", name, id, classify(err))
	}
	return decodePush(msg.Data, msg.Sequence)
}

func decodePush(data []byte, rev uint64) (*webhook.Push, error) {
	var p webhook.Push
	if err := unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("decode push configuration at revision %d: %w", rev, err)
	}
	return &p, p.Validate()
}

// Of lists the push configurations of a task, oldest first.
func (s Pushes) Of(ctx context.Context, tenant string, id task.ID) ([]*webhook.Push, error) {
	all, err := recorded(ctx, s.core, s.records, topology.PushesOf(tenant, id), decodePush)
	if err != nil {
		return nil, fmt.Errorf("list push configurations of %s: %w", id, err)
	}
	slices.SortStableFunc(all, func(a, b *webhook.Push) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return all, nil
}

// Delete leaves a mark in the place of a push configuration.
func (s Pushes) Delete(ctx context.Context, tenant string, id task.ID, name string) error {
	msg := &nats.Msg{Subject: topology.Push(tenant, id, name), Header: nats.Header{headerOperation: {"DEL"}}}
	if _, err := s.publish(ctx, msg); err != nil {
		return fmt.Errorf("delete push configuration %s of %s: %w", name, id, err)
	}
	return nil
}

// fewChanges is up to how many changes are read one by one.
const fewChanges = 64

// Changed calls f with the owner (topology.RecordOwner) of each push configuration
// that was written after a revision, and returns the newest one. It reads to the end,
// and not to what was the newest before: one that is replaced meanwhile is behind that.
func (s Pushes) Changed(ctx context.Context, after uint64, f func(owner string)) (newest uint64, err error) {
	newest, err = s.newestPush(ctx)
	if err != nil || newest <= after {
		return max(newest, after), err
	}
	read := after
	if after > 0 && newest-after <= fewChanges {
		for range 2 * fewChanges {
			next, err := s.nextPush(ctx, read+1, f)
			if err != nil {
				return after, err
			}
			if next == 0 {
				return max(read, newest), nil
			}
			read = next
		}
	}
	err = s.readers(s.records, topology.PushesAll, s.scans)(ctx, read+1, ^uint64(0), func(m message) error {
		f(topology.RecordOwner(m.subject))
		read = m.seq
		return nil
	})
	if err != nil {
		return after, fmt.Errorf("read push configurations: %w", err)
	}
	return max(read, newest), nil
}

func (s Pushes) newestPush(ctx context.Context) (uint64, error) {
	rev, err := newest(ctx, s.core, topology.PushesBucket, s.records, topology.PushesAll)
	return rev, wrapped("look for changed push configurations", err)
}

// nextPush reads the owner of the first one from a revision on, and returns its
// revision; 0: there is none.
func (s Pushes) nextPush(ctx context.Context, from uint64, f func(owner string)) (uint64, error) {
	ctx, cancel := s.bound(ctx, topology.PushesBucket)
	defer cancel()
	msg, err := s.records.GetMsg(ctx, from, jetstream.WithGetMsgSubject(topology.PushesAll))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read push configuration at revision %d: %w", from, classify(err))
	}
	f(topology.RecordOwner(msg.Subject))
	return msg.Sequence, nil
}
