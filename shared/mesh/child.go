package mesh

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
)

// claimWithin is how long the claim of a quick attempt may take.
const claimWithin = time.Second

// parent reads the task that a new one is to be a child of; nil when id is empty.
func (c Tasks) parent(ctx context.Context, who auth.Caller, id task.ID) (*task.Task, error) {
	if id == "" {
		return nil, nil
	}
	if !id.Valid() {
		return nil, Refuse(ErrParentNotFound, "The parent task is %q, which is not an id of ours.", Clip(id, 64))
	}
	parent, err := c.store.Tasks.Find(ctx, who.Tenant, id)
	if errors.Is(err, task.ErrNotFound) {
		return nil, Refuse(ErrParentNotFound, "The parent task is %s, and there is no such task.", id)
	}
	if err == nil && parent.Status == task.Pending {
		// It runs, since it calls, and its claim is on its way.
		parent, err = waits(c).awaitChange(ctx, parent, true, claimWithin)
	}
	if err == nil && parent.Status.Terminal() {
		return nil, Refuse(ErrParentFinished, "The parent task %s is %s. Leave it out to start a task of its own.", id, parent.Status)
	}
	return parent, err
}

// putUnder makes t a child of parent: its trace and deadline, one level deeper.
func putUnder(t, parent *task.Task, a *Agent) error {
	child, err := parent.Child(a.Name, a.WithDefaults().MaxInFlight)
	if err != nil {
		return err
	}
	t.ParentID, t.Callers, t.EventDepth = child.ParentID, child.Callers, max(t.EventDepth, child.EventDepth)
	if !parent.Deadline.IsZero() && (t.Deadline.IsZero() || parent.Deadline.Before(t.Deadline)) {
		t.Deadline = parent.Deadline
	}
	return nil
}

// adopt gives a child its id, links it to its parent, and sets the key under
// which it is accepted. Without a key of the caller's the n-th equal request of
// an attempt is the n-th equal one of the attempt before, so that a parent that
// is retried finds its children.
func (c Tasks) adopt(ctx context.Context, t, parent *task.Task, s *Submission) error {
	if telemetry.TraceID(ctx) != telemetry.TraceIDOf(parent.TraceParent) { // the caller did not pass it on
		t.TraceParent, t.TraceState = parent.TraceParent, parent.TraceState
	}
	var err error
	if s.Key != nil {
		t.ID = task.ChildID(parent.ID, s.Key.hash, 0)
		err = c.store.Children.Link(ctx, parent, t.ID)
	} else {
		t.ID, _, err = c.store.Children.Adopt(ctx, parent, task.CallKey(t.Agent, s.Request))
		s.Key = &Key{hash: digest(t.Tenant, "child", string(t.ID)), fingerprint: string(t.ID)}
	}
	if errors.Is(err, task.ErrConflict) {
		return Refuse(ErrParentFinished, "A later attempt of %s has called already; this one works in vain.", parent.ID)
	}
	if err != nil {
		return err
	}
	if err := c.store.Children.Signal(parent.ID); err != nil {
		c.log.Debug("child not signaled, its parent keeps its slot", "task", parent.ID, "error", err)
	}
	return nil
}

// readopt puts the retry of a task under the parent that the submission names,
// else under the parent of the old one: same trace, its deadline, canceled with
// it. A parent that was canceled has no more children: the retry stands for itself
// then.
func (c Tasks) readopt(ctx context.Context, who auth.Caller, t, old *task.Task, s *Submission) error {
	parent, err := c.parent(ctx, who, s.Parent)
	if err != nil {
		return err
	}
	if parent != nil {
		if old.Kind == task.KindAction {
			return Refuse(ErrValidationFailed, "An action has no parent task: leave it out.")
		}
		a, err := c.agents.resolve(ctx, old.Agent)
		if err != nil {
			return err
		}
		if err := putUnder(t, parent, a); err != nil {
			return err
		}
		s.Key, s.Request = s.Key.under(parent.ID), []byte(old.ID)
		if s.From != "" {
			s.Request = []byte(string(old.ID) + "\n" + s.From)
		}
		return c.adopt(ctx, t, parent, s)
	}
	if old.ParentID == "" {
		return nil
	}
	parent, err = c.store.Tasks.Find(ctx, who.Tenant, old.ParentID)
	if errors.Is(err, task.ErrNotFound) || err == nil && parent.Status == task.Canceled {
		return nil
	}
	if err != nil {
		return err
	}
	t.ParentID, t.Callers = old.ParentID, old.Callers
	t.TraceParent, t.TraceState = parent.TraceParent, parent.TraceState
	if !parent.Status.Terminal() || time.Now().Before(old.Deadline) {
		t.Deadline = old.Deadline
	}
	if s.Key != nil { // a repeat links the same one
		t.ID = task.ChildID(parent.ID, s.Key.hash, 0)
	}
	return c.store.Children.Link(ctx, parent, t.ID)
}

// Child is a task that a running attempt calls.
type Child struct {
	Task  *task.Task
	Agent task.Definition // of who does it, with its defaults
}

// Adopt makes the child for a call of parent's running attempt: it has its id, and
// is linked to its parent, but is not accepted. The n-th equal call of an attempt
// gets the child of the n-th equal call of the attempt before, so that a parent
// that is retried finds its children, also when the called agent would refuse the
// input by now. The error is a refusal of the input, task.ErrTooDeep of a call that
// may not be, and task.ErrConflict when a later attempt has called already.
func (c Tasks) Adopt(ctx context.Context, parent *task.Task, agent string, input json.RawMessage) (*Child, error) {
	a, err := c.agents.read(ctx, agent)
	if err != nil {
		return nil, err
	}
	d := a.WithDefaults()
	t, err := parent.Child(d.Name, math.MaxInt) // a parent that waits lets go of its task, if need be
	if err != nil {
		return nil, err
	}
	key := task.CallKey(d.Name, input)
	if refused := a.CheckInput(ctx, input); refused != nil {
		if known, err := c.store.Children.Known(ctx, parent, key); err != nil || !known {
			return nil, cmp.Or(err, refused)
		}
	}
	t.ID, _, err = c.store.Children.Adopt(ctx, parent, key)
	return &Child{t, d}, err
}

// Start accepts a child, unless it was accepted before. It is in the trace of
// traceParent. The core is a worker's, which is blind.
func (c Tasks) Start(ctx context.Context, child *Child, input json.RawMessage, traceParent string) (*task.Task, error) {
	t, err := c.store.Tasks.Get(ctx, child.Task.Tenant, child.Task.ID)
	if !errors.Is(err, task.ErrNotFound) { // without a record it waits, or was not accepted
		return t, err
	}
	t = child.Task.Clone()
	t.CreatedAt, t.TraceParent = task.Stamp(time.Now()), traceParent
	_, err = c.accept(ctx, t, input, nil, &Submission{}, &room{}) // the work of an accepted task must be able to end
	return t, err
}
