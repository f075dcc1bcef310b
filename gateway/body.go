package gateway

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
)

// Bounds of request bodies.
const (
	bodyStall = time.Minute     // without a byte, a body is given up
	bodyRest  = 2 * time.Second // for what is left of it behind an answer that needed none of it; the answer waits for it
	bodyHeard = 5 * time.Second // for one that is refused
	smallBody = 64 << 10        // of each body that counts for nothing: small requests go through while large ones wait
)

// budget is the memory that all large bodies in flight may take together.
type budget struct {
	max  int64
	used atomic.Int64
}

func (b *budget) take(n int64) bool {
	if b.used.Add(n) > b.max {
		b.used.Add(-n)
		return false
	}
	return true
}

// meteredBody is a request's body that counts its bytes against the budget as
// they come: bytes that are only announced cost nothing. It ends with a problem
// when the budget is used up, or nothing has come for bodyStall.
type meteredBody struct {
	io.ReadCloser
	control *http.ResponseController
	budget  *budget
	got     int64
	taken   int64  // of the budget
	ahead   []byte // read to see whether there is anything
	ended   bool
}

// meter has the body of the request counted until it is done.
func (c *call) meter() *meteredBody {
	c.sent = meteredBody{ReadCloser: c.r.Body, control: controlOf(c.w), budget: &c.front.bodies}
	c.sent.patience(time.Now().Add(bodyStall))
	c.r.Body = &c.sent
	return &c.sent
}

func (b *meteredBody) patience(until time.Time) {
	_ = b.control.SetReadDeadline(until) // only a server's connection has deadlines
}

func (b *meteredBody) Read(p []byte) (int, error) {
	if n := copy(p, b.ahead); n > 0 {
		b.ahead = b.ahead[n:]
		return n, nil
	}
	if b.ended {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(p)
	b.got += int64(n)
	if over := b.got - smallBody - b.taken; over > 0 {
		if !b.budget.take(over) {
			return 0, mesh.Refuse(problem.ErrTooManyBodies, "The large request bodies in flight fill this gateway's memory for them, %d MiB. Nothing was accepted: send the request again in a moment.", b.budget.max>>20)
		}
		b.taken += over
	}
	switch {
	case err == io.EOF:
		b.ended = true
		b.patience(time.Time{}) // the server watches the connection from now on
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, mesh.Refuse(problem.ErrBodyStalled, "Nothing of the request body came for %v. Nothing was accepted: send the request again.", bodyStall)
	case err == nil && n > 0:
		b.patience(time.Now().Add(bodyStall))
	}
	return n, err
}

// done ends the request's part of a body.
func (b *meteredBody) done() {
	b.release()
	if !b.ended { // the server reads the rest, so that the connection can be used again
		b.patience(time.Now().Add(bodyRest))
	}
}

// release gives back what the body took of the budget, once nothing keeps it.
func (b *meteredBody) release() {
	b.budget.used.Add(-b.taken)
	b.got, b.taken = 0, 0
}

// empty says whether there is no body, which a client that sends in chunks does
// not announce.
func (b *meteredBody) empty() (bool, error) {
	one := make([]byte, 1)
	for len(b.ahead) == 0 {
		n, err := b.Read(one)
		b.ahead = one[:n]
		if n == 0 && errors.Is(err, io.EOF) {
			return true, nil
		}
		if n == 0 && err != nil {
			return false, err
		}
	}
	return false, nil
}

// releaseBody lets others send while this request only waits: its body is kept
// nowhere any more.
func releaseBody(r *http.Request) {
	if b, ok := r.Body.(*meteredBody); ok {
		b.release()
	}
}

// hasBody says whether a request comes with a body. One in chunks may turn out to
// be empty.
func hasBody(r *http.Request) (bool, error) {
	b, ok := r.Body.(*meteredBody)
	if r.ContentLength == 0 || !ok {
		return false, nil
	}
	if r.ContentLength > 0 {
		return true, nil
	}
	empty, err := b.empty()
	if err != nil {
		return false, brokenBody(err)
	}
	return !empty, nil
}

// drainRefused reads on, and keeps nothing, from a client whose body is refused:
// most look for the answer only when they have sent everything. One that waits
// for 100 Continue has sent nothing.
func (f *front) drainRefused(r *http.Request) {
	b, ok := r.Body.(*meteredBody)
	if !ok || r.Header.Get("Expect") != "" {
		return
	}
	b.release()
	b.patience(time.Now().Add(bodyHeard))
	if _, err := io.CopyN(io.Discard, b.ReadCloser, 2*f.cfg.MaxBody); errors.Is(err, io.EOF) {
		b.ended = true
		b.patience(time.Time{})
	}
}

// refusedWhole says whether a body was refused, and not cut by the client.
func refusedWhole(err error) bool {
	var p *mesh.Error
	return !errors.As(err, &p) || p.Refusal == problem.ErrTooManyBodies
}

// brokenBody is the refusal of a body that did not come whole.
func brokenBody(err error) error {
	var p *mesh.Error
	var tooLarge *http.MaxBytesError
	if errors.As(err, &p) || errors.As(err, &tooLarge) {
		return err
	}
	return mesh.Refuse(mesh.ErrMalformedJSON, "The body ended early.")
}
