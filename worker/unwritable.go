package worker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"agentmesh/shared/task"
)

// unwritable ends a task whose record the store will not take, at once and for
// good: the same attempt would come to the same. Parts of it are left out until it
// fits. One that has ended keeps its end, unless that is a result, which goes first;
// but a turn keeps the reply that its session has.
func (s settlement) unwritable(ctx context.Context, full *task.Task, why error) error {
	next, now := full, time.Now()
	if !full.Status.Terminal() || full.Status == task.Completed && s.at.talk.session == nil {
		next = s.rec.t.Clone()
		next.Milestones, next.Output, next.OutputBytes, next.Steps = full.Milestones, full.Output, full.OutputBytes, full.Steps
		next.Error = tooMuch(full, why)
		next.Error.Attempt = next.Attempt
		if next.StartedAt.IsZero() {
			next.StartedAt = task.Stamp(s.rec.began)
		}
		if err := next.To(task.Failed, now); err != nil {
			return err
		}
		if next.Steps != nil && next.Steps.Object == "" {
			if err := s.archive(ctx, next); err != nil {
				return err
			}
		}
	}
	for n := 0; ; n++ {
		err := s.rec.write(ctx, next)
		if err == nil {
			s.at.done(ctx, next, now)
			return nil
		}
		if !refused(err) {
			return s.unwritten(ctx, err)
		}
		var more bool
		err = s.at.untilAnswered(ctx, func() (err error) {
			more, err = s.at.store.Records.Lighten(ctx, next, n)
			return err
		})
		if err != nil || !more {
			return cmp.Or(err, why)
		}
	}
}

// tooMuch is the error of a task whose record cannot be kept.
func tooMuch(full *task.Task, why error) *task.Error {
	return &task.Error{
		Code: task.CodeResultTooLarge, Attempt: full.Attempt,
		Message: fmt.Sprintf("its outcome cannot be kept: %s. The record holds %s: store what is large elsewhere and return a reference", reason(why), largest(full)),
	}
}

// reason is an error without what it wraps it in for errors.Is.
func reason(err error) string {
	text := err.Error()
	for _, sentinel := range []error{task.ErrTooLarge, task.ErrBadRecord} {
		text = strings.TrimSuffix(text, ": "+sentinel.Error())
	}
	for _, what := range []string{"record task ", "record session ", "queue task "} {
		if rest, ok := strings.CutPrefix(text, what); ok {
			_, text, _ = strings.Cut(rest, ": ")
		}
	}
	return text
}

// largest names the parts of a record, the largest first.
func largest(t *task.Task) string {
	type part struct {
		name  string
		bytes int
	}
	parts := []part{
		{"the result", len(t.Result.Inline)}, {"the input", len(t.Input.Inline)}, {"the instruction", len(t.Instruction)},
		{"the output", len(t.Output)}, {"metadata", len(t.Metadata)}, {"milestones", 0},
	}
	for _, m := range t.Milestones {
		parts[5].bytes += len(m.Name) + len(m.Message) + len(m.Data)
	}
	slices.SortStableFunc(parts, func(a, b part) int { return b.bytes - a.bytes })
	var texts []string
	for _, p := range parts {
		if p.bytes > 0 {
			texts = append(texts, fmt.Sprintf("%s with %d bytes", p.name, p.bytes))
		}
	}
	return strings.Join(texts, ", ")
}
