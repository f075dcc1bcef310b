package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/webhook"
)

// route is one operation: what chi serves and what the OpenAPI document says.
//
// The operations are registered by hand rather than through huma: for POST
// /tasks huma's decoding and validation take 1.3 times as long with a body of
// 200 bytes and 3.1 times with 40 KB (BenchmarkHTTPLayer). The document still
// comes from the Go types, through huma's schemas.
type route struct {
	method, path string
	id           string // operationId
	summary      string
	handler      func(http.ResponseWriter, *http.Request) error
	headers      []param
	query        []param
	lists        []param         // of the query: with several values, by commas or repeated
	body         any             // request body, by example of its type
	optional     bool            // the body may be left out
	answers      map[int]any     // success answers by status; nil: no body
	problems     []*mesh.Refusal // besides those of every operation
	probe        bool            // not traced
}

// param is a header or query parameter.
type param struct{ name, doc string }

var (
	waitHeader       = param{"Prefer", "wait=N holds the answer up to N seconds (at most 60); respond-async answers at once. ?wait=10s is the same for browsers."}
	keyHeader        = param{"Idempotency-Key", `A structured-field string, such as "8e03978e-40d5". The same request with the same key makes one task for 24 hours.`}
	parentDoc        = param{parentHeader, "The task that this one is a child of: same trace, its deadline, canceled with it. When the parent is retried, an equal request finds the same child."}
	sessionKeyHeader = param{"Idempotency-Key", "The same request with the same key makes one session for 24 hours."}
	turnKeyHeader    = param{"Idempotency-Key", "The same message with the same key is said once, and its repeat has the same answer, for 24 hours."}
	turnWaitHeader   = param{"Prefer", "wait=N waits up to N seconds for the reply (default 30, at most 60); respond-async does not wait."}
	depthHeader      = param{webhook.DepthHeader, "Of the delivery that this request is made because of: pass it on, so that events that cause one another end."}
	ifMatchHeader    = param{"If-Match", "The ETag of the session as it was read: 412 when it has changed."}
	includeQuery     = param{"include", "Parts that are left out otherwise, separated by commas: input, error_detail."}
	etagHeader       = param{"If-None-Match", "The ETag of a known version: 304 while it is the newest. With Prefer: wait=N a long poll."}
)

// labelAny is the parameter of any label.
const labelAny = labelParam + "{key}"

// operations is every route of the API.
func (g *Gateway) operations() []route {
	return []route{
		{
			method: "POST", path: "/tasks", id: "createTask", summary: "Accept a task", handler: g.createTask,
			headers: []param{keyHeader, waitHeader, parentDoc, depthHeader}, body: api.CreateTask{}, answers: map[int]any{202: api.Accepted{}, 200: api.Task{}},
			problems: []*mesh.Refusal{
				mesh.ErrEventChainTooDeep, mesh.ErrMalformedJSON, problem.ErrBadIdempotencyKey, mesh.ErrAgentNotFound, problem.ErrBodyTooLarge, problem.ErrUnsupportedMediaType,
				mesh.ErrValidationFailed, mesh.ErrNumberOutOfRange, mesh.ErrInputInvalid, mesh.ErrInputTooComplex, mesh.ErrAgentRequired, mesh.ErrIdempotencyKeyReused, mesh.ErrStoreFull,
				mesh.ErrParentNotFound, mesh.ErrParentFinished, mesh.ErrCallTooDeep, mesh.ErrCallDeadlock, mesh.ErrCallbackBlocked, mesh.ErrCallbacksOff,
			},
		},
		{
			method: "GET", path: "/tasks", id: "listTasks", summary: "List tasks", handler: g.listTasks,
			lists: []param{{"status", "One or more statuses, separated by commas or repeated."}},
			query: []param{
				{"agent", "Tasks of this agent."},
				{"parent_id", "Children of this task."},
				{"session_id", "Turns of this session."},
				{"kind", "task, action or turn."},
				{"error", "Tasks whose error has this code."},
				{"created_after", "Tasks created later than this time (RFC 3339)."},
				{"created_before", "Tasks created earlier than this time (RFC 3339)."},
				{labelAny, "Tasks with this value of the label, such as label.team=search; label.team= are those with an empty value."},
				{"order", "changed, the default: newest change first; a task that changes while you page moves to the front, so that you may miss it. created: newest first; whatever changes meanwhile, every task is met once."},
				{"limit", "1 to 200, default 50."},
				{"cursor", "next_cursor of the page before."},
			},
			answers: map[int]any{200: api.TaskList{}}, problems: []*mesh.Refusal{problem.ErrBadQuery, mesh.ErrBadCursor},
		},
		{
			method: "GET", path: "/tasks/{id}", id: "getTask", summary: "Read a task", handler: g.getTask,
			headers: []param{etagHeader, waitHeader}, lists: []param{includeQuery}, answers: map[int]any{200: api.Task{}, 304: nil}, problems: []*mesh.Refusal{mesh.ErrTaskNotFound, problem.ErrBadQuery},
		},
		{
			method: "GET", path: "/tasks/{id}/result", id: "getTaskResult", summary: "Read the result itself", handler: g.getResult,
			answers: map[int]any{200: anyJSON{}}, problems: []*mesh.Refusal{mesh.ErrTaskNotFound, mesh.ErrResultNotReady, mesh.ErrResultExpired},
		},
		{
			method: "GET", path: "/tasks/{id}/input", id: "getTaskInput", summary: "Read the input as it was sent", handler: g.getInput,
			answers: map[int]any{200: anyJSON{}}, problems: []*mesh.Refusal{mesh.ErrTaskNotFound, mesh.ErrNoInput, mesh.ErrInputExpired},
		},
		{
			method: "GET", path: "/tasks/{id}/events", id: "taskEvents", summary: "Follow a task", handler: g.taskEvents,
			headers: []param{
				{"Last-Event-ID", "Go on after this event."},
				{"Accept", "text/event-stream (default) or application/json for the history."},
			},
			query:   []param{{"after", "As Last-Event-ID, where headers cannot be set."}},
			answers: map[int]any{200: api.EventList{}, 204: nil}, problems: []*mesh.Refusal{mesh.ErrTaskNotFound},
		},
		{
			method: "GET", path: "/tasks/{id}/deliveries", id: "taskDeliveries", summary: "List what was sent of a task, and every attempt", handler: g.actionDeliveries,
			answers: map[int]any{200: DeliveryList{}}, problems: []*mesh.Refusal{mesh.ErrTaskNotFound},
		},
		{
			method: "POST", path: "/tasks/{id}/cancel", id: "cancelTask", summary: "Cancel a task", handler: g.cancelTask,
			answers: map[int]any{200: api.Task{}}, problems: []*mesh.Refusal{mesh.ErrTaskNotFound, mesh.ErrTaskFinished},
		},
		{
			method: "POST", path: "/tasks/{id}/retry", id: "retryTask", summary: "Run a failed or canceled task again, as a new one", handler: g.retryTask,
			headers: []param{keyHeader, waitHeader, parentDoc, depthHeader}, answers: map[int]any{202: api.Accepted{}, 200: api.Task{}},
			problems: []*mesh.Refusal{
				mesh.ErrEventChainTooDeep, mesh.ErrTaskNotFound, mesh.ErrTaskNotRetryable, mesh.ErrAgentNotFound, problem.ErrBadIdempotencyKey, mesh.ErrIdempotencyKeyReused, mesh.ErrStoreFull,
				mesh.ErrParentNotFound, mesh.ErrParentFinished, mesh.ErrCallTooDeep, mesh.ErrCallDeadlock,
			},
		},
		{
			method: "POST", path: "/actions", id: "createAction", summary: "Accept an action: a task whose outcome is POSTed to callback_url", handler: g.createAction,
			headers: []param{keyHeader, waitHeader, depthHeader}, body: api.CreateAction{}, answers: map[int]any{202: api.AcceptedAction{}, 200: api.Task{}},
			problems: []*mesh.Refusal{
				mesh.ErrEventChainTooDeep, mesh.ErrMalformedJSON, problem.ErrBadIdempotencyKey, mesh.ErrAgentNotFound, problem.ErrBodyTooLarge, problem.ErrUnsupportedMediaType,
				mesh.ErrValidationFailed, mesh.ErrNumberOutOfRange, mesh.ErrInputInvalid, mesh.ErrInputTooComplex, mesh.ErrAgentRequired, mesh.ErrIdempotencyKeyReused, mesh.ErrStoreFull, mesh.ErrCallbackBlocked, mesh.ErrCallbacksOff,
			},
		},
		{
			method: "GET", path: "/actions/{id}", id: "getAction", summary: "Read an action", handler: g.ofAction(g.getTask),
			headers: []param{etagHeader, waitHeader}, lists: []param{includeQuery}, answers: map[int]any{200: api.Task{}, 304: nil}, problems: []*mesh.Refusal{mesh.ErrActionNotFound, problem.ErrBadQuery},
		},
		{
			method: "GET", path: "/actions/{id}/result", id: "getActionResult", summary: "Read the result itself", handler: g.ofAction(g.getResult),
			answers: map[int]any{200: anyJSON{}}, problems: []*mesh.Refusal{mesh.ErrActionNotFound, mesh.ErrResultNotReady, mesh.ErrResultExpired},
		},
		{
			method: "GET", path: "/actions/{id}/input", id: "getActionInput", summary: "Read the input as it was sent", handler: g.ofAction(g.getInput),
			answers: map[int]any{200: anyJSON{}}, problems: []*mesh.Refusal{mesh.ErrActionNotFound, mesh.ErrNoInput, mesh.ErrInputExpired},
		},
		{
			method: "GET", path: "/actions/{id}/events", id: "actionEvents", summary: "Follow an action", handler: g.ofAction(g.taskEvents),
			answers: map[int]any{200: api.EventList{}, 204: nil}, problems: []*mesh.Refusal{mesh.ErrActionNotFound},
		},
		{
			method: "POST", path: "/actions/{id}/cancel", id: "cancelAction", summary: "Cancel an action", handler: g.ofAction(g.cancelTask),
			answers: map[int]any{200: api.Task{}}, problems: []*mesh.Refusal{mesh.ErrActionNotFound, mesh.ErrTaskFinished},
		},
		{
			method: "POST", path: "/actions/{id}/retry", id: "retryAction", summary: "Run a failed or canceled action again, as a new one", handler: g.ofAction(g.retryTask),
			headers: []param{keyHeader, waitHeader, depthHeader}, answers: map[int]any{202: api.AcceptedAction{}, 200: api.Task{}},
			problems: []*mesh.Refusal{mesh.ErrEventChainTooDeep, mesh.ErrActionNotFound, mesh.ErrTaskNotRetryable, mesh.ErrAgentNotFound, problem.ErrBadIdempotencyKey, mesh.ErrIdempotencyKeyReused, mesh.ErrStoreFull},
		},
		{
			method: "GET", path: "/actions/{id}/deliveries", id: "actionDeliveries", summary: "List what was sent of an action, and every attempt", handler: g.ofAction(g.actionDeliveries),
			answers: map[int]any{200: DeliveryList{}}, problems: []*mesh.Refusal{mesh.ErrActionNotFound},
		},
		{
			method: "POST", path: "/actions/{id}/redeliver", id: "redeliverAction", summary: "Send an action's callbacks again", handler: g.ofAction(g.redeliverAction),
			answers: map[int]any{202: Redelivered{}}, problems: []*mesh.Refusal{mesh.ErrActionNotFound, mesh.ErrNothingToRedeliver},
		},
		{
			method: "POST", path: "/sessions", id: "createSession", summary: "Begin a conversation with an agent", handler: g.createSession,
			headers: []param{sessionKeyHeader}, body: api.CreateSession{}, optional: true, answers: map[int]any{201: api.SessionCreated{}},
			problems: []*mesh.Refusal{
				mesh.ErrMalformedJSON, problem.ErrBadIdempotencyKey, mesh.ErrAgentNotFound, problem.ErrBodyTooLarge, problem.ErrUnsupportedMediaType,
				mesh.ErrValidationFailed, mesh.ErrNumberOutOfRange, mesh.ErrAgentRequired, mesh.ErrIdempotencyKeyReused, mesh.ErrStoreFull,
			},
		},
		{
			method: "GET", path: "/sessions", id: "listSessions", summary: "List sessions, newest change first", handler: g.listSessions,
			query: []param{
				{"agent", "Sessions with this agent."},
				{"limit", "1 to 200, default 50."},
				{"cursor", "next_cursor of the page before."},
			},
			answers: map[int]any{200: api.SessionList{}}, problems: []*mesh.Refusal{problem.ErrBadQuery, mesh.ErrBadCursor},
		},
		{
			method: "GET", path: "/sessions/{id}", id: "getSession", summary: "Read a session", handler: g.getSession,
			answers: map[int]any{200: api.Session{}}, problems: []*mesh.Refusal{mesh.ErrSessionNotFound, mesh.ErrSessionExpired},
		},
		{
			method: "DELETE", path: "/sessions/{id}", id: "deleteSession", summary: "Delete a session; its open turn and those that wait are canceled", handler: g.deleteSession,
			headers: []param{ifMatchHeader}, answers: map[int]any{204: nil}, problems: []*mesh.Refusal{mesh.ErrSessionNotFound, mesh.ErrSessionExpired, mesh.ErrPreconditionFailed},
		},
		{
			method: "POST", path: "/sessions/{id}/messages", id: "postMessage", summary: "Say something, and get the reply", handler: g.postMessage,
			headers: []param{turnKeyHeader, turnWaitHeader, ifMatchHeader, depthHeader}, body: api.PostMessage{}, answers: map[int]any{200: api.TurnReply{}, 202: api.AcceptedTurn{}},
			problems: []*mesh.Refusal{
				mesh.ErrEventChainTooDeep, mesh.ErrMalformedJSON, problem.ErrBadIdempotencyKey, problem.ErrBodyTooLarge, problem.ErrUnsupportedMediaType, mesh.ErrValidationFailed, mesh.ErrIdempotencyKeyReused,
				mesh.ErrStoreFull, mesh.ErrSessionNotFound, mesh.ErrSessionExpired, mesh.ErrSessionBusy, mesh.ErrSessionQueueFull, mesh.ErrSessionFull, mesh.ErrPreconditionFailed,
			},
		},
		{
			method: "GET", path: "/sessions/{id}/messages", id: "getMessages", summary: "Read the transcript", handler: g.getMessages,
			query: []param{
				{"after", "Messages after this number; the first one is 1."},
				{"limit", "1 to 10000, default 10000. An answer has at most 8 MiB of text."},
			},
			answers: map[int]any{200: api.Transcript{}}, problems: []*mesh.Refusal{mesh.ErrSessionNotFound, mesh.ErrSessionExpired, problem.ErrBadQuery},
		},
		{
			method: "GET", path: "/sessions/{id}/turns/{turn_id}", id: "getTurn", summary: "Read a turn", handler: g.getTurn,
			headers: []param{etagHeader, waitHeader}, answers: map[int]any{200: api.Turn{}, 304: nil}, problems: []*mesh.Refusal{mesh.ErrTurnNotFound},
		},
		{
			method: "POST", path: "/sessions/{id}/turns/{turn_id}/cancel", id: "cancelTurn", summary: "Cancel a turn; its message stays in the transcript, marked as interrupted", handler: g.cancelTurn,
			answers: map[int]any{200: api.Turn{}}, problems: []*mesh.Refusal{mesh.ErrTurnNotFound, mesh.ErrTaskFinished},
		},
		{
			method: "GET", path: "/sessions/{id}/events", id: "sessionEvents", summary: "Follow a session: status, progress, milestone and output of its turns, and each reply", handler: g.sessionEvents,
			headers: []param{{"Last-Event-ID", "Go on after this message of the transcript."}},
			query:   []param{{"after", "As Last-Event-ID, where headers cannot be set."}},
			answers: map[int]any{200: nil}, problems: []*mesh.Refusal{mesh.ErrSessionNotFound, mesh.ErrSessionExpired},
		},
		{
			method: "POST", path: "/webhooks", id: "createWebhook", summary: "Subscribe to events; the secret is shown this once", handler: g.createWebhook,
			body: WebhookRequest{}, answers: map[int]any{201: Webhook{}},
			problems: []*mesh.Refusal{mesh.ErrMalformedJSON, problem.ErrUnsupportedMediaType, mesh.ErrValidationFailed, mesh.ErrNumberOutOfRange, mesh.ErrCallbackBlocked, mesh.ErrTooManyWebhooks, mesh.ErrConflict, mesh.ErrCallbacksOff},
		},
		{
			method: "GET", path: "/webhooks", id: "listWebhooks", summary: "List webhooks", handler: g.listWebhooks,
			answers: map[int]any{200: WebhookList{}},
		},
		{
			method: "GET", path: "/webhooks/{id}", id: "getWebhook", summary: "Read a webhook", handler: g.getWebhook,
			answers: map[int]any{200: Webhook{}}, problems: []*mesh.Refusal{mesh.ErrWebhookNotFound},
		},
		{
			method: "PATCH", path: "/webhooks/{id}", id: "updateWebhook", summary: "Change a webhook, enable or disable it", handler: g.updateWebhook,
			body: WebhookRequest{}, answers: map[int]any{200: Webhook{}},
			problems: []*mesh.Refusal{mesh.ErrWebhookNotFound, mesh.ErrMalformedJSON, problem.ErrUnsupportedMediaType, mesh.ErrValidationFailed, mesh.ErrNumberOutOfRange, mesh.ErrCallbackBlocked, mesh.ErrWebhookUnreadable, mesh.ErrConflict, mesh.ErrCallbacksOff},
		},
		{
			method: "DELETE", path: "/webhooks/{id}", id: "deleteWebhook", summary: "Delete a webhook; what is on its way to it is canceled", handler: g.deleteWebhook,
			answers: map[int]any{204: nil}, problems: []*mesh.Refusal{mesh.ErrWebhookNotFound, mesh.ErrConflict},
		},
		{
			method: "POST", path: "/webhooks/{id}/rotate-secret", id: "rotateSecret", summary: "Give a webhook a new key; the old ones sign beside it for a while", handler: g.rotateSecret,
			body: RotateRequest{}, optional: true, answers: map[int]any{200: Webhook{}}, problems: []*mesh.Refusal{mesh.ErrWebhookNotFound, mesh.ErrValidationFailed, mesh.ErrConflict, mesh.ErrCallbacksOff},
		},
		{
			method: "POST", path: "/webhooks/{id}/test", id: "testWebhook", summary: "Send a test event, once, and answer with what became of it", handler: g.testWebhook,
			answers: map[int]any{200: Delivery{}, 202: Delivery{}}, problems: []*mesh.Refusal{mesh.ErrWebhookNotFound},
		},
		{
			method: "POST", path: "/webhooks/{id}/redeliver", id: "redeliverWebhook", summary: "Send a webhook again what it missed", handler: g.redeliverWebhook,
			body: RedeliverRequest{}, optional: true, answers: map[int]any{202: Redelivered{}}, problems: []*mesh.Refusal{mesh.ErrWebhookNotFound, mesh.ErrWebhookDisabled, mesh.ErrValidationFailed, mesh.ErrBadCursor, mesh.ErrConflict},
		},
		{
			method: "GET", path: "/deliveries", id: "listDeliveries", summary: "List deliveries, newest change first; ?status=dead are those that were given up", handler: g.listDeliveries,
			query: []param{
				{"status", "pending, retrying, delivered, dead, parked or canceled."},
				{"webhook_id", "Deliveries to this webhook."},
				{"type", "Deliveries of this type of event."},
				{"limit", "1 to 200, default 50."},
				{"cursor", "next_cursor of the page before."},
			},
			answers: map[int]any{200: DeliveryList{}}, problems: []*mesh.Refusal{problem.ErrBadQuery, mesh.ErrBadCursor},
		},
		{
			method: "GET", path: "/deliveries/{id}", id: "getDelivery", summary: "Read a delivery, its payload and every attempt", handler: g.getDelivery,
			answers: map[int]any{200: Delivery{}}, problems: []*mesh.Refusal{mesh.ErrDeliveryNotFound},
		},
		{
			method: "POST", path: "/deliveries/{id}/redeliver", id: "redeliver", summary: "Deliver again, from now and with the whole schedule", handler: g.redeliverOne,
			answers: map[int]any{202: Delivery{}}, problems: []*mesh.Refusal{mesh.ErrDeliveryNotFound, mesh.ErrWebhookNotFound, mesh.ErrWebhookDisabled, mesh.ErrConflict},
		},
		{
			method: "GET", path: "/events", id: "allEvents", summary: "Follow the events of all tasks", handler: g.allEvents,
			headers: []param{{"Last-Event-ID", "Go on after this event."}},
			lists: []param{
				{"type", "One or more types of events, separated by commas or repeated, such as task.completed."},
				{"agent", "One or more agents, separated by commas or repeated."},
			},
			query: []param{
				{"after", "As Last-Event-ID, where headers cannot be set."},
			},
			answers: map[int]any{200: anyJSON{}}, problems: []*mesh.Refusal{problem.ErrBadQuery},
		},
		{
			method: "GET", path: "/.well-known/webhooks/jwks.json", id: "webhookKeys", summary: "Read the public keys that sign deliveries (v1a)", handler: g.keySet,
			answers: map[int]any{200: KeySet{}},
		},
		{
			method: "GET", path: "/agents", id: "listAgents", summary: "List agents and their live workers", handler: g.listAgents,
			answers: map[int]any{200: api.AgentList{}},
		},
		{
			method: "GET", path: "/agents/{name}", id: "getAgent", summary: "Read an agent", handler: g.getAgent,
			answers: map[int]any{200: api.Agent{}}, problems: []*mesh.Refusal{mesh.ErrAgentNotFound},
		},
		{
			method: "DELETE", path: "/agents/{name}", id: "deleteAgent", summary: "Remove an agent that no live worker serves; tasks that wait for it stay", handler: g.deleteAgent,
			answers: map[int]any{200: api.RemovedAgent{}, 204: nil}, problems: []*mesh.Refusal{mesh.ErrAgentNotFound, mesh.ErrAgentServed, mesh.ErrConflict},
		},
		{
			method: "GET", path: "/stats", id: "getStats", summary: "Count what waits and runs in the whole mesh", handler: g.getStats,
			answers: map[int]any{200: api.Stats{}},
		},
		{
			method: "GET", path: "/version", id: "getVersion", summary: "Read which build answers", handler: g.getVersion,
			answers: map[int]any{200: api.Version{}},
		},
		{
			method: "GET", path: "/problems", id: "listProblems", summary: "List the problem codes", handler: g.listProblems,
			answers: map[int]any{200: api.ProblemList{}},
		},
		{
			method: "GET", path: "/problems/{code}", id: "getProblem", summary: "Read what a problem code means", handler: g.serveProblem,
			answers: map[int]any{200: api.ProblemPage{}}, problems: []*mesh.Refusal{problem.ErrNotFound},
		},
		{
			method: "GET", path: "/healthz", id: "healthz", summary: "Whether the process runs", handler: g.healthz,
			answers: map[int]any{200: anyJSON{}}, probe: true,
		},
		{
			method: "GET", path: "/readyz", id: "readyz", summary: "Whether requests can be taken, check by check", handler: g.readyz,
			answers: map[int]any{200: api.Readiness{}, 503: api.Readiness{}}, problems: []*mesh.Refusal{problem.ErrShuttingDown}, probe: true,
		},
	}
}

// anyJSON is an answer of any JSON value.
type anyJSON struct{}

// prefixV1 is where the routes are mounted a second time.
const prefixV1 = "/v1"

func unversioned(path string) string {
	if rest, ok := strings.CutPrefix(path, prefixV1); ok && strings.HasPrefix(rest, "/") {
		return rest
	}
	return path
}

func (g *Gateway) routes() http.Handler {
	operations := g.operations()
	document, err := openAPI(operations, g.cfg.Version)
	if err != nil {
		panic(fmt.Sprintf("the OpenAPI document does not encode: %v", err)) // the types are ours
	}
	mount := func(r chi.Router) {
		traced := r.With(telemetry.HTTPMiddleware)
		for _, op := range operations {
			to := traced
			if op.probe {
				to = r
			}
			to.MethodFunc(op.method, op.path, g.serve(&op))
		}
		r.Get("/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
			_, _ = w.Write(document)
		})
	}
	root := chi.NewRouter()
	origins, _ := parseOrigins(g.cfg.CORSOrigins) // New has checked them
	root.Use(g.answering, requestID, g.recoverPanics, origins.cors)
	missing := g.handle(func(_ http.ResponseWriter, r *http.Request) error {
		return mesh.Refuse(problem.ErrNotFound, "There is no %s; GET /openapi.json lists what there is.", mesh.Clip(r.URL.Path, 128))
	})
	wrongMethod := g.handle(func(w http.ResponseWriter, r *http.Request) error {
		allowed := methods(root, r.URL.Path)
		if len(allowed) == 0 { // also a method that nobody knows comes here
			missing(w, r)
			return nil
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return mesh.Refuse(problem.ErrMethodNotAllowed, "%s does not take %s; see Allow for what it takes.", mesh.Clip(r.URL.Path, 128), mesh.Clip(r.Method, 32))
	})
	root.NotFound(missing)
	root.MethodNotAllowed(wrongMethod)
	mount(root)
	root.Route(prefixV1, mount)
	return root
}

// methods are those that a path takes.
func methods(routes chi.Routes, path string) (all []string) {
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if routes.Match(chi.NewRouteContext(), m, path) {
			if all = append(all, m); m == http.MethodGet {
				all = append(all, http.MethodHead)
			}
		}
	}
	return all
}

// serve checks what all operations check alike before the operation itself.
func (g *Gateway) serve(op *route) http.HandlerFunc {
	return g.handle(func(w http.ResponseWriter, r *http.Request) error {
		if op.probe { // load balancers add what they like
			return op.handler(w, r)
		}
		if r.ContentLength != 0 && r.Body != nil {
			defer g.meter(w, r).done()
		}
		lenient := lenient(r)
		if lenient {
			preferences{lenient: true}.applied(w.Header())
		}
		if err := checkQuery(r, op, lenient); err != nil {
			return err
		}
		if op.method == http.MethodPost { // also where no task is made: such a circle is one, too
			if _, err := eventDepth(r); err != nil {
				return err
			}
		}
		return op.adviseWhenAway(op.handler(w, r))
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
	case op.method == http.MethodGet:
		p.Detail = "Nothing could be read. Try again in a moment."
	case !slices.ContainsFunc(op.headers, func(h param) bool { return h.name == keyHeader.name }):
		p.Detail = "It is unknown whether the request took effect. Look before you send it again."
	}
	return &p
}

// handle adapts a handler that returns its refusal.
func (g *Gateway) handle(f func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r); err != nil {
			g.writeProblem(w, r, err)
		}
	}
}
