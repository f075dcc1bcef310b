package gateway

import (
	"context"
	"net/http"

	"github.com/go-chi/chi/v5"

	"agentmesh/gateway/problem"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
)

// door is the way of a request of another protocol through the gateway.
type door struct{ *call }

// through admits the requests of a face of another protocol as those of any
// operation: who asks, how often, how much. do answers also those that are refused.
func (f *front) through(do func(d *door, refused error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r = askedOnce(r)
		d := &door{&call{front: f, w: w, r: r, who: auth.Stranger()}}
		if r.ContentLength != 0 && r.Body != nil {
			defer d.meter().done()
		}
		var err error
		if d.who, err = f.admit(w, r, auth.Known); err == nil {
			d.r = r.WithContext(auth.With(r.Context(), d.who))
			err = f.pace(d.call, auth.Known)
		}
		defer d.letGo()
		if err == nil && r.Method == http.MethodPost {
			d.depth, err = eventDepth(r)
		}
		do(d, err)
	}
}

// Body reads the body whole.
func (d *door) Body() ([]byte, error) { return d.front.readJSON(d.w, d.r) }

// Release gives back what the body took.
func (d *door) Release() { releaseBody(d.r) }

// Key reads the Idempotency-Key.
func (d *door) Key(content []byte) (*mesh.Key, error) { return keyOf(d.who, d.r, content) }

// Permit refuses a caller without a scope.
func (d *door) Permit(need auth.Scope) error {
	err := permit(d.w, d.caller(), need)
	if err != nil {
		d.front.trail.Refused(d.r.Context(), d.caller(), d.r.Method+" "+chi.RouteContext(d.r.Context()).RoutePattern(), err)
	}
	return err
}

// Hold keeps the request; through gives it back.
func (d *door) Hold(why mesh.Held) error { return d.hold(why) }

// Known lasts as long as the credentials.
func (d *door) Known(need auth.Scope) (context.Context, func()) {
	r, end := d.front.whileKnown(d.r, d.who, need)
	return r.Context(), end
}

// Depth is how many events lie behind the request.
func (d *door) Depth() int { return d.depth }

// Refusal is what the caller sees of an error.
func (d *door) Refusal(err error) (*mesh.Error, int) {
	refused := problemOf(err)
	return refused, problem.Status(refused.Refusal)
}
