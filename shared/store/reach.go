package store

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// Bounds of one request to JetStream, with all its tries. One that takes longer is
// an unknown outcome. The longer time is that of an election: followers wait for 4
// to 9 s before they stand for one (nats-server 2.15.2, raft.go). While it is known
// that the store does not answer, nobody is kept waiting for it: the request itself
// finds out whether the store is back.
const (
	requestTimeout = 10 * time.Second
	awayTimeout    = time.Second
)

// reach remembers where requests were not answered. Reads and writes of each
// stream are told apart: one may have lost its leader, and a frozen one still
// answers reads.
type reach struct {
	mu   sync.Mutex
	away map[string]bool
	last bool // the last request of any kind was not answered
}

func (r *reach) limit(what string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last || r.away[what] {
		return awayTimeout
	}
	return requestTimeout
}

func (r *reach) note(what string, away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = away
	if away {
		if r.away == nil {
			r.away = map[string]bool{}
		}
		r.away[what] = true
		return
	}
	delete(r.away, what)
}

// writes marks what is written, see bound.
const writes = "write "

// written says what a publish on a subject writes: its first two tokens name the
// stream.
func written(subject string) string {
	if first := strings.IndexByte(subject, '.'); first >= 0 {
		if second := strings.IndexByte(subject[first+1:], '.'); second >= 0 {
			return writes + subject[:first+1+second]
		}
	}
	return writes + subject
}

// bound limits a request to what: the name of what is read, or with writes before
// it of what is written. Its end notes whether the time was enough.
func (s *core) bound(ctx context.Context, what string) (context.Context, context.CancelFunc) {
	r, over := s.requests.begin(ctx, what, s.reach.limit(what))
	return r, func() {
		switch err := r.Err(); {
		case err == nil:
			s.reach.note(what, false)
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			s.reach.note(what, true)
		}
		over()
	}
}
