package mesh

import (
	"context"
	"errors"
	"slices"

	"agentmesh/shared/auth"
	"agentmesh/shared/task"
)

// StepPage is a page of the journal of a task.
type StepPage struct {
	Task    *task.Task
	Entries []*task.Entry
	Next    string // cursor of the next page, empty on the last one
}

// maxPageValues bounds the values of a page that is asked for with them.
const maxPageValues = 1 << 20 // bytes

// List reads a page of what the agent of a task has finished and waited for, in the
// order in which it was written. values: the page ends early where its values become
// many.
func (j Journals) List(ctx context.Context, who auth.Caller, id task.ID, values bool, limit int, cursor string) (StepPage, error) {
	bound := digest(string(id))
	skip := 0
	if cursor != "" {
		place, err := readCursor(cursor, bound)
		if err != nil {
			return StepPage{}, err
		}
		skip = max(place.Skip, 0)
	}
	t, entries, err := j.read(ctx, who, id)
	if err != nil {
		return StepPage{}, err
	}
	rest := entries[min(skip, len(entries)):]
	n, size := 0, 0
	for n < min(limit, len(rest)) {
		size += len(rest[n].Value)
		if values && n > 0 && size > maxPageValues {
			break
		}
		n++
	}
	page := StepPage{Task: t, Entries: rest[:n]}
	if n < len(rest) {
		page.Next = bookmark{Skip: skip + n}.encode(bound)
	}
	return page, nil
}

// Whole is a task with all of its journal, as much of that as is still kept.
func (j Journals) Whole(ctx context.Context, who auth.Caller, id task.ID) (*task.Task, []*task.Entry, error) {
	t, entries, err := j.read(ctx, who, id)
	if errors.Is(err, ErrStepsExpired) {
		t, err = j.find(ctx, who.Tenant, id, location{})
	}
	return t, entries, err
}

// Value is the value of one entry of a task's journal.
func (j Journals) Value(ctx context.Context, who auth.Caller, id task.ID, kind task.EntryKind, name string, n int) (task.Value, error) {
	_, entries, err := j.read(ctx, who, id)
	if err != nil {
		return task.Value{}, err
	}
	at := slices.IndexFunc(entries, func(e *task.Entry) bool { return e.Kind == kind && e.Name == name && e.N == n })
	switch {
	case at < 0:
		return task.Value{}, Refuse(ErrStepNotFound, "The task has no %s %q with n %d.", kind, Clip(name, 64), n)
	case entries[at].Sealed:
		return task.Value{}, Refuse(ErrStepSealed, "The agent has its steps sealed: only its workers read them.")
	case entries[at].Head != "":
		return task.Value{}, Refuse(ErrStepsExpired, "The values of this journal were many: when the task ended their beginnings were kept.")
	}
	e := entries[at]
	return task.Value{Inline: e.Value, Object: e.Object, Size: e.Size}, nil
}

// read finds a task and its journal.
func (j Journals) read(ctx context.Context, who auth.Caller, id task.ID) (*task.Task, []*task.Entry, error) {
	t, err := j.find(ctx, who.Tenant, id, location{})
	if err != nil {
		return nil, nil, err
	}
	for {
		entries, err := j.Of(ctx, t)
		switch {
		case errors.Is(err, task.ErrNotFound):
			return nil, nil, Refuse(ErrStepsExpired, "The task's record is still there, its journal is not.")
		case err != nil || t.Steps == nil || t.Steps.Object != "" || t.Status.Terminal():
			return t, entries, err
		}
		// The task may have ended, and its journal moved, while it was read.
		now, err := j.find(ctx, who.Tenant, id, location{})
		if err != nil || !now.Status.Terminal() {
			return now, entries, err
		}
		t = now
	}
}
