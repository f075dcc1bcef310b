package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// link is what a parent knows of a child: which attempt called it last, and on
// which worker, since an attempt that a draining worker hands back is begun
// again under the same number.
type link struct {
	Attempt int    `json:"attempt"`
	Worker  string `json:"worker,omitempty"`
}

func linkOf(parent *task.Task) link {
	l := link{Attempt: parent.Attempt}
	if parent.Lease != nil {
		l.Worker = parent.Lease.Worker
	}
	return l
}

// maxEqualCalls bounds the children of one parent that are called with the same
// input.
const maxEqualCalls = 1000

// Adopt finds the id for a call of the parent's running attempt. The n-th equal
// call (by key, see task.CallKey) of an attempt gets the id that the n-th equal
// call of the attempt before got; known reports that there was one. It returns
// task.ErrConflict when a later attempt has called already.
func (s *Store) Adopt(ctx context.Context, parent *task.Task, key string) (id string, known bool, err error) {
	mine := linkOf(parent)
	for n := 0; n < maxEqualCalls; {
		id := task.ChildID(parent.ID, key, n)
		last, rev, err := s.link(ctx, parent.Tenant, parent.ID, id)
		switch {
		case err != nil:
			return "", false, fmt.Errorf("adopt a child of %s: %w", parent.ID, err)
		case rev > 0 && last.Attempt > mine.Attempt:
			return "", false, fmt.Errorf("adopt a child of %s: attempt %d has called: %w", parent.ID, last.Attempt, task.ErrConflict)
		case rev > 0 && last == mine:
			n++ // another call of this attempt
			continue
		}
		err = s.putLink(ctx, parent.Tenant, parent.ID, id, mine, rev)
		if errors.Is(err, task.ErrConflict) {
			continue // look again
		}
		return id, rev > 0, err
	}
	return "", false, fmt.Errorf("adopt a child of %s: over %d equal calls: %w", parent.ID, maxEqualCalls, task.ErrTooLarge)
}

// Link notes that child was started by parent.
func (s *Store) Link(ctx context.Context, parent *task.Task, child string) error {
	_, rev, err := s.link(ctx, parent.Tenant, parent.ID, child)
	if err == nil && rev == 0 {
		err = s.putLink(ctx, parent.Tenant, parent.ID, child, linkOf(parent), 0)
	}
	if errors.Is(err, task.ErrConflict) {
		err = nil // somebody else did
	}
	return err
}

func (s *Store) link(ctx context.Context, tenant, parent, child string) (l link, rev uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	msg, err := s.records.GetLastMsgForSubject(ctx, topology.TaskChild(tenant, parent, child))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return l, 0, nil
	}
	if err != nil {
		return l, 0, classify(err)
	}
	return l, msg.Sequence, json.Unmarshal(msg.Data, &l)
}

func (s *Store) putLink(ctx context.Context, tenant, parent, child string, l link, rev uint64) error {
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	msg := &nats.Msg{Subject: topology.TaskChild(tenant, parent, child), Data: data}
	if _, err = s.publish(ctx, msg, jetstream.WithExpectLastSequencePerSubject(rev)); err != nil {
		return fmt.Errorf("link task %s to %s: %w", child, parent, err)
	}
	return nil
}

// Children lists the ids of the tasks that a task has started, in the order of
// their ids.
func (s *Store) Children(ctx context.Context, tenant, id string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	info, err := s.records.Info(ctx, jetstream.WithSubjectFilter(topology.TaskChildren(tenant, id)))
	if err != nil {
		return nil, fmt.Errorf("list children of %s: %w", id, classify(err))
	}
	var ids []string
	for subject := range info.State.Subjects {
		ids = append(ids, topology.SubjectID(subject))
	}
	slices.Sort(ids)
	return ids, nil
}

// SignalChild tells the worker of a task that its agent has started another.
func (s *Store) SignalChild(parent string) error { return s.nc.Publish(topology.Child(parent), nil) }

// OnChild calls f with the id of each task whose agent starts another one.
func (s *Store) OnChild(f func(parent string)) (*nats.Subscription, error) {
	return s.nc.Subscribe(topology.ChildAny, func(m *nats.Msg) { f(topology.SubjectID(m.Subject)) })
}
