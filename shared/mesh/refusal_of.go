package mesh

import (
	"context"
	"errors"
	"strings"

	"agentmesh/shared/hook"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// reasons are the refusals that errors of the nouns and the store mean. %s in a
// detail is what the error says before its sentinel. The first that fits counts.
var reasons = []struct {
	err    error
	is     *Refusal
	detail string
}{
	{task.ErrTooLarge, ErrTooLarge, "The request cannot be kept: %s. Store what is large elsewhere and send a reference."},
	{task.ErrTooDeep, ErrCallTooDeep, "%s."},
	{task.ErrDeadlock, ErrCallDeadlock, "%s."},
	{webhook.ErrNotFound, ErrWebhookNotFound, "No webhook with this id is known. GET /webhooks lists them."},
	{webhook.ErrDeliveryNotFound, ErrDeliveryNotFound, "No delivery with this id is known, or it is past its retention of 30 days."},
	{webhook.ErrPushNotFound, ErrTaskNotFound, "The task has no push configuration of this id, or there is no such task."},
	{hook.ErrNotFound, ErrHookNotFound, "No hook with this id is known. GET /hooks lists them."},
	{session.ErrNotFound, ErrSessionNotFound, "No session with this id is known, or it was deleted. POST /sessions starts one."},
	{session.ErrExpired, ErrSessionExpired, "Nothing was said in it for too long. POST /sessions starts a new one."},
	{session.ErrBusy, ErrSessionBusy, `Another turn is open. Try again when it has ended, or send "on_busy":"wait" or "interrupt".`},
	{session.ErrQueueFull, ErrSessionQueueFull, "%s. Try again when the open turn has ended, or cancel one that waits."},
	{session.ErrFull, ErrSessionFull, "%s. Start a new session."},
	{session.ErrConflict, ErrConflict, "The session was changed at the same time. Try again."},
	{task.ErrConflict, ErrConflict, "It was changed at the same time. Try again."},
	{task.ErrNotFound, ErrTaskNotFound, "No task with this id is known, or it is past its retention of 7 days."},
	{task.ErrFinished, ErrTaskFinished, "A finished task never changes. Retry it as a new task with POST /tasks/{id}/retry."},
	{task.ErrFull, ErrStoreFull, "Nothing was accepted. Try again when there is room."},
	{task.ErrUnavailable, ErrStoreUnavailable, unknownOutcome},
	{context.DeadlineExceeded, ErrStoreUnavailable, unknownOutcome},
}

const unknownOutcome = "It is unknown whether the request took effect. Repeat it with the same Idempotency-Key to find out safely."

// RefusalOf is the refusal that an error means. It is the one place that turns an
// error into what a caller sees: an error that it does not know is ErrInternal,
// and its text stays in the log.
func RefusalOf(err error) *Error {
	var refused *Error
	if errors.As(err, &refused) {
		return refused
	}
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return &Error{Refusal: r.is, Detail: strings.Replace(r.detail, "%s", before(err, r.err), 1)}
		}
	}
	return Refuse(ErrInternal, "The trace id leads to the cause in the logs.")
}

// before is the text of an error up to the sentinel that it wraps.
func before(err, sentinel error) string {
	text, _, _ := strings.Cut(err.Error(), ": "+sentinel.Error())
	return text
}
