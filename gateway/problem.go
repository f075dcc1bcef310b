package gateway

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
)

// problemOf is what the client sees of an error.
func problemOf(err error) *mesh.Error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return mesh.Refuse(mesh.ErrTooLarge, "The body is over %d bytes. Store the input elsewhere and send a reference.", tooLarge.Limit)
	}
	return mesh.RefusalOf(err)
}

// writeProblem answers with err's problem and logs what is not the client's
// fault.
func (f *front) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	refused := problemOf(err)
	p := problem.Of(refused)
	if r.Context().Err() != nil && p.Status != http.StatusRequestTimeout { // a body that stalls ends the context, too
		panic(http.ErrAbortHandler) // a client that still reads must not take silence for a 200
	}
	p.Instance, p.TraceID = r.URL.Path, telemetry.RequestTraceID(r)
	if p.Status >= 500 {
		log := f.log
		if telemetry.TraceID(r.Context()) == "" { // the log knows that of a span by itself
			log = log.With("trace_id", p.TraceID)
		}
		log.WarnContext(r.Context(), "request refused", "method", r.Method, "path", r.URL.Path, "code", p.Code, "error", cmp.Or(refused.Cause, err))
	}
	for _, name := range []string{"ETag", "Location", "Preference-Applied", "Content-Length"} {
		w.Header().Del(name)
	}
	sendProblem(w, p, refused.Wait())
}

func sendProblem(w http.ResponseWriter, p api.Problem, retryAfter time.Duration) {
	b, err := task.Marshal(p)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	if retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((retryAfter+time.Second-1)/time.Second)))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(b)
}
