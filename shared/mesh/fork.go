package mesh

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"agentmesh/shared/task"
)

// fork is what a retry takes over of the journal of the task before: all up to the
// first entry of a name. Without a name that is nothing.
func (c *core) fork(ctx context.Context, old *task.Task, from string) ([]*task.Entry, error) {
	if from == "" {
		return nil, nil
	}
	entries, err := Journals{c}.Of(ctx, old)
	switch {
	case errors.Is(err, task.ErrNotFound):
		return nil, Refuse(ErrStepsExpired, "The task's record is still there, its journal is not: retry it without from.")
	case err != nil:
		return nil, err
	}
	at := slices.IndexFunc(entries, func(e *task.Entry) bool { return e.Name == from })
	if at < 0 {
		return nil, RefuseFields(Field(fmt.Sprintf("the task has no step %q; GET /tasks/%s/steps lists those that it has", Clip(from, 64), old.ID), "/from"))
	}
	for _, e := range entries[:at] {
		if e.Head != "" {
			return nil, Refuse(ErrStepsExpired, "The values of this journal were many: when the task ended their beginnings were kept. Retry it without from.")
		}
	}
	return entries[:at], nil
}

// copyTo writes entries as the journal of a task that is about to be accepted. Equal
// requests may do so at the same time, and one may have died on the way: each writes
// what is not there yet. A journal whose task is never accepted is swept.
func (j Journals) copyTo(ctx context.Context, t *task.Task, entries []*task.Entry) error {
	for {
		_, last, err := j.store.Steps.Last(ctx, t.Tenant, t.ID)
		if err != nil {
			return err
		}
		have := map[string]bool{}
		if last > 0 {
			there, err := j.store.Steps.Read(ctx, t.Tenant, t.ID, last)
			if err != nil {
				return err
			}
			for _, e := range there {
				if e.Kind == task.EntryEpoch {
					return nil // it was accepted, and runs
				}
				have[e.Slot()] = true
			}
		}
		if err = j.appendMissing(ctx, t, entries, have, last); !errors.Is(err, task.ErrConflict) {
			return err
		}
	}
}

func (j Journals) appendMissing(ctx context.Context, t *task.Task, entries []*task.Entry, have map[string]bool, last uint64) error {
	for _, e := range entries {
		if have[e.Slot()] {
			continue
		}
		c := *e
		c.Epoch = 0 // of no run of this task
		if err := j.own(ctx, t, &c); err != nil {
			return err
		}
		seq, err := j.store.Steps.Append(ctx, t.Tenant, t.ID, &c, last)
		if err != nil {
			return err
		}
		last = seq
	}
	return nil
}

// own gives a task a large value of its own: that of the task before lives as long as
// that one.
func (j Journals) own(ctx context.Context, t *task.Task, e *task.Entry) error {
	if e.Object == "" {
		return nil
	}
	data, err := j.store.Artifacts.Read(ctx, task.Value{Object: e.Object, Size: e.Size})
	if errors.Is(err, task.ErrNotFound) {
		return Refuse(ErrStepsExpired, "The value of the step %s is not kept any more: retry the task without from.", Clip(e.Name, 64))
	}
	if err != nil {
		return err
	}
	v, err := j.store.Artifacts.PutObject(ctx, t.Tenant, t.ID, "step-"+e.Slot()+"-copy", data)
	e.Object = v.Object
	return err
}
