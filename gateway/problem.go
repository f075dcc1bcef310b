package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/webhook"
)

// problemOf is the one place that turns an error into what a client sees.
func problemOf(err error) *mesh.Error {
	var p *mesh.Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &tooLarge):
		return mesh.Refuse(problem.ErrBodyTooLarge, "The body is over %d bytes. Store the input elsewhere and send a reference.", tooLarge.Limit)
	case errors.Is(err, task.ErrTooLarge):
		return mesh.Refuse(problem.ErrBodyTooLarge, "The request cannot be kept: %s. Store what is large elsewhere and send a reference.", reason(err, task.ErrTooLarge))
	case errors.Is(err, task.ErrTooDeep):
		return mesh.Refuse(mesh.ErrCallTooDeep, "%s.", err)
	case errors.Is(err, task.ErrDeadlock):
		return mesh.Refuse(mesh.ErrCallDeadlock, "%s.", err)
	case errors.Is(err, webhook.ErrNotFound):
		return mesh.Refuse(mesh.ErrWebhookNotFound, "No webhook with this id is known. GET /webhooks lists them.")
	case errors.Is(err, webhook.ErrDeliveryNotFound):
		return mesh.Refuse(mesh.ErrDeliveryNotFound, "No delivery with this id is known, or it is past its retention of 30 days.")
	case errors.Is(err, session.ErrNotFound):
		return mesh.Refuse(mesh.ErrSessionNotFound, "No session with this id is known, or it was deleted. POST /sessions starts one.")
	case errors.Is(err, session.ErrExpired):
		return mesh.Refuse(mesh.ErrSessionExpired, "Nothing was said in it for too long. POST /sessions starts a new one.")
	case errors.Is(err, session.ErrBusy):
		return mesh.Refuse(mesh.ErrSessionBusy, `Another turn is open. Try again when it has ended, or send "on_busy":"wait" or "interrupt".`)
	case errors.Is(err, session.ErrQueueFull):
		return mesh.Refuse(mesh.ErrSessionQueueFull, "%s. Try again when the open turn has ended, or cancel one that waits.", reason(err, session.ErrQueueFull))
	case errors.Is(err, session.ErrFull):
		return mesh.Refuse(mesh.ErrSessionFull, "%s. Start a new session.", reason(err, session.ErrFull))
	case errors.Is(err, session.ErrConflict):
		return mesh.Refuse(mesh.ErrConflict, "The session was changed at the same time. Try again.")
	case errors.Is(err, task.ErrConflict):
		return mesh.Refuse(mesh.ErrConflict, "It was changed at the same time. Try again.")
	case errors.Is(err, task.ErrNotFound):
		return mesh.Refuse(mesh.ErrTaskNotFound, "No task with this id is known, or it is past its retention of 7 days.")
	case errors.Is(err, task.ErrFinished):
		return mesh.Refuse(mesh.ErrTaskFinished, "A finished task never changes. Retry it as a new task with POST /tasks/{id}/retry.")
	case errors.Is(err, task.ErrFull):
		return mesh.Refuse(mesh.ErrStoreFull, "Nothing was accepted. Try again when there is room.")
	case errors.Is(err, task.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return mesh.Refuse(mesh.ErrStoreUnavailable, "It is unknown whether the request took effect. Repeat it with the same Idempotency-Key to find out safely.")
	}
	return mesh.Refuse(mesh.ErrInternal, "The trace id leads to the cause in the logs.")
}

// reason is the text of an error up to the sentinel that it wraps.
func reason(err, sentinel error) string {
	text, _, _ := strings.Cut(err.Error(), ": "+sentinel.Error())
	return text
}

// writeProblem answers with err's problem and logs what is not the client's
// fault.
func (g *Gateway) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	refused := problemOf(err)
	p := problem.Of(refused)
	if r.Context().Err() != nil && p.Status != http.StatusRequestTimeout { // a body that stalls ends the context, too
		panic(http.ErrAbortHandler) // a client that still reads must not take silence for a 200
	}
	p.Instance, p.TraceID = r.URL.Path, telemetry.TraceID(r.Context())
	if p.Status >= 500 {
		g.log.WarnContext(r.Context(), "request refused", "method", r.Method, "path", r.URL.Path, "code", p.Code, "error", err)
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
