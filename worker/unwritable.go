package worker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"agentmesh/shared/task"
)

// unwritable ends a task whose record the store will not take, at once and for
// good: the same attempt would come to the same. Its largest parts are left out
// until it fits, the result first. One that fails keeps its error.
func (s settlement) unwritable(ctx context.Context, full *task.Task, why error) error {
	next := s.rec.t.Clone()
	next.Milestones, next.Output, next.OutputBytes = full.Milestones, full.Output, full.OutputBytes
	next.Result = task.Value{}
	if next.Error = full.Error; full.Status != task.Failed {
		next.Error = &task.Error{
			Code: task.CodeResultTooLarge, Attempt: next.Attempt,
			Message: fmt.Sprintf("its outcome cannot be kept: %s. The record holds %s: store what is large elsewhere and return a reference", reason(why), largest(full)),
		}
	}
	if next.StartedAt.IsZero() {
		next.StartedAt = task.Stamp(s.rec.began)
	}
	now := time.Now()
	if err := next.To(task.Failed, now); err != nil {
		return err
	}
	for _, lighten := range []func(){
		func() {},
		func() { next.Output, next.Milestones, next.Warnings, next.Exchanges = "", nil, nil, nil },
		func() { next.Input, next.Metadata, next.Instruction = task.Value{}, nil, "" },
	} {
		lighten()
		err := s.rec.write(ctx, next)
		if refused(err) {
			continue
		}
		if err != nil {
			return s.unwritten(ctx, err)
		}
		s.at.done(ctx, next, now)
		return nil
	}
	return why
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
