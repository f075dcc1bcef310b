package gateway

import (
	"errors"
	"net/http"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
)

// serve checks what all operations check alike before the operation itself.
func (f *front) serve(op *route) http.HandlerFunc {
	return f.handle(func(w http.ResponseWriter, r *http.Request) error {
		c := &call{front: f, w: w, r: r, who: auth.Stranger()}
		if op.probe { // load balancers add what they like
			return op.handler(c)
		}
		r = askedOnce(r)
		c.r = r
		if r.ContentLength != 0 && r.Body != nil {
			defer c.meter().done()
		}
		var err error
		if c.who, err = f.admit(w, r, op.scope); err != nil {
			return err
		}
		if err = f.pace(c, op.scope); err != nil {
			return err
		}
		defer c.letGo()
		if op.gives.streams() {
			known, end := f.whileKnown(r, c.who, op.scope)
			defer end()
			c.r = known
		}
		c.prefs = preferred(r)
		if c.prefs.lenient {
			w.Header().Set("Preference-Applied", preferences{lenient: true}.honoured())
			varies(w.Header(), "Prefer")
		}
		if c.query, err = checkQuery(r, op, c.prefs.lenient || op.outside); err != nil {
			return err
		}
		if op.method == http.MethodPost { // also where no task is made: such a circle is one, too
			if c.depth, err = eventDepth(r); err != nil {
				return err
			}
		}
		return op.adviseWhenAway(op.handler(c))
	})
}

// adviseWhenAway says of a store that is away what the client of this operation can
// do about it.
func (op *route) adviseWhenAway(err error) error {
	if err == nil || !errors.Is(problemOf(err), mesh.ErrStoreUnavailable) {
		return err
	}
	p := *problemOf(err)
	p.Cause = err
	switch {
	case op.outside: // a delivery is done once
	case op.method == http.MethodGet:
		p.Detail = "Nothing could be read. Try again in a moment."
	case !op.takes.keyed:
		p.Detail = "It is unknown whether the request took effect. Look before you send it again."
	}
	return &p
}

// handle adapts a handler that returns its refusal.
func (f *front) handle(do func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := do(w, r); err != nil {
			f.writeProblem(w, r, err)
		}
	}
}
