package mesh

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentmesh/shared/task"
)

// Refusal is a reason to refuse a request: one row of the catalogue. Ask for it
// with errors.Is. Every face renders it in its own form.
type Refusal struct {
	Code  string // as clients switch on it
	Title string // the same each time
	// RetryAfter says that the same request may succeed later, and when to try
	// again; 0: it must change.
	RetryAfter time.Duration
}

// Error implements error.
func (r *Refusal) Error() string { return r.Code }

// catalogue has every refusal, by code.
var catalogue = map[string]*Refusal{}

// NewRefusal adds a row to the catalogue: a face has some of its own.
func NewRefusal(code, title string, retryAfter time.Duration) *Refusal {
	if catalogue[code] != nil {
		panic("two refusals have the code " + code)
	}
	r := &Refusal{code, title, retryAfter}
	catalogue[code] = r
	return r
}

// Refusals lists the catalogue in the order of the codes.
func Refusals() []*Refusal {
	return slices.SortedFunc(maps.Values(catalogue), func(a, b *Refusal) int { return strings.Compare(a.Code, b.Code) })
}

// The refusals of the core.
var (
	ErrUnauthenticated      = NewRefusal("unauthenticated", "The caller is not known.", 0)
	ErrForbidden            = NewRefusal("forbidden", "The caller may not do this.", 0)
	ErrTooManyAttempts      = NewRefusal("too_many_attempts", "Too many wrong credentials were shown.", 30*time.Second)
	ErrIssuerUnavailable    = NewRefusal("issuer_unavailable", "It cannot be found out whose the token is.", 5*time.Second)
	ErrTooLarge             = NewRefusal("body_too_large", "The request body is over the limit.", 0)
	ErrRateLimited          = NewRefusal("rate_limited", "Too many requests came.", 1*time.Second)
	ErrQuotaExceeded        = NewRefusal("quota_exceeded", "The budget of the tenant for models is used up.", 60*time.Second)
	ErrTooManyPending       = NewRefusal("too_many_pending", "Too many tasks of the tenant wait or run.", 1*time.Second)
	ErrTooManyWaits         = NewRefusal("too_many_waits", "Too many requests of the tenant are held.", 1*time.Second)
	ErrTooManySessions      = NewRefusal("too_many_sessions", "There are too many sessions.", 60*time.Second)
	ErrScheduleNotFound     = NewRefusal("schedule_not_found", "There is no such schedule.", 0)
	ErrScheduleExists       = NewRefusal("schedule_exists", "Another schedule has the name.", 0)
	ErrTooManySchedules     = NewRefusal("too_many_schedules", "There are too many schedules.", 0)
	ErrHookNotFound         = NewRefusal("hook_not_found", "There is no such hook.", 0)
	ErrTooManyHooks         = NewRefusal("too_many_hooks", "There are too many hooks.", 0)
	ErrHookRejected         = NewRefusal("hook_rejected", "The request is not verified.", 0)
	ErrHookPaused           = NewRefusal("hook_paused", "The hook is paused.", 60*time.Second)
	ErrHookUnserved         = NewRefusal("hook_unserved", "What the hook does cannot be done now.", 60*time.Second)
	ErrTenantNotFound       = NewRefusal("tenant_not_found", "The tenant has no limits of its own.", 0)
	ErrKeyNotFound          = NewRefusal("key_not_found", "There is no such API key.", 0)
	ErrKeyExists            = NewRefusal("key_exists", "The API key was made already.", 0)
	ErrKeyEnded             = NewRefusal("key_ended", "The API key has ended.", 0)
	ErrLastAdminKey         = NewRefusal("last_admin_key", "It is the last API key of an admin.", 0)
	ErrTooManyKeys          = NewRefusal("too_many_keys", "There are too many API keys.", 0)
	ErrMalformedJSON        = NewRefusal("malformed_json", "The request body is not acceptable JSON.", 0)
	ErrBadCursor            = NewRefusal("bad_cursor", "The cursor is not one of ours.", 0)
	ErrTaskNotFound         = NewRefusal("task_not_found", "There is no such task.", 0)
	ErrAgentNotFound        = NewRefusal("agent_not_found", "There is no such agent.", 0)
	ErrParentNotFound       = NewRefusal("parent_not_found", "There is no such parent task.", 0)
	ErrResultNotReady       = NewRefusal("result_not_ready", "The task has no result.", 0)
	ErrResultExpired        = NewRefusal("result_expired", "The result is past its retention.", 0)
	ErrNoInput              = NewRefusal("no_input", "The task has no input.", 0)
	ErrInputExpired         = NewRefusal("input_expired", "The input is past its retention.", 0)
	ErrStepNotFound         = NewRefusal("step_not_found", "The task has no such step.", 0)
	ErrStepSealed           = NewRefusal("step_sealed", "The value of the step is sealed.", 0)
	ErrStepsExpired         = NewRefusal("steps_expired", "The steps of the task, or the value of one, are not kept any more.", 0)
	ErrActionNotFound       = NewRefusal("action_not_found", "There is no such action.", 0)
	ErrWebhookNotFound      = NewRefusal("webhook_not_found", "There is no such webhook.", 0)
	ErrDeliveryNotFound     = NewRefusal("delivery_not_found", "There is no such delivery.", 0)
	ErrAgentServed          = NewRefusal("agent_served", "A live worker serves the agent.", 0)
	ErrWebhookDisabled      = NewRefusal("webhook_disabled", "The webhook is disabled.", 0)
	ErrWebhookUnreadable    = NewRefusal("webhook_unreadable", "The secrets of the webhook cannot be opened.", 0)
	ErrNothingToRedeliver   = NewRefusal("nothing_to_redeliver", "There is nothing to deliver again.", 0)
	ErrConflict             = NewRefusal("conflict", "Somebody else changed it at the same time.", 1*time.Second)
	ErrCallbackBlocked      = NewRefusal("callback_blocked", "The address of the callback is blocked.", 0)
	ErrTooManyWebhooks      = NewRefusal("too_many_webhooks", "There are too many webhooks.", 0)
	ErrCallbacksOff         = NewRefusal("callbacks_off", "This gateway takes no callbacks.", 30*time.Second)
	ErrSessionNotFound      = NewRefusal("session_not_found", "There is no such session.", 0)
	ErrSessionExpired       = NewRefusal("session_expired", "The session has expired.", 0)
	ErrTurnNotFound         = NewRefusal("turn_not_found", "There is no such turn.", 0)
	ErrSessionBusy          = NewRefusal("session_busy", "The session has an open turn.", 1*time.Second)
	ErrSessionQueueFull     = NewRefusal("session_queue_full", "As many messages wait in the session as may.", 1*time.Second)
	ErrSessionFull          = NewRefusal("session_full", "The session takes no more messages.", 0)
	ErrPreconditionFailed   = NewRefusal("precondition_failed", "It has changed since it was read.", 0)
	ErrTaskFinished         = NewRefusal("task_finished", "The task has finished.", 0)
	ErrAlreadyAnswered      = NewRefusal("already_answered", "The question was answered already.", 0)
	ErrTooManyInputs        = NewRefusal("too_many_inputs", "Too many answers wait for the task.", 1*time.Second)
	ErrLeaseLost            = NewRefusal("lease_lost", "The lease is not that of the attempt that runs.", 0)
	ErrWorkerAway           = NewRefusal("worker_away", "The worker of the task does not answer.", 1*time.Second)
	ErrParentFinished       = NewRefusal("parent_finished", "The parent task has finished.", 0)
	ErrTaskNotRetryable     = NewRefusal("task_not_retryable", "Only a failed or canceled task can be retried.", 0)
	ErrTaskNotDeletable     = NewRefusal("task_not_deletable", "The task cannot be deleted now.", 0)
	ErrValidationFailed     = NewRefusal("validation_failed", "The request has invalid fields.", 0)
	ErrInputInvalid         = NewRefusal("input_invalid", "The input breaks the agent's schema.", 0)
	ErrNumberOutOfRange     = NewRefusal("number_out_of_range", "A number has too many digits or too large an exponent.", 0)
	ErrInputTooComplex      = NewRefusal("input_too_complex", "Checking the input took too long.", 0)
	ErrCallTooDeep          = NewRefusal("call_too_deep", "Agents call each other more than 16 levels deep.", 0)
	ErrEventChainTooDeep    = NewRefusal("event_chain_too_deep", "A chain of events is more than 16 deep.", 0)
	ErrCallDeadlock         = NewRefusal("call_deadlock", "The call would wait for itself.", 0)
	ErrAgentRequired        = NewRefusal("agent_required", "The request must name an agent.", 0)
	ErrIdempotencyKeyReused = NewRefusal("idempotency_key_reused", "The Idempotency-Key belongs to another request.", 0)
	ErrInternal             = NewRefusal("internal", "The gateway made a mistake.", 0)
	ErrStoreUnavailable     = NewRefusal("store_unavailable", "The mesh cannot reach its store.", 1*time.Second)
	ErrStoreFull            = NewRefusal("store_full", "The mesh's store is full.", 30*time.Second)
)

// Error is one refused request: the reason, what was wrong and what to do.
type Error struct {
	Refusal *Refusal
	Detail  string    // a sentence or two
	Faults  []Invalid // of the fields, where there are any
	Cause   error     // for the log; it never leaves the process
	// RetryAfter is when to try again, where that is known better than the
	// catalogue does.
	RetryAfter time.Duration
}

// Invalid is one fault of a request.
type Invalid struct {
	Detail  string `json:"detail"`
	Pointer string `json:"pointer" doc:"JSON pointer into the request body."`
}

// Field is a fault of the field that a JSON pointer names.
func Field(detail, pointer string) Invalid { return Invalid{Detail: detail, Pointer: pointer} }

// Error implements error.
func (e *Error) Error() string { return e.Refusal.Code + ": " + e.Detail }

// Wait is when the same request may succeed; 0: it must change.
func (e *Error) Wait() time.Duration { return cmp.Or(e.RetryAfter, e.Refusal.RetryAfter) }

// Is reports whether target is the reason.
func (e *Error) Is(target error) bool { return target == e.Refusal }

// Unwrap returns the internal cause.
func (e *Error) Unwrap() error { return e.Cause }

// Refuse refuses a request.
func Refuse(r *Refusal, format string, args ...any) *Error {
	return &Error{Refusal: r, Detail: fmt.Sprintf(format, args...)}
}

// Bounds of a refusal.
const (
	MaxFaults      = 20
	MaxPointer     = 256
	MaxFaultDetail = 1 << 10
)

// RefuseFields refuses a request for the faults of its fields. The first ones are
// told, the others counted: nobody learns more from the last of a hundred
// thousand.
func RefuseFields(faults ...Invalid) *Error {
	return WithFaults(ErrValidationFailed, faults)
}

// WithFaults refuses a request for its faults, for a reason of their own.
func WithFaults(r *Refusal, faults []Invalid) *Error {
	detail := Clip(faults[0].Detail, MaxFaultDetail)
	if !strings.HasSuffix(detail, "?") && !strings.HasSuffix(detail, ".") {
		detail += "."
	}
	if of := Clip(strings.TrimPrefix(faults[0].Pointer, "/"), MaxPointer); of != "" { // else it is the whole that is wrong
		detail = of + ": " + detail
	}
	e := Refuse(r, "%s", detail)
	if n := len(faults); n > MaxFaults {
		e.Detail = strconv.Itoa(n) + " fields are invalid; the first " + strconv.Itoa(MaxFaults) + " are in errors."
		faults = faults[:MaxFaults]
	} else if n > 1 {
		e.Detail = strconv.Itoa(n) + " fields are invalid; see errors."
	}
	for _, f := range faults {
		e.Faults = append(e.Faults, Invalid{Clip(f.Detail, MaxFaultDetail), Clip(f.Pointer, MaxPointer)})
	}
	return e
}

// Clip is task.Clip: a refusal repeats no more of a request than its reader needs.
func Clip[S ~string](s S, n int) string { return task.Clip(string(s), n) }

// Pointer is a JSON pointer's token.
func Pointer(token string) string {
	return pointerEscapes.Replace(token)
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")
