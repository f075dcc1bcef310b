// Package problem is how refusals look over HTTP: the one table from their
// reasons to statuses, the reasons of HTTP itself, and the pages on the codes.
package problem

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// Of is how an error of the core looks on the wire.
func Of(e *mesh.Error) api.Problem {
	r := e.Refusal
	p := api.Problem{
		Type: "/problems/" + r.Code, Title: r.Title, Status: Status(r), Code: r.Code, Detail: e.Detail, Retryable: r.RetryAfter > 0,
	}
	for _, f := range e.Faults {
		p.Errors = append(p.Errors, api.Invalid(f))
	}
	return p
}

// Status is the HTTP status of a refusal.
func Status(r *mesh.Refusal) int {
	if status, ok := statuses[r]; ok {
		return status
	}
	return http.StatusInternalServerError
}

// Pages lists every code, in the order of their names.
func Pages() []api.ProblemPage {
	pages := map[string]api.ProblemPage{}
	for code, c := range task.Codes {
		pages[code] = api.ProblemPage{Code: code, Title: c.Title, Fault: string(c.Fault)}
	}
	for _, r := range mesh.Refusals() {
		pages[r.Code] = api.ProblemPage{Code: r.Code, Title: r.Title, Status: Status(r), Retryable: r.RetryAfter > 0, Fault: pages[r.Code].Fault}
	}
	return slices.SortedFunc(maps.Values(pages), func(a, b api.ProblemPage) int { return strings.Compare(a.Code, b.Code) })
}

// The refusals of HTTP itself.
var (
	ErrBadIdempotencyKey    = mesh.NewRefusal("bad_idempotency_key", "The Idempotency-Key is malformed.", 0)
	ErrBadQuery             = mesh.NewRefusal("bad_query", "A query parameter is out of its range.", 0)
	ErrBadTenant            = mesh.NewRefusal("bad_tenant", "The Mesh-Tenant header names no tenant.", 0)
	ErrWrongHost            = mesh.NewRefusal("wrong_host", "The request is meant for another host.", 0)
	ErrCrossSite            = mesh.NewRefusal("cross_site", "A page of another site sent the request.", 0)
	ErrNotFound             = mesh.NewRefusal("not_found", "There is nothing at this path.", 0)
	ErrMethodNotAllowed     = mesh.NewRefusal("method_not_allowed", "This path does not take this method.", 0)
	ErrBodyStalled          = mesh.NewRefusal("body_stalled", "The request body did not come.", 1*time.Second)
	ErrUnsupportedMediaType = mesh.NewRefusal("unsupported_media_type", "The content type is not supported.", 0)
	ErrTooManyBodies        = mesh.NewRefusal("too_many_bodies", "Too many large requests are in flight.", 1*time.Second)
	ErrTooManyConnections   = mesh.NewRefusal("too_many_connections", "The gateway has no more room for connections.", 1*time.Second)
	ErrShuttingDown         = mesh.NewRefusal("shutting_down", "This gateway is shutting down.", 1*time.Second)
)

// statuses is the one table from reasons to statuses.
var statuses = map[*mesh.Refusal]int{
	mesh.ErrUnauthenticated:      401,
	mesh.ErrForbidden:            403,
	mesh.ErrTooManyAttempts:      429,
	mesh.ErrRateLimited:          429,
	mesh.ErrTooManyPending:       429,
	mesh.ErrQuotaExceeded:        429,
	mesh.ErrTooManyWaits:         429,
	mesh.ErrTooManySessions:      429,
	mesh.ErrScheduleNotFound:     404,
	mesh.ErrScheduleExists:       409,
	mesh.ErrTooManySchedules:     409,
	mesh.ErrHookNotFound:         404,
	mesh.ErrTooManyHooks:         409,
	mesh.ErrHookRejected:         401,
	mesh.ErrHookPaused:           503,
	mesh.ErrHookUnserved:         503,
	mesh.ErrTenantNotFound:       404,
	mesh.ErrIssuerUnavailable:    503,
	ErrBadTenant:                 400,
	mesh.ErrKeyNotFound:          404,
	mesh.ErrKeyExists:            409,
	mesh.ErrKeyEnded:             409,
	mesh.ErrLastAdminKey:         409,
	mesh.ErrTooManyKeys:          422,
	ErrWrongHost:                 http.StatusMisdirectedRequest,
	ErrCrossSite:                 http.StatusForbidden,
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
	mesh.ErrStepNotFound:         404,
	mesh.ErrStepSealed:           403,
	mesh.ErrStepsExpired:         410,
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
	mesh.ErrAlreadyAnswered:      409,
	mesh.ErrTooManyInputs:        409,
	mesh.ErrLeaseLost:            409,
	mesh.ErrWorkerAway:           503,
	mesh.ErrParentFinished:       409,
	mesh.ErrTaskNotRetryable:     409,
	mesh.ErrTaskNotDeletable:     409,
	ErrBodyStalled:               408,
	mesh.ErrTooLarge:             413,
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
