package gateway

import (
	"context"
	"errors"
	"net/http"
	"time"

	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
)

// parentHeader names the task that a new one is a child of, for agents that are
// not written in Go.
const parentHeader = "Mesh-Parent-Task"

// claimWithin is how long the claim of a quick attempt may take.
const claimWithin = time.Second

// parentOf reads the parent that a request names; nil when it names none.
func (g *Gateway) parentOf(r *http.Request) (*task.Task, error) {
	id := r.Header.Get(parentHeader)
	if id == "" {
		return nil, nil
	}
	if !task.ValidID(id) {
		return nil, mesh.Refuse(mesh.ErrParentNotFound, "%s is %q, which is not an id of ours.", parentHeader, mesh.Clip(id, 64))
	}
	parent, err := g.store.Find(r.Context(), tenant, id)
	if errors.Is(err, task.ErrNotFound) {
		return nil, mesh.Refuse(mesh.ErrParentNotFound, "%s is %s, and there is no such task.", parentHeader, id)
	}
	if err == nil && parent.Status == task.Pending {
		// It runs, since it calls, and its claim is on its way.
		parent, err = g.awaitChange(r.Context(), parent, true, claimWithin)
	}
	if err == nil && parent.Status.Terminal() {
		return nil, mesh.Refuse(mesh.ErrParentFinished, "%s is %s, which is %s. Leave the header out to start a task of its own.", parentHeader, id, parent.Status)
	}
	return parent, err
}

// putUnder makes t a child of parent: its trace and deadline, one level deeper.
func putUnder(t, parent *task.Task, a *definition) error {
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

// adopt gives a child its id, links it to its parent, and returns the key under
// which it is accepted. Without a key of the client's the n-th equal request of
// an attempt is the n-th equal one of the attempt before, so that a parent that
// is retried finds its children.
func (g *Gateway) adopt(ctx context.Context, t, parent *task.Task, key *requestKey, body []byte) (*requestKey, error) {
	if telemetry.TraceID(ctx) != telemetry.TraceIDOf(parent.TraceParent) { // the caller did not pass it on
		t.TraceParent, t.TraceState = parent.TraceParent, parent.TraceState
	}
	var err error
	if key != nil {
		t.ID = task.ChildID(parent.ID, key.hash, 0)
		err = g.store.Link(ctx, parent, t.ID)
	} else {
		t.ID, _, err = g.store.Adopt(ctx, parent, task.CallKey(t.Agent, []byte(canonical(body))))
		key = &requestKey{hash: digest(tenant, "child", t.ID), fingerprint: t.ID}
	}
	if errors.Is(err, task.ErrTooLarge) {
		return nil, mesh.Refuse(mesh.ErrValidationFailed, "%s has sent too many equal requests. Send each with an Idempotency-Key of its own.", parent.ID)
	}
	if errors.Is(err, task.ErrConflict) {
		return nil, mesh.Refuse(mesh.ErrParentFinished, "A later attempt of %s has called already; this one works in vain.", parent.ID)
	}
	if err != nil {
		return nil, err
	}
	if err := g.store.SignalChild(parent.ID); err != nil {
		g.log.Debug("child not signaled, its parent keeps its slot", "task", parent.ID, "error", err)
	}
	return key, nil
}

// readopt puts the retry of a task under the parent that the request names, else
// under the parent of the old one: same trace, its deadline, canceled with it. A
// parent that was canceled has no more children: the retry stands for itself
// then.
func (g *Gateway) readopt(r *http.Request, t, old *task.Task, key *requestKey) (*requestKey, error) {
	parent, err := g.parentOf(r)
	if err != nil {
		return nil, err
	}
	if parent != nil {
		if old.Kind == task.KindAction {
			return nil, mesh.Refuse(mesh.ErrValidationFailed, "An action has no parent: leave %s out.", parentHeader)
		}
		a, err := g.agents.resolve(r.Context(), old.Agent)
		if err != nil {
			return nil, err
		}
		if err := putUnder(t, parent, a); err != nil {
			return nil, err
		}
		if key != nil {
			key.under(parent.ID)
		}
		return g.adopt(r.Context(), t, parent, key, []byte(old.ID))
	}
	if old.ParentID == "" {
		return key, nil
	}
	parent, err = g.store.Find(r.Context(), tenant, old.ParentID)
	if errors.Is(err, task.ErrNotFound) || err == nil && parent.Status == task.Canceled {
		return key, nil
	}
	if err != nil {
		return nil, err
	}
	t.ParentID, t.Callers = old.ParentID, old.Callers
	t.TraceParent, t.TraceState = parent.TraceParent, parent.TraceState
	if !parent.Status.Terminal() || time.Now().Before(old.Deadline) {
		t.Deadline = old.Deadline
	}
	if key != nil { // a repeat links the same one
		t.ID = task.ChildID(parent.ID, key.hash, 0)
	}
	return key, g.store.Link(r.Context(), parent, t.ID)
}
