package worker

import (
	"context"
	"fmt"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// Bounds of telling an agent of a task that was canceled.
const (
	leftWithin = 30 * time.Second
	leftTries  = 5
)

// leaving is an attempt that finds its task canceled.
type leaving struct{ *attempt }

// tell tells the agent of a task that was canceled while nobody ran it. An error has
// the message come again, which tells it once more.
func (at leaving) tell(ctx context.Context, t *task.Task, deliveries int) error {
	if t == nil || t.Status != task.Canceled || t.Steps == nil || at.in.agent.Canceled == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, leftWithin)
	defer cancel()
	steps, err := at.w.core.Journals.Of(ctx, t)
	if err == nil {
		err = at.call(ctx, agent.NewLeft(t.ID, steps))
	}
	if err == nil || deliveries < leftTries {
		return err
	}
	at.log.WarnContext(ctx, "what a canceled task has begun elsewhere may go on there", "error", err)
	return nil
}

// call survives a panic of the agent.
func (at leaving) call(ctx context.Context, left *agent.Left) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the agent panicked: %v", p)
		}
	}()
	return at.in.agent.Canceled(ctx, left)
}
