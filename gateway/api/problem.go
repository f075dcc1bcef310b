// Package api is what goes over the wire of the HTTP face: the types of its
// bodies, which the gateway writes and the client reads, and the one table from
// the reasons of refusals to HTTP statuses.
package api

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// Problem is a refusal on the wire (RFC 9457). Clients switch on Code.
type Problem struct {
	Type      string         `json:"type" doc:"Relative URI of the page on this code."`
	Title     string         `json:"title" doc:"The same for every problem with this code."`
	Status    int            `json:"status"`
	Detail    string         `json:"detail,omitempty" doc:"What was wrong with this request and what to do."`
	Instance  string         `json:"instance,omitempty"`
	Code      string         `json:"code"`
	TraceID   string         `json:"trace_id,omitempty"`
	Retryable bool           `json:"retryable" doc:"The same request may succeed later."`
	Errors    []mesh.Invalid `json:"errors,omitempty"`
}

// NewProblem is how an error of the core looks on the wire.
func NewProblem(e *mesh.Error) Problem {
	r := e.Refusal
	return Problem{
		Type: "/problems/" + r.Code, Title: r.Title, Status: Status(r), Code: r.Code, Detail: e.Detail,
		Retryable: r.RetryAfter > 0, Errors: e.Faults,
	}
}

// Status is the HTTP status of a refusal.
func Status(r *mesh.Refusal) int {
	if status, ok := statuses[r]; ok {
		return status
	}
	return http.StatusInternalServerError
}

// ProblemPage is what a code means: of a refusal, of a task's error, or of both.
type ProblemPage struct {
	Code      string     `json:"code"`
	Title     string     `json:"title"`
	Status    int        `json:"status,omitempty" doc:"Of the refusal."`
	Retryable bool       `json:"retryable" doc:"The same request may succeed later."`
	Fault     task.Fault `json:"fault,omitempty" enum:"agent,client,mesh" doc:"Of a task's error: who must look."`
}

// ProblemPages lists every code, in the order of their names.
func ProblemPages() []ProblemPage {
	pages := map[string]ProblemPage{}
	for code, c := range task.Codes {
		pages[code] = ProblemPage{Code: code, Title: c.Title, Fault: c.Fault}
	}
	for _, r := range mesh.Refusals() {
		pages[r.Code] = ProblemPage{Code: r.Code, Title: r.Title, Status: Status(r), Retryable: r.RetryAfter > 0, Fault: pages[r.Code].Fault}
	}
	return slices.SortedFunc(maps.Values(pages), func(a, b ProblemPage) int { return strings.Compare(a.Code, b.Code) })
}

// The refusals of HTTP itself.
var (
	ErrBadIdempotencyKey    = mesh.NewRefusal("bad_idempotency_key", "The Idempotency-Key is malformed.", 0)
	ErrBadQuery             = mesh.NewRefusal("bad_query", "A query parameter is out of its range.", 0)
	ErrNotFound             = mesh.NewRefusal("not_found", "There is nothing at this path.", 0)
	ErrMethodNotAllowed     = mesh.NewRefusal("method_not_allowed", "This path does not take this method.", 0)
	ErrBodyStalled          = mesh.NewRefusal("body_stalled", "The request body did not come.", 1*time.Second)
	ErrBodyTooLarge         = mesh.NewRefusal("body_too_large", "The request body is over the limit.", 0)
	ErrUnsupportedMediaType = mesh.NewRefusal("unsupported_media_type", "The content type is not supported.", 0)
	ErrTooManyBodies        = mesh.NewRefusal("too_many_bodies", "Too many large requests are in flight.", 1*time.Second)
	ErrTooManyConnections   = mesh.NewRefusal("too_many_connections", "The gateway has no more room for connections.", 1*time.Second)
	ErrShuttingDown         = mesh.NewRefusal("shutting_down", "This gateway is shutting down.", 1*time.Second)
)

// statuses is the one table from reasons to statuses.
var statuses = map[*mesh.Refusal]int{
	mesh.ErrMalformedJSON:        400,
	ErrBadIdempotencyKey:         400,
	mesh.ErrBadCursor:            400,
	ErrBadQuery:                  400,
	ErrNotFound:                  404,
	mesh.ErrTaskNotFound:         404,
	mesh.ErrAgentNotFound:        404,
	mesh.ErrParentNotFound:       404,
	mesh.ErrResultNotReady:       404,
	mesh.ErrResultExpired:        410,
	mesh.ErrNoInput:              404,
	mesh.ErrInputExpired:         410,
	mesh.ErrActionNotFound:       404,
	mesh.ErrWebhookNotFound:      404,
	mesh.ErrDeliveryNotFound:     404,
	mesh.ErrAgentServed:          409,
	mesh.ErrWebhookDisabled:      409,
	mesh.ErrWebhookUnreadable:    409,
	mesh.ErrNothingToRedeliver:   409,
	mesh.ErrConflict:             409,
	mesh.ErrCallbackBlocked:      422,
	mesh.ErrTooManyWebhooks:      422,
	mesh.ErrCallbacksOff:         503,
	mesh.ErrSessionNotFound:      404,
	mesh.ErrSessionExpired:       404,
	mesh.ErrTurnNotFound:         404,
	mesh.ErrSessionBusy:          409,
	mesh.ErrSessionQueueFull:     409,
	mesh.ErrSessionFull:          409,
	mesh.ErrPreconditionFailed:   412,
	ErrMethodNotAllowed:          405,
	mesh.ErrTaskFinished:         409,
	mesh.ErrParentFinished:       409,
	mesh.ErrTaskNotRetryable:     409,
	ErrBodyStalled:               408,
	ErrBodyTooLarge:              413,
	ErrUnsupportedMediaType:      415,
	mesh.ErrValidationFailed:     422,
	mesh.ErrInputInvalid:         422,
	mesh.ErrNumberOutOfRange:     422,
	mesh.ErrInputTooComplex:      422,
	mesh.ErrCallTooDeep:          422,
	mesh.ErrEventChainTooDeep:    422,
	mesh.ErrCallDeadlock:         422,
	mesh.ErrAgentRequired:        422,
	mesh.ErrIdempotencyKeyReused: 422,
	mesh.ErrInternal:             500,
	mesh.ErrStoreUnavailable:     503,
	mesh.ErrStoreFull:            503,
	ErrTooManyBodies:             503,
	ErrTooManyConnections:        503,
	ErrShuttingDown:              503,
}
