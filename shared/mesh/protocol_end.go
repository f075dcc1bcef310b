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
// Release, or the next one begins. One that does not come is that of a worker that died,
// and the turn is open.
func (c turns) ended(ctx context.Context, s *session.Session, id task.ID) (bool, error) {
	for until, wait := time.Now().Add(failWait), failPause; ; wait *= 2 {
		rec, err := c.store.Tasks.Get(ctx, s.Tenant, id)
		if errors.Is(err, task.ErrNotFound) {
			return false, nil
		}
		if err != nil || rec.Status.Terminal() {
			return err == nil, err
		}
		fenced := s.Fence != nil && s.Fence.TurnID == id && s.Fence.Attempt > rec.Attempt
		if !fenced || !time.Now().Add(wait).Before(until) || !pause.For(ctx, wait) {
			return false, nil
		}
	}
}
