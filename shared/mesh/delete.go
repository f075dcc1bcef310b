package mesh

import (
	"context"
	"errors"
	"time"

	"agentmesh/shared/audit"
	"agentmesh/shared/auth"
	"agentmesh/shared/pause"
	"agentmesh/shared/task"
)

// Records are what is kept of tasks that have ended.
type Records struct{ *core }

// Delete deletes the record of a task that has ended, its result and its steps. What
// was sent of it stays in the list of deliveries. A large input stays until it
// expires: a retry may share it.
func (c Records) Delete(ctx context.Context, who auth.Caller, id task.ID) error {
	err := c.remove(context.WithoutCancel(ctx), who, id)
	c.audit(ctx, who, audit.TaskDelete, string(id), err)
	return err
}

func (c Records) remove(ctx context.Context, who auth.Caller, id task.ID) error {
	t, err := c.store.Tasks.Find(ctx, who.Tenant, id)
	if err == nil {
		err = c.deletable(ctx, t)
	}
	if err != nil {
		return err
	}
	if err := c.store.Records.Delete(ctx, t); err != nil {
		return err
	}
	values := []task.Value{t.Result}
	if t.Steps != nil {
		values = append(values, task.Value{Object: t.Steps.Object, Size: t.Steps.Size})
	}
	for _, v := range values {
		if err := c.store.Artifacts.Drop(ctx, v); err != nil && !errors.Is(err, task.ErrNotFound) {
			c.log.Debug("value of a deleted task not dropped, it expires by itself", "task", id, "error", err)
		}
	}
	return nil
}

// deletable says why nobody may delete a task yet.
func (c Records) deletable(ctx context.Context, t *task.Task) error {
	switch {
	case t.Kind == task.KindTurn:
		return Refuse(ErrTaskNotDeletable, "It is a turn of session %s, and goes with it: DELETE /sessions/%s.", t.SessionID, t.SessionID)
	case !t.Status.Terminal():
		return Refuse(ErrTaskNotDeletable, "The task is %s. Wait for its end, or cancel it first: POST /tasks/%s/cancel.", t.Status, t.ID)
	}
	if t.ParentID != "" { // a parent that is run again looks for what its children came to
		parent, err := c.store.Tasks.Find(ctx, t.Tenant, t.ParentID)
		if err != nil && !errors.Is(err, task.ErrNotFound) {
			return err
		}
		if err == nil && !parent.Status.Terminal() {
			return Refuse(ErrTaskNotDeletable, "The task that called it, %s, is %s and may ask for its result. Delete it when that one has ended.", parent.ID, parent.Status)
		}
	}
	// That takes the notifiers some milliseconds.
	told, err := pause.Until(ctx, tellWait, tellPause, func() (bool, error) { return c.store.Consumers.Told(ctx, t.Rev) })
	if err == nil && !told {
		return Refuse(ErrConflict, "Its end is being told to webhooks in this moment. Try again.")
	}
	return err
}

// How long the deletion of a task waits until its end is told, and after its first look.
const (
	tellWait  = time.Second
	tellPause = 5 * time.Millisecond
)
