package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// caller starts tasks for a running attempt and waits for them.
type caller struct {
	at          *attempt
	parent      *task.Task // as it was when the handler began
	traceParent string
}

// Call implements agent.Caller. While the store is away it waits.
func (c *caller) Call(ctx context.Context, name string, input json.RawMessage) (json.RawMessage, error) {
	raw, _, err := c.CallWithin(ctx, name, input, task.Within{})
	return raw, err
}

// Describe implements agent.Limiter.
func (c *caller) Describe(ctx context.Context, name string) (d agent.Definition, err error) {
	err = c.at.untilAnswered(ctx, func() (err error) { d, err = c.at.w.core.Agents.Describe(ctx, name); return err })
	if errors.Is(err, mesh.ErrAgentNotFound) {
		return d, c.notCalled(name, err)
	}
	return d, err
}

// CallWithin implements agent.Limiter.
func (c *caller) CallWithin(ctx context.Context, name string, input json.RawMessage, within task.Within) (json.RawMessage, task.Usage, error) {
	t, err := c.call(ctx, name, input, within)
	if err != nil {
		return nil, task.Usage{}, err
	}
	used := c.at.rec.reports.childUsed(t)
	raw, err := c.result(ctx, t)
	return raw, used, err
}

// call starts a task, or finds the one that was started, and waits for its end.
func (c *caller) call(ctx context.Context, name string, input json.RawMessage, within task.Within) (*task.Task, error) {
	tasks, untilAnswered := c.at.w.core.Tasks, func(f func() error) error { return c.at.untilAnswered(ctx, f) }
	var child *mesh.Child
	err := untilAnswered(func() (err error) { child, err = tasks.Adopt(ctx, c.parent, name, input); return err })
	if err != nil {
		return nil, c.notCalled(name, err)
	}
	child.Task.Within = c.parent.Within.Tighter(within)
	c.at.rec.reports.children()
	watch, err := c.at.w.store.Tasks.Watch(child.Task.Tenant, child.Task.ID, false)
	if err != nil {
		return nil, err
	}
	defer watch.Close()
	var t *task.Task
	err = untilAnswered(func() (err error) { t, err = tasks.Start(ctx, child, input, c.traceParent); return err })
	if err == nil && !t.Status.Terminal() {
		t, err = c.wait(ctx, watch, t, child.Agent)
	}
	if refused(err) {
		return nil, &agent.Error{Code: task.CodeBadInput, Message: "call: the input cannot be kept: " + reason(err), Permanent: true, Err: err}
	}
	return t, err
}

// notCalled says why a call starts nothing.
func (c *caller) notCalled(name string, err error) error {
	var refusal *mesh.Error
	switch {
	case errors.Is(err, mesh.ErrAgentNotFound):
		return &agent.Error{Code: task.CodeChildFailed, Message: fmt.Sprintf("call: there is no agent %q", name), Permanent: true}
	case errors.Is(err, task.ErrTooDeep):
		return &agent.Error{Code: task.CodeCallTooDeep, Message: err.Error(), Permanent: true, Err: err}
	case errors.As(err, &refusal):
		return &agent.Error{Code: refusal.Refusal.Code, Message: "call: " + refusal.Detail + faultsOf(refusal), Permanent: refusal.Wait() == 0, RetryAfter: refusal.Wait(), Err: err}
	case errors.Is(err, task.ErrConflict): // an heir has called already: this attempt works in vain
		c.at.look()
		return agent.ErrLeaseLost
	}
	return err
}

// faultsOf names what is wrong with an input, by pointers as a request gets them.
func faultsOf(refusal *mesh.Error) string {
	var texts []string
	for _, f := range refusal.Faults {
		texts = append(texts, f.Pointer+": "+f.Detail)
	}
	if texts == nil {
		return ""
	}
	return " " + strings.Join(texts, "; ")
}

// wait waits for the child without a slot, so that the child may have it.
func (c *caller) wait(ctx context.Context, watch *store.Watch, t *task.Task, def task.Definition) (*task.Task, error) {
	w := c.at.w
	o, err := c.at.waits.begin(task.WaitChild, string(t.ID), nil)
	if err != nil {
		return t, err
	}
	o.AskedAt = task.Stamp(time.Now())
	defer time.AfterFunc(c.at.in.agent.Patience(), func() { c.at.waits.allow(o) }).Stop()
	ctx, release := c.at.waits.bind(ctx)
	defer release()
	w.waits(c.parent.Agent, 1)
	c.at.seat.lend()
	for !t.Status.Terminal() && err == nil {
		if t.Status == task.Pending && stuck(ctx, w, def) {
			c.at.waits.allow(o) // else the child would never run
		}
		look, done := context.WithTimeout(ctx, w.cfg.Lease/3)
		err = watch.Updates(look, t.Rev, func(u store.Update) bool { t = u.Task; return !t.Status.Terminal() })
		done()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			err = nil // time to look around
		}
	}
	w.waits(c.parent.Agent, -1)
	if back := c.at.seat.regain(ctx); err == nil {
		err = back
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	c.at.waits.end(o, err == nil)
	return t, err
}

// waits counts the attempts of an agent that wait for a task they called.
func (w *Worker) waits(name string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting[name] += n
	w.presence.noteChange()
}

// stuck reports whether every task of an agent that may run in the mesh waits
// for another, so that none of those waited for will ever be delivered.
func stuck(ctx context.Context, w *Worker, def task.Definition) bool {
	w.mu.Lock()
	waiting := w.waiting[def.Name]
	w.mu.Unlock()
	if waiting >= def.MaxInFlight {
		return true
	}
	if waiting == 0 {
		return false
	}
	workers, err := w.store.Registry.Workers(ctx)
	if err != nil {
		return false
	}
	for _, p := range workers {
		for _, a := range p.Agents {
			if p.WorkerID != w.id && a.Name == def.Name {
				waiting += a.Waiting
			}
		}
	}
	return waiting >= def.MaxInFlight
}

// result is what a finished child came to, for its parent.
func (c *caller) result(ctx context.Context, t *task.Task) (json.RawMessage, error) {
	if t.Status == task.Completed {
		var result []byte
		err := c.at.untilAnswered(ctx, func() (err error) { result, err = c.at.w.store.Artifacts.Read(ctx, t.Result); return err })
		return result, err
	}
	why := cmp.Or(t.Error, &task.Error{Code: string(t.Status), Message: "it was canceled"})
	return nil, &agent.Error{
		Code: task.CodeChildFailed, Permanent: true, // the same call finds the same task
		Message: fmt.Sprintf("task %s of agent %s is %s: %s: %s", t.ID, t.Agent, t.Status, why.Code, why.Message),
	}
}

// seat is an attempt's slot, which it may lend.
type seat struct {
	slots *slots

	mu      sync.Mutex
	calls   int  // that wait
	lent    bool // somebody else may have it
	forGood bool // until the attempt ends
	left    bool
}

// lend gives the slot to others while a call waits.
func (s *seat) lend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.giveLocked()
}

// lendForGood gives the slot to others for the rest of the attempt: its agent
// waits where the worker cannot see it.
func (s *seat) lendForGood() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forGood = true
	s.giveLocked()
}

func (s *seat) giveLocked() {
	if !s.lent && !s.left {
		s.lent = true
		s.slots.give()
	}
}

// regain takes a slot again when the last of the calls is over. Without one it
// returns the cause of ctx's end.
func (s *seat) regain(ctx context.Context) error {
	s.mu.Lock()
	s.calls--
	need := s.calls == 0 && s.lent && !s.forGood
	s.mu.Unlock()
	if !need {
		return nil
	}
	if err := s.slots.take(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls > 0 || s.forGood || s.left || !s.lent { // not needed any more
		s.slots.give()
		return nil
	}
	s.lent = false
	return nil
}

// pass is the same slot for the next attempt, after this one; nil: it is lent.
func (s *seat) pass() *seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lent || s.left {
		return nil
	}
	s.left = true
	return &seat{slots: s.slots}
}

// leave gives the slot back at the attempt's end.
func (s *seat) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveLocked()
	s.left = true
}
