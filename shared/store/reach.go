package store

import (
	"context"
	"strings"
	"sync"
	"time"
)

// Bounds of one request to JetStream, with all its tries. One that takes longer is
// an unknown outcome. The longer time is that of an election: followers wait for 4
// to 9 s before they stand for one (nats-server 2.15.2, raft.go). It counts from the
// first try that was not answered, whoever's that was: what asks for several things
// waits once, and nobody is kept waiting for a store that is known to be away. The
// request itself finds out whether it is back.
const (
	requestTimeout = 10 * time.Second
	awayTimeout    = time.Second
)

// reach remembers where requests are not answered. Reads and writes of each stream
// are told apart: one may have lost its leader, and a frozen one still answers reads.
type reach struct {
	mu     sync.Mutex
	silent map[string]silence // by what; see anyKind
}

// silence is a time without an answer.
type silence struct{ since, latest time.Time }

// left is how much of a patience is left that began with the silence.
func (s silence) left() time.Duration {
	if s.since.IsZero() || time.Since(s.latest) >= silenceKept {
		return requestTimeout
	}
	return requestTimeout - time.Since(s.since)
}

// heard adds a try without an answer, which began at a time.
func (s silence) heard(began time.Time) silence {
	now := time.Now()
	if s.since.IsZero() || now.Sub(s.latest) >= silenceKept {
		s.since = began
	}
	s.latest = now
	return s
}

// asking is what somebody waits for who asks once, and its context: see AskedOnce.
type asking struct {
	context.Context
	mu sync.Mutex
	silence
}

type askingKey struct{}

// AskedOnce is the context of one request of somebody's, which may ask the store for
// several things, one behind the other. Its patience is one: an answer that came late has
// used it up for those that follow, whatever they ask for.
func AskedOnce(ctx context.Context) context.Context {
	return &asking{Context: ctx}
}

// Value finds the asking itself.
func (a *asking) Value(key any) any {
	if key == (askingKey{}) {
		return a
	}
	return a.Context.Value(key)
}

func (a *asking) left() time.Duration {
	if a == nil {
		return requestTimeout
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.silence.left()
}

func (a *asking) unanswered(began time.Time) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.silence = a.heard(began)
}

// anyKind stands for requests of any kind.
const anyKind = ""

// limit is how long an answer of a kind is waited for; see awayTimeout.
func (r *reach) limit(what string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return min(r.silent[anyKind].left(), r.silent[what].left())
}

// silenceKept is how long a silence counts that nobody has asked into.
const silenceKept = time.Minute

// unanswered notes a try without an answer, which began at a time.
func (r *reach) unanswered(what string, began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.silent == nil {
		r.silent = map[string]silence{}
	}
	for _, key := range []string{anyKind, what} {
		r.silent[key] = r.silent[key].heard(began)
	}
}

func (r *reach) answered(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.silent, anyKind)
	delete(r.silent, what)
}

// writes marks what is written, see bound.
const writes = "write "

// writesTo says what a publish on a subject writes: its first two tokens name the
// stream.
func writesTo(subject string) string {
	if first := strings.IndexByte(subject, '.'); first >= 0 {
		if second := strings.IndexByte(subject[first+1:], '.'); second >= 0 {
			return writes + subject[:first+1+second]
		}
	}
	return writes + subject
}

// bound limits a request to what: the name of what is read, or with writes before
// it of what is written. Its end notes whether the time was enough.
func (s *core) bound(ctx context.Context, what string) (*request, context.CancelFunc) {
	r := s.request(ctx, what, 0)
	return r, r.over
}

// request is bound for one that the server answers after a wait. It ends with over.
func (s *core) request(ctx context.Context, what string, wait time.Duration) *request {
	once, _ := ctx.Value(askingKey{}).(*asking)
	r := s.requests.start(ctx, what, wait+max(min(s.reach.limit(what), once.left()), awayTimeout))
	r.reach, r.once = &s.reach, once
	return r
}
