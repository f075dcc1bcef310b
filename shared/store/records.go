package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/topology"
)

// Get reads a task's record from its leader. It returns task.ErrNotFound when
// no worker or cancel has written one yet: see Find.
func (s Tasks) Get(ctx context.Context, tenant string, id task.ID) (*task.Task, error) {
	msg, err := s.lastRecord(ctx, topology.TaskRecord(tenant, id))
	if err != nil {
		return nil, fmt.Errorf("read task %s: %w", id, missing(err))
	}
	if msg.Header.Get(headerOperation) != "" {
		return nil, fmt.Errorf("read task %s: %w", id, task.ErrDeleted)
	}
	return decodeRecord(msg.Data, msg.Sequence)
}

// recordsAtOnce bounds how many records are asked for at once: a thousand
// attempts look at theirs in the same moment, and a connection that more is
// written to than it takes is cut.
const recordsAtOnce = 16

func (s Tasks) lastRecord(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := s.bound(ctx, topology.TasksBucket)
	defer cancel()
	select { // the wait for a place is no silence of the server's
	case s.reading <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-s.reading }()
	var msg *jetstream.RawStreamMsg
	err := patiently(ctx, func(ctx context.Context) (err error) {
		msg, err = s.records.(patientStream).once(ctx, subject)
		return err
	})
	return msg, err
}

// Save writes t's record if its revision is still t.Rev (0: if there is none)
// and sets t.Rev to the new one. It returns task.ErrConflict when another
// writer came first, and task.ErrUnavailable when the outcome stayed unknown;
// t.Rev is unchanged then.
func (s Tasks) Save(ctx context.Context, t *task.Task) error {
	t.Place()
	data, err := encode(t)
	if err != nil {
		return fmt.Errorf("record task %s: %w", t.ID, err)
	}
	msg := &nats.Msg{Subject: topology.TaskRecord(t.Tenant, t.ID), Data: data}
	rev, err := s.replace(ctx, s.records, msg, t.Rev)
	if err == nil {
		t.Rev = rev
		return nil
	}
	if errors.Is(err, task.ErrConflict) {
		telemetry.StoreConflicts.Add(1)
	}
	return fmt.Errorf("record task %s: %w", t.ID, err)
}

// Find reads a task wherever it is: its record, or the queue message that is
// the truth until there is one. A task found in the queue has Rev 0 and a
// QueueSeq. It returns task.ErrNotFound when it is nowhere, and also when it is
// another tenant's.
func (s Tasks) Find(ctx context.Context, tenant string, id task.ID) (*task.Task, error) {
	if !id.Valid() { // as a subject it could stand for others
		return nil, task.ErrNotFound
	}
	// The order is the way of a task, so that one that moves on while we look
	// is met at its next place.
	known := s.seen.has(tenant, string(id))
	t, err := s.Get(ctx, tenant, id)
	if errors.Is(err, task.ErrDeleted) {
		return nil, err
	}
	if errors.Is(err, task.ErrNotFound) && id.Kind() == task.KindTurn {
		t, err = Turns(s).scanTurns(ctx, tenant, id)
	} else {
		for _, subject := range []string{topology.TaskLater(id), topology.TaskOf(tenant, id)} {
			if !errors.Is(err, task.ErrNotFound) {
				return t, s.found(tenant, id, known, err)
			}
			t, err = s.queued(ctx, tenant, id, subject)
		}
	}
	if errors.Is(err, task.ErrNotFound) {
		t, err = s.Get(ctx, tenant, id)
	}
	return t, s.found(tenant, id, known, err)
}

// found remembers a task that was found. One that was known before it was looked for
// is not gone on one node's word.
func (s *core) found(tenant string, id task.ID, known bool, err error) error {
	switch {
	case err == nil:
		s.seen.add(tenant, string(id))
	case errors.Is(err, task.ErrNotFound) && known && !errors.Is(err, task.ErrDeleted):
		return lost(string(id))
	}
	return err
}

func (s Tasks) queued(ctx context.Context, tenant string, id task.ID, subject string) (*task.Task, error) {
	ctx, cancel := s.bound(ctx, topology.Tasks)
	defer cancel()
	msg, err := s.tasks.GetLastMsgForSubject(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("look task %s up in the queue: %w", id, missing(err))
	}
	t, err := decodeQueued(msg.Data, msg.Sequence)
	if err == nil && t.Tenant != tenant {
		return nil, fmt.Errorf("look task %s up in the queue: %w", id, task.ErrNotFound)
	}
	if err == nil {
		t.Bulk = topology.IsBulk(msg.Subject)
	}
	return t, err
}

func missing(err error) error {
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return task.ErrNotFound
	}
	return classify(err)
}
