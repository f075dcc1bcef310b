package a2a

import (
	"errors"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
	"agentmesh/shared/telemetry"
)

// kind is how an error of the protocol looks in both bindings.
type kind struct {
	code   int // of JSON-RPC
	status int // of HTTP
	grpc   string
}

// kinds has the errors of the protocol.
var kinds = map[error]kind{
	a2a.ErrParseError:                   {-32700, 400, "INVALID_ARGUMENT"},
	a2a.ErrInvalidRequest:               {-32600, 400, "INVALID_ARGUMENT"},
	a2a.ErrMethodNotFound:               {-32601, 404, "UNIMPLEMENTED"},
	a2a.ErrInvalidParams:                {-32602, 400, "INVALID_ARGUMENT"},
	a2a.ErrInternalError:                {-32603, 500, "INTERNAL"},
	a2a.ErrTaskNotFound:                 {-32001, 404, "NOT_FOUND"},
	a2a.ErrTaskNotCancelable:            {-32002, 400, "FAILED_PRECONDITION"},
	a2a.ErrPushNotificationNotSupported: {-32003, 400, "FAILED_PRECONDITION"},
	a2a.ErrUnsupportedOperation:         {-32004, 400, "FAILED_PRECONDITION"},
	a2a.ErrUnsupportedContentType:       {-32005, 400, "INVALID_ARGUMENT"},
	a2a.ErrExtensionSupportRequired:     {-32008, 400, "FAILED_PRECONDITION"},
	a2a.ErrVersionNotSupported:          {-32009, 400, "FAILED_PRECONDITION"},
	a2a.ErrUnauthenticated:              {-32600, 401, "UNAUTHENTICATED"},
	a2a.ErrUnauthorized:                 {-32600, 403, "PERMISSION_DENIED"},
}

// meanings are the errors of the protocol that refusals are. Any other is the one
// that its HTTP status means.
var meanings = map[*mesh.Refusal]error{
	mesh.ErrTaskNotFound:            a2a.ErrTaskNotFound,
	mesh.ErrMalformedJSON:           a2a.ErrParseError,
	problem.ErrUnsupportedMediaType: a2a.ErrUnsupportedContentType,
	mesh.ErrAlreadyAnswered:         a2a.ErrUnsupportedOperation,
	mesh.ErrTaskFinished:            a2a.ErrUnsupportedOperation,
	mesh.ErrSessionBusy:             a2a.ErrUnsupportedOperation,
	mesh.ErrUnauthenticated:         a2a.ErrUnauthenticated,
	mesh.ErrForbidden:               a2a.ErrUnauthorized,
}

// kept are the HTTP statuses that say more than the error of the protocol does.
var kept = []int{401, 403, 408, 413, 415, 421, 429, 503}

// fault is an error of the protocol, with what the caller should do.
type fault struct {
	is     error // of kinds
	detail string
	code   string // for programs, where there is one
	faults []mesh.Invalid
}

func (f *fault) Error() string { return f.detail }
func (f *fault) Unwrap() error { return f.is }

func refuse(is error, code, detail string) error { return &fault{is: is, detail: detail, code: code} }

// invalid refuses params for their fields.
func invalid(faults ...mesh.Invalid) error {
	return &fault{is: a2a.ErrInvalidParams, detail: faults[0].Pointer + ": " + faults[0].Detail + ".", code: mesh.ErrValidationFailed.Code, faults: faults}
}

// failure is an error as it is answered.
type failure struct {
	kind
	httpOnly   bool // the HTTP status stays also in JSON-RPC
	reason     string
	message    string
	faults     []mesh.Invalid
	meta       map[string]string
	retryAfter time.Duration
}

// failureOf is what the caller sees of an error.
func (x *exchange) failureOf(err error) failure {
	f := failure{meta: map[string]string{}}
	if id := telemetry.TraceID(x.r.Context()); id != "" {
		f.meta["trace_id"] = id
	}
	var media *unsupported
	if errors.As(err, &media) {
		f.kind, f.message, f.status, f.httpOnly = kinds[a2a.ErrUnsupportedContentType], media.Error(), 415, !x.reply.rpc
		f.name(a2a.ErrUnsupportedContentType, problem.ErrUnsupportedMediaType.Code)
		return f
	}
	var own *fault
	if errors.As(err, &own) {
		f.kind, f.message, f.faults = kinds[own.is], own.detail, own.faults
		f.name(own.is, own.code)
		return f
	}
	refused, status := x.door.Refusal(err)
	is, ok := meanings[refused.Refusal]
	switch {
	case ok:
	case status < 500:
		is = a2a.ErrInvalidParams
	default:
		is = a2a.ErrInternalError
	}
	f.kind, f.message, f.faults, f.retryAfter = kinds[is], refused.Detail, refused.Faults, refused.Wait()
	f.name(is, refused.Refusal.Code)
	for _, s := range kept {
		if s == status {
			f.status, f.httpOnly = status, true
		}
	}
	if f.httpOnly && !ok && status < 500 {
		f.kind.code, f.reason = kinds[a2a.ErrInvalidRequest].code, strings.ToUpper(refused.Refusal.Code)
	}
	if status >= 500 {
		x.cfg.Log.WarnContext(x.r.Context(), "request refused", "path", x.r.URL.Path, "code", refused.Refusal.Code, "error", err)
	}
	return f
}

func (f *failure) name(is error, code string) {
	if f.reason = a2a.ErrorReason(is); code != "" {
		f.meta["code"] = code
	}
}

// detail is one of the details of an error.
type detail struct {
	Type     string            `json:"@type"`
	Reason   string            `json:"reason,omitempty"`
	Domain   string            `json:"domain,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Fields   []violation       `json:"fieldViolations,omitempty"`
}

type violation struct {
	Field       string `json:"field"`
	Description string `json:"description"`
}

func (f failure) details() []detail {
	const google = "type.googleapis.com/google.rpc."
	all := []detail{{Type: google + "ErrorInfo", Reason: f.reason, Domain: a2a.ProtocolDomain, Metadata: f.meta}}
	if len(f.faults) > 0 {
		d := detail{Type: google + "BadRequest"}
		for _, one := range f.faults {
			d.Fields = append(d.Fields, violation{one.Pointer, one.Detail})
		}
		all = append(all, d)
	}
	return all
}
