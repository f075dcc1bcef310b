package mesh

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"agentmesh/shared/pause"
	"agentmesh/shared/task"
)

// Of those who change one record at the same time one comes first each time, so all
// get through: these bound how long, and how far apart they try.
const (
	rivalsFor   = 5 * time.Second
	rivalsFirst = 2 * time.Millisecond
	rivalsMost  = 64 * time.Millisecond
)

// besideOthers calls change, which reads a record and writes it by compare-and-set,
// until no other writer comes first. It returns what change does; changed, when others
// were quicker all the time.
func besideOthers(ctx context.Context, changed func() error, change func() error) error {
	end := time.Now().Add(rivalsFor)
	for most := rivalsFirst; ; most = min(2*most, rivalsMost) {
		err := change()
		if !errors.Is(err, task.ErrConflict) {
			return err
		}
		if !time.Now().Before(end) {
			return changed()
		}
		if !pause.For(ctx, rand.N(most)) {
			return context.Cause(ctx)
		}
	}
}
