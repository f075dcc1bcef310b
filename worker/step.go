package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"agentmesh/shared/pause"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// Step implements agent.Journal.
func (j *journal) Step(ctx context.Context, c agent.StepCall) (raw json.RawMessage, err error) {
	if err := task.CheckStepName(c.Name); err != nil {
		return nil, agent.Permanent(err)
	}
	if agent.IsInStep(ctx) {
		return nil, &agent.Error{Code: task.CodeStepNested, Permanent: true, Message: fmt.Sprintf("step %q was begun in the function of another step: begin it after that one", c.Name)}
	}
	n, leave, err := j.enter(occurrence{task.EntryStep, c.Name})
	if err != nil {
		return nil, err
	}
	ended := false
	defer func() { leave(ended) }()
	if err := j.at.waits.work(1); err != nil {
		return nil, err
	}
	defer func() { _ = j.at.waits.work(-1) }()
	e := j.find(task.EntryStep, c.Name, n)
	if e != nil && e.Kind == task.EntryStep && e.Key == c.Key {
		raw, err := j.recall(ctx, e)
		if !errors.Is(err, task.ErrNotFound) {
			ended = err == nil || e.Error != nil
			return raw, err
		}
	}
	if e == nil {
		if err := j.full(); err != nil {
			return nil, err
		}
	}
	raw, ended, err = j.perform(ctx, c, n, e != nil && e.Kind == task.EntryStarted && e.Key == c.Key)
	return raw, err
}

// recall returns what an entry says that something came to; task.ErrNotFound: the
// value has outlived its retention.
func (j *journal) recall(ctx context.Context, e *task.Entry) (json.RawMessage, error) {
	if e.Error != nil {
		return nil, &agent.Error{Code: e.Error.Code, Message: e.Error.Message, Permanent: true}
	}
	var raw []byte
	err := j.untilAnswered(ctx, func() (err error) {
		raw, err = j.store.Artifacts.Read(ctx, task.Value{Inline: e.Value, Object: e.Object, Size: e.Size})
		return err
	})
	if err != nil {
		return nil, err
	}
	return j.seal.open(e, raw)
}

// perform runs a step and keeps what it came to: a value, or a failure for good.
func (j *journal) perform(ctx context.Context, c agent.StepCall, n int, again bool) (raw json.RawMessage, ended bool, err error) {
	if c.Mark {
		if err := j.append(ctx, &task.Entry{Kind: task.EntryStarted, Name: c.Name, N: n, Key: c.Key}); err != nil {
			return nil, false, err
		}
	}
	info := agent.StepInfo{Name: c.Name, N: n, Attempt: j.t.Attempt, Again: again, IdempotencyKey: string(j.of) + "." + c.Name + "." + strconv.Itoa(n)}
	began := time.Now()
	raw, err = j.try(ctx, c, info)
	e := &task.Entry{Kind: task.EntryStep, Name: c.Name, N: n, Key: c.Key, Ms: time.Since(began).Milliseconds()}
	longer, cancel := endLater(ctx, lastWord) // what has been done is worth a moment more
	defer cancel()
	if err == nil {
		err = j.hold(longer, e, raw)
	}
	fault := (*agent.Error)(nil)
	if permanent := errors.As(err, &fault) && fault.Permanent; err != nil && (!permanent || ctx.Err() != nil) {
		return nil, false, err
	}
	if err != nil {
		e.Value, e.Object, e.Size, e.Sealed = nil, "", 0, false
		e.Error = &task.StepError{Code: codeOf(fault.Code), Message: task.Cut(fault.Error(), maxStepError)}
	}
	if failed := j.append(longer, e); failed != nil {
		return nil, false, failed
	}
	return raw, true, err
}

const maxStepError = 4 << 10 // bytes

// try runs the function of a step, several times where the step says so.
func (j *journal) try(ctx context.Context, c agent.StepCall, info agent.StepInfo) (raw json.RawMessage, err error) {
	inside := agent.InStep(ctx)
	for wait := c.Backoff; ; wait *= 2 {
		info.Try++
		raw, err = c.Run(inside, info)
		fault := (*agent.Error)(nil)
		told := errors.As(err, &fault)
		if err == nil || info.Try >= c.Tries || told && fault.Permanent || ctx.Err() != nil {
			return raw, err
		}
		least := wait
		if told {
			least = max(wait, fault.RetryAfter)
		}
		if !pause.For(ctx, least) {
			return nil, context.Cause(ctx)
		}
	}
}

// hold puts a value into an entry, and stores it when it is large.
func (j *journal) hold(ctx context.Context, e *task.Entry, raw json.RawMessage) error {
	if limit := j.at.w.cfg.MaxResult; int64(len(raw)) > limit {
		return &agent.Error{Code: task.CodeResultTooLarge, Permanent: true, Message: fmt.Sprintf(
			"the value of step %s has %d bytes, allowed are %d: store it elsewhere and return a reference", e.Name, len(raw), limit)}
	}
	kept, err := j.seal.cover(e, raw)
	if err != nil {
		return err
	}
	if raw = kept; len(raw) <= store.InlineLimit {
		e.Value = raw
		return nil
	}
	// The run is part of the name: a frozen worker must not write over its heir's.
	name := "step-" + e.Slot() + "-" + strconv.Itoa(j.t.Attempt) + "-" + strconv.FormatUint(j.t.QueueSeq, 10)
	return j.untilAnswered(ctx, func() error {
		v, err := j.store.Artifacts.Put(ctx, j.t.Tenant, j.t.ID, name, raw)
		e.Object, e.Size = v.Object, v.Size
		return err
	})
}
