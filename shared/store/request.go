package store

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ending is when and why a context ends.
type ending struct {
	mu    sync.Mutex
	err   error
	done  chan struct{} // made when somebody waits for it
	after map[*func()]struct{}
}

func (e *ending) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

func (e *ending) Done() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.done == nil {
		e.done = make(chan struct{})
		if e.err != nil {
			close(e.done)
		}
	}
	return e.done
}

func (e *ending) end(err error) {
	e.mu.Lock()
	if e.err != nil {
		e.mu.Unlock()
		return
	}
	e.err = err
	if e.done != nil {
		close(e.done)
	}
	after := e.after
	e.after = nil
	e.mu.Unlock()
	for f := range after {
		(*f)()
	}
}

// AfterFunc has f, which does not wait, called at the end: package context asks for
// it, and needs no goroutine for each context below this one then.
func (e *ending) AfterFunc(f func()) (stop func() bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		go f()
		return func() bool { return false }
	}
	if e.after == nil {
		e.after = map[*func()]struct{}{}
	}
	e.after[&f] = struct{}{}
	return func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		_, waits := e.after[&f]
		delete(e.after, &f)
		return waits
	}
}

// request is the context of one request. The server answers a request that the user
// may not make by an error of the connection, and not to the request: so it is ended
// from there, or by its own time, or by its caller's. Most are answered at once: what
// only one needs that is not is made when it is asked for.
type request struct {
	context.Context // the caller's
	ending

	all      *requests
	what     string
	reach    *reach  // nil: nobody keeps the books
	once     *asking // who asks; nil: nobody waits
	began    time.Time
	until    time.Time // its own time
	deadline time.Time // that, or the caller's
	caller   func() bool

	mu     sync.Mutex
	timer  *time.Timer // ends it; nil: nobody waits for that
	lost   bool        // a try was not answered
	trying *try
	first  try
}

func (r *request) Deadline() (time.Time, bool) { return r.deadline, true }

func (r *request) Err() error {
	if !time.Now().Before(r.until) {
		r.end(context.DeadlineExceeded)
	}
	return r.ending.Err()
}

func (r *request) Done() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer == nil && r.ending.Err() == nil {
		r.timer = time.AfterFunc(time.Until(r.until), func() { r.end(context.DeadlineExceeded) })
	}
	return r.ending.Done()
}

// Value finds the request itself, by the context of a try of it.
func (r *request) Value(key any) any {
	if key == (requestKey{}) {
		return r
	}
	return r.Context.Value(key)
}

type requestKey struct{}

func (r *request) end(err error) {
	r.ending.end(err)
	r.mu.Lock()
	t := r.trying
	r.mu.Unlock()
	if t != nil {
		t.end(err)
	}
}

// over ends a request, and notes whether the time was enough.
func (r *request) over() {
	if r.reach != nil {
		switch err := r.Err(); {
		case err == nil:
			r.reach.answered(r.what)
		case errors.Is(err, context.DeadlineExceeded) && r.Context.Err() == nil:
			r.unanswered(r.began)
		}
	}
	if r.caller != nil {
		r.caller()
	}
	r.all.forget(r)
	r.end(context.Canceled)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
	}
}

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

// try is the context of one try of a request. Its time is ended by the requests' bell.
type try struct {
	ending
	of    *request
	until time.Time
}

func (t *try) Deadline() (time.Time, bool) {
	if t.of.deadline.Before(t.until) {
		return t.of.deadline, true
	}
	return t.until, true
}

func (t *try) Value(key any) any { return t.of.Value(key) }

func (t *try) over() {
	t.of.mu.Lock()
	t.of.trying = nil
	t.of.mu.Unlock()
	t.end(context.Canceled)
}

// timed is the context of a try. It is to be ended.
type timed interface {
	context.Context
	over()
}

// tryOf begins a try within ctx. It is as a context with a timeout; that of a request, of
// which there is one at a time, costs a third.
func tryOf(ctx context.Context) timed {
	if r, ok := ctx.(*request); ok {
		if t := r.try(); t != nil {
			return t
		}
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	return timeout{ctx, cancel}
}

type timeout struct {
	context.Context
	cancel context.CancelFunc
}

func (t timeout) over() { t.cancel() }

// try begins one; nil: there is one.
func (r *request) try() *try {
	until := time.Now().Add(tryTimeout)
	if r.until.Before(until) {
		until = r.until
	}
	r.mu.Lock()
	if r.trying != nil {
		r.mu.Unlock()
		return nil
	}
	t := &r.first
	if t.of != nil { // it was not answered
		t = new(try)
	}
	t.of, t.until = r, until
	r.trying = t
	r.mu.Unlock()
	r.all.ringBy(until)
	if err := r.Err(); err != nil {
		t.end(err)
	}
	return t
}

// requests are those under way on a connection.
type requests struct {
	mu       sync.Mutex
	underWay map[*request]struct{}
	deaf     error // answers do not come in: nothing is to be asked

	bell  *time.Timer // ends the tries that are late: one for all, since most are over long before
	rings time.Time   // zero: it does not
}

// ringBy has the bell ring at a time, or earlier.
func (q *requests) ringBy(at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.setBell(at)
}

func (q *requests) setBell(at time.Time) {
	if !q.rings.IsZero() && !at.Before(q.rings) {
		return
	}
	if q.rings = at; q.bell == nil {
		q.bell = time.AfterFunc(time.Until(at), q.ring)
	} else {
		q.bell.Reset(time.Until(at))
	}
}

// ring ends the tries whose time is over.
func (q *requests) ring() {
	for _, t := range q.late(time.Now()) {
		t.end(context.DeadlineExceeded)
	}
}

// late are those tries, and sets the bell for the others.
func (q *requests) late(now time.Time) (late []*try) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rings = time.Time{}
	for r := range q.underWay {
		r.mu.Lock()
		t := r.trying
		r.mu.Unlock()
		switch {
		case t == nil:
		case now.Before(t.until):
			q.setBell(t.until)
		default:
			late = append(late, t)
		}
	}
	return late
}

// begin begins a request to what, see bound; empty: to anything.
func (q *requests) begin(parent context.Context, what string, limit time.Duration) (r *request, over func()) {
	r = q.start(parent, what, limit)
	return r, r.over
}

func (q *requests) start(parent context.Context, what string, limit time.Duration) *request {
	began := time.Now()
	r := &request{Context: parent, all: q, what: what, began: began, until: began.Add(limit)}
	r.deadline = r.until
	if earlier, ok := parent.Deadline(); ok && earlier.Before(r.deadline) {
		r.deadline = earlier
	}
	if parent.Done() != nil {
		r.caller = context.AfterFunc(parent, func() { r.end(parent.Err()) })
		if err := parent.Err(); err != nil {
			r.end(err)
		}
	}
	if deaf := q.note(r); deaf != nil {
		r.end(deaf)
	}
	return r
}

// note keeps a request; deaf is why it is none to be made.
func (q *requests) note(r *request) (deaf error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.underWay == nil {
		q.underWay = map[*request]struct{}{}
	}
	q.underWay[r] = struct{}{}
	return q.deaf
}

func (q *requests) forget(r *request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.underWay, r)
}
