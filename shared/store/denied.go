package store

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/shared/topology"
)

// ErrDenied is what a NATS server does not let this user do. It does not pass by
// itself.
var ErrDenied = errors.New("this NATS user may not")

// request is the context of one request. The server answers a request that the user
// may not make by an error of the connection, and not to the request: so it is ended
// from there, or by its own time, or by its caller's.
type request struct {
	context.Context // the caller's

	what     string
	reach    *reach  // nil: nobody keeps the books
	once     *asking // who asks; nil: nobody waits
	began    time.Time
	deadline time.Time
	done     chan struct{}

	mu    sync.Mutex
	err   error
	lost  bool // a try was not answered
	after map[*func()]struct{}
}

func (r *request) Deadline() (time.Time, bool) { return r.deadline, true }
func (r *request) Done() <-chan struct{}       { return r.done }

// Value finds the request itself, by the context of a try of it.
func (r *request) Value(key any) any {
	if key == (requestKey{}) {
		return r
	}
	return r.Context.Value(key)
}

type requestKey struct{}

// unanswered notes that a try of the request of ctx was not answered, which began at
// a time.
func unanswered(ctx context.Context, began time.Time) {
	if r, ok := ctx.Value(requestKey{}).(*request); ok && r.reach != nil {
		r.mu.Lock()
		r.lost = true
		r.mu.Unlock()
		r.unanswered(began)
	}
}

func (r *request) unanswered(began time.Time) {
	r.reach.unanswered(r.what, began)
	r.once.unanswered(began)
}

// hasLost reports whether a try was not answered: it may have been heard.
func (r *request) hasLost() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

func (r *request) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *request) end(err error) {
	r.mu.Lock()
	if r.err != nil {
		r.mu.Unlock()
		return
	}
	r.err = err
	close(r.done)
	after := r.after
	r.after = nil
	r.mu.Unlock()
	for f := range after {
		(*f)()
	}
}

// AfterFunc has f, which does not wait, called at the end: package context asks for
// it, and needs no goroutine for each try then.
func (r *request) AfterFunc(f func()) (stop func() bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		go f()
		return func() bool { return false }
	}
	if r.after == nil {
		r.after = map[*func()]struct{}{}
	}
	r.after[&f] = struct{}{}
	return func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		_, waits := r.after[&f]
		delete(r.after, &f)
		return waits
	}
}

// requests are those under way on a connection.
type requests struct {
	mu       sync.Mutex
	underWay map[*request]struct{}
	deaf     error // answers do not come in: nothing is to be asked
}

// begin begins a request to what, see bound; empty: to anything.
func (q *requests) begin(parent context.Context, what string, limit time.Duration) (r *request, over func()) {
	began := time.Now()
	r = &request{Context: parent, what: what, began: began, deadline: began.Add(limit), done: make(chan struct{})}
	if earlier, ok := parent.Deadline(); ok && earlier.Before(r.deadline) {
		r.deadline = earlier
	}
	timer := time.AfterFunc(limit, func() { r.end(context.DeadlineExceeded) })
	stop := context.AfterFunc(parent, func() { r.end(parent.Err()) })
	if err := parent.Err(); err != nil {
		r.end(err)
	}
	q.mu.Lock()
	if q.underWay == nil {
		q.underWay = map[*request]struct{}{}
	}
	q.underWay[r] = struct{}{}
	deaf := q.deaf
	q.mu.Unlock()
	if deaf != nil {
		r.end(deaf)
	}
	return r, func() {
		timer.Stop()
		stop()
		q.mu.Lock()
		delete(q.underWay, r)
		q.mu.Unlock()
		r.end(context.Canceled)
	}
}

// refuse ends those that the server has refused, as far as its word tells.
func (q *requests) refuse(d denial) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if d.inbox {
		q.deaf = d.err()
	}
	for r := range q.underWay {
		if d.inbox || d.concerns(r.what) {
			r.end(d.err())
		}
	}
}

// denial is the server's word that a user may not do something.
type denial struct {
	verb, subject string
	inbox         bool // it is about the answers to our requests
}

var denied = regexp.MustCompile(`(?i)violation for (publish|subscription)[^"]*"([^"]+)"`)

// denialOf reads an error of a connection with an inbox; ok is false when it is
// another one.
func denialOf(err error, inbox string) (d denial, ok bool) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return d, false
	}
	m := denied.FindStringSubmatch(err.Error())
	if m == nil {
		return d, false
	}
	d = denial{"publish to", m[2], false}
	if strings.EqualFold(m[1], "subscription") {
		d.verb, d.inbox = "subscribe to", strings.HasPrefix(m[2], inbox+".")
	}
	return d, true
}

func (d denial) err() error {
	return fmt.Errorf("%w %s %s: give it the permissions of its role (deploy/nats)", ErrDenied, d.verb, d.subject)
}

// concerns reports whether a request to what may be the one that was refused.
func (d denial) concerns(what string) bool {
	name := strings.TrimPrefix(what, writes)
	if name == "" || strings.HasPrefix(d.subject, name+".") {
		return true
	}
	for token := range strings.SplitSeq(d.subject, ".") {
		if token == name || token == topology.BucketStream(name) {
			return true
		}
	}
	return false
}

// heed has the connection's refusals end the requests that they are about.
func (s *core) heed() {
	inbox, before := s.nc.Opts.InboxPrefix, s.nc.ErrorHandler()
	if inbox == "" {
		inbox = strings.TrimSuffix(nats.InboxPrefix, ".")
	}
	s.nc.SetErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
		if d, ok := denialOf(err, inbox); ok {
			s.requests.refuse(d)
		}
		if before != nil {
			before(nc, sub, err)
		}
	})
}
