package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/webhook"
)

// Problem is a refusal on the wire (RFC 9457). Clients switch on Code.
type Problem struct {
	Type      string    `json:"type" doc:"Relative URI of the page on this code."`
	Title     string    `json:"title" doc:"The same for every problem with this code."`
	Status    int       `json:"status"`
	Detail    string    `json:"detail,omitempty" doc:"What was wrong with this request and what to do."`
	Instance  string    `json:"instance,omitempty"`
	Code      string    `json:"code"`
	TraceID   string    `json:"trace_id,omitempty"`
	Retryable bool      `json:"retryable" doc:"The same request may succeed later."`
	Errors    []Invalid `json:"errors,omitempty"`

	retryAfter int // seconds
	cause      error
}

// Invalid is one fault of a request body.
type Invalid struct {
	Detail  string `json:"detail"`
	Pointer string `json:"pointer" doc:"JSON pointer into the request body."`
}

// Error implements error.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// Unwrap returns the internal cause, which never leaves the process.
func (p *Problem) Unwrap() error { return p.cause }

// problemCode is a row of the catalogue.
type problemCode struct {
	status     int
	title      string
	retryAfter int // seconds; 0: not retryable
}

// problems is the one table of codes, statuses and titles.
var problems = map[string]problemCode{
	"malformed_json":         {400, "The request body is not acceptable JSON.", 0},
	"bad_idempotency_key":    {400, "The Idempotency-Key is malformed.", 0},
	"bad_cursor":             {400, "The cursor is not one of ours.", 0},
	"bad_query":              {400, "A query parameter is out of its range.", 0},
	"not_found":              {404, "There is nothing at this path.", 0},
	"task_not_found":         {404, "There is no such task.", 0},
	"agent_not_found":        {404, "There is no such agent.", 0},
	"parent_not_found":       {404, "There is no such parent task.", 0},
	"result_not_ready":       {404, "The task has no result.", 0},
	"result_expired":         {410, "The result is past its retention.", 0},
	"no_input":               {404, "The task has no input.", 0},
	"input_expired":          {410, "The input is past its retention.", 0},
	"action_not_found":       {404, "There is no such action.", 0},
	"webhook_not_found":      {404, "There is no such webhook.", 0},
	"delivery_not_found":     {404, "There is no such delivery.", 0},
	"agent_served":           {409, "A live worker serves the agent.", 0},
	"webhook_disabled":       {409, "The webhook is disabled.", 0},
	"webhook_unreadable":     {409, "The secrets of the webhook cannot be opened.", 0},
	"nothing_to_redeliver":   {409, "There is nothing to deliver again.", 0},
	"conflict":               {409, "Somebody else changed it at the same time.", 1},
	"callback_blocked":       {422, "The address of the callback is blocked.", 0},
	"too_many_webhooks":      {422, "There are too many webhooks.", 0},
	"callbacks_off":          {503, "This gateway takes no callbacks.", 30},
	"session_not_found":      {404, "There is no such session.", 0},
	"session_expired":        {404, "The session has expired.", 0},
	"turn_not_found":         {404, "There is no such turn.", 0},
	"session_busy":           {409, "The session has an open turn.", 1},
	"session_queue_full":     {409, "As many messages wait in the session as may.", 1},
	"session_full":           {409, "The session takes no more messages.", 0},
	"precondition_failed":    {412, "The session has changed.", 0},
	"method_not_allowed":     {405, "This path does not take this method.", 0},
	"task_finished":          {409, "The task has finished.", 0},
	"parent_finished":        {409, "The parent task has finished.", 0},
	"task_not_retryable":     {409, "Only a failed or canceled task can be retried.", 0},
	"body_stalled":           {408, "The request body did not come.", 1},
	"body_too_large":         {413, "The request body is over the limit.", 0},
	"unsupported_media_type": {415, "The content type is not supported.", 0},
	"validation_failed":      {422, "The request has invalid fields.", 0},
	"input_invalid":          {422, "The input breaks the agent's schema.", 0},
	"number_out_of_range":    {422, "A number has too many digits or too large an exponent.", 0},
	"input_too_complex":      {422, "Checking the input took too long.", 0},
	"call_too_deep":          {422, "Agents call each other more than 16 levels deep.", 0},
	"call_deadlock":          {422, "The call would wait for itself.", 0},
	"agent_required":         {422, "The request must name an agent.", 0},
	"idempotency_key_reused": {422, "The Idempotency-Key belongs to another request.", 0},
	"internal":               {500, "The gateway made a mistake.", 0},
	"store_unavailable":      {503, "The mesh cannot reach its store.", 1},
	"store_full":             {503, "The mesh's store is full.", 30},
	"too_many_bodies":        {503, "Too many large requests are in flight.", 1},
	"too_many_connections":   {503, "The gateway has no more room for connections.", 1},
	"shutting_down":          {503, "This gateway is shutting down.", 1},
}

// refuse makes the problem of a code. An unknown code is our mistake.
func refuse(code, format string, args ...any) *Problem {
	row, ok := problems[code]
	if !ok {
		row, code = problems["internal"], "internal"
	}
	return &Problem{
		Type: "/problems/" + code, Title: row.title, Status: row.status, Code: code, Detail: fmt.Sprintf(format, args...),
		Retryable: row.retryAfter > 0, retryAfter: row.retryAfter,
	}
}

// problemOf is the one place that turns an error into what a client sees.
func problemOf(err error) *Problem {
	var p *Problem
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &tooLarge):
		return refuse("body_too_large", "The body is over %d bytes. Store the input elsewhere and send a reference.", tooLarge.Limit)
	case errors.Is(err, task.ErrTooLarge):
		return refuse("body_too_large", "The request cannot be kept: %s. Store what is large elsewhere and send a reference.", reason(err, task.ErrTooLarge))
	case errors.Is(err, task.ErrTooDeep):
		return refuse("call_too_deep", "%s.", err)
	case errors.Is(err, task.ErrDeadlock):
		return refuse("call_deadlock", "%s.", err)
	case errors.Is(err, webhook.ErrNotFound):
		return refuse("webhook_not_found", "No webhook with this id is known. GET /webhooks lists them.")
	case errors.Is(err, webhook.ErrDeliveryNotFound):
		return refuse("delivery_not_found", "No delivery with this id is known, or it is past its retention of 30 days.")
	case errors.Is(err, session.ErrNotFound):
		return refuse("session_not_found", "No session with this id is known, or it was deleted. POST /sessions starts one.")
	case errors.Is(err, session.ErrExpired):
		return refuse("session_expired", "Nothing was said in it for too long. POST /sessions starts a new one.")
	case errors.Is(err, session.ErrBusy):
		return refuse("session_busy", `Another turn is open. Try again when it has ended, or send "on_busy":"wait" or "interrupt".`)
	case errors.Is(err, session.ErrQueueFull):
		return refuse("session_queue_full", "%s. Try again when the open turn has ended, or cancel one that waits.", reason(err, session.ErrQueueFull))
	case errors.Is(err, session.ErrFull):
		return refuse("session_full", "%s. Start a new session.", reason(err, session.ErrFull))
	case errors.Is(err, session.ErrConflict):
		return refuse("conflict", "The session was changed at the same time. Try again.")
	case errors.Is(err, task.ErrConflict):
		return refuse("conflict", "It was changed at the same time. Try again.")
	case errors.Is(err, task.ErrNotFound):
		return refuse("task_not_found", "No task with this id is known, or it is past its retention of 7 days.")
	case errors.Is(err, task.ErrFinished):
		return refuse("task_finished", "A finished task never changes. Retry it as a new task with POST /tasks/{id}/retry.")
	case errors.Is(err, task.ErrFull):
		return refuse("store_full", "Nothing was accepted. Try again when there is room.")
	case errors.Is(err, task.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return refuse("store_unavailable", "It is unknown whether the request took effect. Repeat it with the same Idempotency-Key to find out safely.")
	}
	return refuse("internal", "The trace id leads to the cause in the logs.")
}

// writeProblem answers with err's problem and logs what is not the client's
// fault.
func (g *Gateway) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	p := *problemOf(err)
	if r.Context().Err() != nil && p.Status != http.StatusRequestTimeout { // a body that stalls ends the context, too
		panic(http.ErrAbortHandler) // nobody is there to read it; whoever is must not take silence for a 200
	}
	p.Instance, p.TraceID = r.URL.Path, telemetry.TraceID(r.Context())
	if p.Status >= 500 {
		g.log.WarnContext(r.Context(), "request refused", "method", r.Method, "path", r.URL.Path, "code", p.Code, "error", err)
	}
	h := w.Header()
	for _, name := range []string{"ETag", "Location", "Preference-Applied", "Content-Length"} {
		h.Del(name)
	}
	h.Set("Content-Type", "application/problem+json")
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
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
	for code, row := range problems {
		pages[code] = ProblemPage{Code: code, Title: row.title, Status: row.status, Retryable: row.retryAfter > 0, Fault: pages[code].Fault}
	}
	return slices.SortedFunc(maps.Values(pages), func(a, b ProblemPage) int { return strings.Compare(a.Code, b.Code) })
}

// ProblemList is the answer of GET /problems.
type ProblemList struct {
	Problems []ProblemPage `json:"problems" doc:"In the order of their codes."`
}

// listProblems is the catalogue of codes.
func (g *Gateway) listProblems(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, ProblemList{ProblemPages()})
}

// serveProblem is the page of a code.
func (g *Gateway) serveProblem(w http.ResponseWriter, r *http.Request) error {
	code := r.PathValue("code")
	for _, page := range ProblemPages() {
		if page.Code == code {
			return writeJSON(w, http.StatusOK, page)
		}
	}
	return refuse("not_found", "There is no problem code %q; GET /problems lists them.", clip(code, 64))
}
