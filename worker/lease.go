package worker

import (
	"sync"
	"time"

	"agentmesh/shared/store"
)

// lease keeps a delivered message with this worker: a third of the lease after
// the last time it tells the server that the message is worked on, whatever the
// attempt waits for. It ends before the message is let go of.
type lease struct {
	mu    sync.Mutex
	timer *time.Timer // nil: ended
}

func keepLease(msg *store.Delivered, length time.Duration) *lease {
	l := &lease{}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = time.AfterFunc(length/3, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.timer != nil {
			_ = msg.InProgress()
			l.timer.Reset(length / 3)
		}
	})
	return l
}

func (l *lease) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}
