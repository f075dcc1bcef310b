package store

import (
	"context"
	"errors"

	"agentmesh/shared/task"
)

// Fit is Save for what the mesh writes of a task by itself: its end, or that it goes on. A
// record without room for that is saved with less in it, see Lighten.
func (s Records) Fit(ctx context.Context, t *task.Task) error {
	err := Tasks(s).Save(ctx, t)
	for n := 0; tooLarge(err); n++ {
		more, failed := s.Lighten(ctx, t, n)
		if failed != nil || !more {
			return errors.Join(failed, err)
		}
		err = Tasks(s).Save(ctx, t)
	}
	return err
}

func tooLarge(err error) bool { return errors.Is(err, task.ErrTooLarge) }

// Lighten leaves the n-th part out of a task, from 0, what is missed least first: what
// it told on its way; of one that has ended also what came before its end; then its input
// and its result are kept apart; last of all goes what else it was given. more is false
// when there is no such part.
func (s Records) Lighten(ctx context.Context, t *task.Task, n int) (more bool, err error) {
	parts := []func(context.Context, Artifacts, *task.Task) error{leaveNotes, leavePast, keepApart, leaveGiven}
	if !t.Status.Terminal() {
		parts = parts[:1]
	}
	if n >= len(parts) {
		return false, nil
	}
	return true, parts[n](ctx, Artifacts(s), t)
}

// leaveNotes leaves out what a task told. The number of the last milestone stays with one
// that goes on: the next one follows it.
func leaveNotes(_ context.Context, _ Artifacts, t *task.Task) error {
	told := len(t.Milestones)
	if !t.Status.Terminal() {
		told = max(told-1, 0)
	}
	t.Output, t.Milestones, t.Warnings, t.Exchanges = "", t.Milestones[told:], nil, nil
	t.Warn("its record was full: what it told on its way was left out")
	return nil
}

// leavePast leaves out why earlier attempts ended, and the notes of answers.
func leavePast(_ context.Context, _ Artifacts, t *task.Task) error {
	for i := range t.Transitions {
		t.Transitions[i].Error, t.Transitions[i].Question = nil, nil
	}
	if n := len(t.Transitions); n > 0 && t.Error != nil {
		brief := *t.Error
		brief.Message = task.Clip(brief.Message, maxBrief)
		t.Error, t.Transitions[n-1].Error = &brief, &brief
	}
	t.Message, t.ErrorDetail, t.Answers = "", "", nil
	return nil
}

// maxBrief is how much of an error's message a record keeps that has no room, in bytes.
const maxBrief = 512

// keepApart moves values to the object store.
func keepApart(ctx context.Context, s Artifacts, t *task.Task) error {
	for name, v := range map[string]*task.Value{"input-end": &t.Input, "result-end": &t.Result} {
		if len(v.Inline) == 0 {
			continue
		}
		apart, err := s.PutObject(ctx, t.Tenant, t.ID, name, v.Inline)
		if err != nil {
			return err
		}
		*v = apart
	}
	return nil
}

func leaveGiven(_ context.Context, _ Artifacts, t *task.Task) error {
	t.Metadata, t.Instruction = nil, ""
	return nil
}
