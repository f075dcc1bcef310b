package mesh

import (
	"context"
	"errors"
	"time"

	"agentmesh/shared/pause"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
)

// How long a turn's record is waited for whose session has an attempt of it fail, and
// after the first look.
const (
	failWait  = time.Second
	failPause = 2 * time.Millisecond
)

// ended reports whether a turn of a session has ended. A fence of a later attempt than
// that of the record stands for one whose record comes in a moment: it fails, see
// Release and Begin, or the next one begins. One that does not come is that of a worker
// that died, and the turn is open.
func (c turns) ended(ctx context.Context, s *session.Session, id task.ID) (over bool, err error) {
	_, err = pause.Until(ctx, failWait, failPause, func() (settled bool, err error) {
		rec, err := c.store.Tasks.Get(ctx, s.Tenant, id)
		attempt := 0
		switch {
		case err == nil:
			over, attempt = rec.Status.Terminal(), rec.Attempt
		case !errors.Is(err, task.ErrNotFound): // no attempt of it has a record yet
			return false, err
		}
		fenced := s.Fence != nil && s.Fence.TurnID == id && s.Fence.Attempt > attempt
		return over || !fenced, nil
	})
	return over, err
}
