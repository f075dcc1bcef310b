package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Delete puts a mark in the place of all revisions of a task's record, if its
// revision is still t.Rev. Who looks for the task finds the mark, task.ErrDeleted, as
// long as a record would be kept: a message of it that comes late runs nothing.
func (s Records) Delete(ctx context.Context, t *task.Task) error {
	msg := inPlace(topology.TaskRecord(t.Tenant, t.ID), nil)
	msg.Header.Set(headerOperation, "PURGE")
	if _, err := s.replace(ctx, s.records, msg, t.Rev); err != nil {
		return fmt.Errorf("delete task %s: %w", t.ID, err)
	}
	s.seen.forget(t.Tenant, string(t.ID))
	return nil
}

// Told reports whether the notifiers have read and acknowledged the change of a record
// with a revision, and all before it. What waits for them tells nothing: the server
// counts a change a moment after it has stored it. In a mesh that never had a notifier
// there is nobody to tell.
func (s Consumers) Told(ctx context.Context, rev uint64) (bool, error) {
	d := FanoutDurable(0)
	ctx, cancel := s.bound(ctx, d.Stream)
	defer cancel()
	c, err := s.js.Consumer(ctx, d.Stream, d.Config.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		notifiers, err := s.marked(ctx, topology.NotifiersMark)
		return !notifiers, wrapped("look for notifiers", err)
	}
	if err != nil {
		return false, fmt.Errorf("look at consumer %s: %w", d, classify(err))
	}
	return c.CachedInfo().AckFloor.Stream >= rev, nil
}
