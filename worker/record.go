package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"agentmesh/shared/pause"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/worker/agent"
)

// Every write of an attempt's record is a compare-and-set. One whose outcome
// stayed unknown may have been stored after all: so a conflict is looked into
// before it is taken for another writer's.

// put saves next. Where the record is a version that this attempt wrote without
// hearing of it, next goes on from there. It returns task.ErrConflict when the
// record is not this attempt's any more.
func (at *attempt) put(ctx context.Context, next *task.Task) error {
	for {
		err := at.w.store.Tasks.Save(ctx, next)
		if !errors.Is(err, task.ErrConflict) {
			return err
		}
		rec, look := at.w.store.Tasks.Get(ctx, next.Tenant, next.ID)
		switch {
		case look != nil && !errors.Is(look, task.ErrNotFound):
			return look
		case look != nil, !at.holds(rec), rec.Rev == next.Rev:
			return err
		}
		next.Rebase(rec)
	}
}

// write is put for the record of an outcome: it waits for the store.
func (at *attempt) write(ctx context.Context, t *task.Task) (err error) {
	ctx, span := telemetry.StartInternal(ctx, telemetry.SpanFinish, telemetry.TaskID(at.id), telemetry.Status(string(t.Status)))
	defer func() { telemetry.End(span, err) }()
	if err = at.untilAnswered(ctx, func() error { return at.put(ctx, t) }); err == nil {
		at.tell(nil)
	}
	return err
}

// holds reports whether rec was written by this attempt while it ran.
func (at *attempt) holds(rec *task.Task) bool {
	if rec.Status != task.Processing || rec.Lease == nil || at.t.Lease == nil || len(rec.Transitions) == 0 {
		return false
	}
	claim := rec.Transitions[len(rec.Transitions)-1]
	return rec.Lease.Seq == at.t.Lease.Seq && claim.Status == task.Processing &&
		claim.Worker == at.w.id && claim.Attempt == at.t.Attempt && claim.At.Equal(task.Stamp(at.began))
}

// verify reads the record and returns why the attempt may not go on, if so.
func (at *attempt) verify(ctx context.Context) error {
	rec, err := at.w.store.Tasks.Get(ctx, at.t.Tenant, at.id)
	switch {
	case errors.Is(err, task.ErrNotFound) && !at.claimed:
		return nil
	case err != nil && !errors.Is(err, task.ErrNotFound):
		return err
	case err == nil && rec.Status == task.Canceled:
		return agent.ErrCanceled
	case err == nil && at.holds(rec):
		return nil
	}
	return agent.ErrLeaseLost
}

// whyLost is why a conflict ended the attempt's hold of its record. While it
// cannot be read, it is not known.
func (at *attempt) whyLost(ctx context.Context) error {
	if err := at.verify(ctx); err != nil {
		return err
	}
	return agent.ErrLeaseLost
}

// untilAnswered does f until the store has answered: while it is away or full, f is
// tried again, since the outcome of hours of work is worth the wait and what the
// store cannot take is no fault of the agent. It gives up when ctx ends.
func (at *attempt) untilAnswered(ctx context.Context, f func() error) error {
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		err := f()
		if !away(err) || at.w.store.Closed() {
			return err
		}
		at.log.Warn("store not reached, trying again", "error", err)
		if !pause.For(ctx, wait) {
			return err
		}
	}
}

const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 5 * time.Second
)

// away reports whether err says that the store is away or full.
func away(err error) bool {
	return errors.Is(err, task.ErrUnavailable) || errors.Is(err, task.ErrFull)
}

// refused reports whether err says that the store will never take a record.
func refused(err error) bool {
	return errors.Is(err, task.ErrTooLarge) || errors.Is(err, task.ErrBadRecord)
}

// unwritable ends a task whose record the store will not take, at once and for
// good: the same attempt would come to the same. Its largest parts are left out
// until it fits, the result first.
func (at *attempt) unwritable(ctx context.Context, full *task.Task, why error) error {
	next := at.t.Clone()
	next.Milestones, next.Output, next.OutputBytes = full.Milestones, full.Output, full.OutputBytes
	next.Result = task.Value{}
	next.Error = &task.Error{
		Code: task.CodeResultTooLarge, Attempt: next.Attempt,
		Message: fmt.Sprintf("its outcome cannot be kept: %s. The record holds %s: store what is large elsewhere and return a reference", reason(why), largest(full)),
	}
	if next.StartedAt.IsZero() {
		next.StartedAt = task.Stamp(at.began)
	}
	now := time.Now()
	if err := next.To(task.Failed, now); err != nil {
		return err
	}
	for _, lighten := range []func(){
		func() {},
		func() { next.Output, next.Milestones, next.Warnings = "", nil, nil },
		func() { next.Input, next.Metadata, next.Instruction = task.Value{}, nil, "" },
	} {
		lighten()
		err := at.write(ctx, next)
		if refused(err) {
			continue
		}
		if err != nil {
			return at.unwritten(ctx, err)
		}
		at.done(ctx, next, now)
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

// endLater is a context that ends d after ctx has.
func endLater(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if pause.For(longer, d) {
			cancel()
		}
	})
	return longer, func() { stop(); cancel() }
}
