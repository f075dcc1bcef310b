package gateway

import (
	"slices"

	"agentmesh/gateway/problem"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
)

// route is one operation: what chi serves and what the OpenAPI document says.
//
// The operations are registered by our own adapter rather than through huma: for
// POST /tasks huma's decoding and validation take three times as long with 40 KB
// (BenchmarkHTTPLayer). The document still comes from the Go types, through
// huma's schemas.
type route struct {
	method, path string
	scope        auth.Scope // of those who may
	id           string     // operationId
	summary      string
	handler      handler
	takes        *taken
	gives        *given
	problems     []*mesh.Refusal // besides those that come with what it takes
	probe        bool            // not traced
}

// param is a header or query parameter.
type param struct{ name, doc string }

// The refusals of a new task.
var (
	refusedTask  = []*mesh.Refusal{mesh.ErrAgentNotFound, mesh.ErrStoreFull}
	refusedInput = []*mesh.Refusal{mesh.ErrInputInvalid, mesh.ErrInputTooComplex, mesh.ErrAgentRequired, mesh.ErrCallbackBlocked, mesh.ErrCallbacksOff}
	refusedChild = []*mesh.Refusal{mesh.ErrParentNotFound, mesh.ErrParentFinished, mesh.ErrCallTooDeep, mesh.ErrCallDeadlock}
)

// operations is every route of the API.
func (g *Gateway) operations() []route {
	return slices.Concat(g.taskRoutes(), g.actionRoutes(), g.sessionRoutes(), g.webhookRoutes(), g.deliveryRoutes(), g.meshRoutes())
}

func (g *Gateway) taskRoutes() []route {
	const one = "/tasks/{id}"
	return []route{
		operation("POST", "/tasks", auth.TasksWrite, "createTask", "Accept a task", g.createTask, slices.Concat(refusedTask, refusedInput, refusedChild)...),
		operation("GET", "/tasks", auth.TasksRead, "listTasks", "List tasks", g.listTasks, mesh.ErrBadCursor),
		operation("GET", one, auth.TasksRead, "getTask", "Read a task", g.getTask, mesh.ErrTaskNotFound),
		operation("GET", one+"/result", auth.TasksRead, "getTaskResult", "Read the result itself", g.getResult, mesh.ErrTaskNotFound, mesh.ErrResultNotReady, mesh.ErrResultExpired),
		operation("GET", one+"/input", auth.TasksRead, "getTaskInput", "Read the input as it was sent", g.getInput, mesh.ErrTaskNotFound, mesh.ErrNoInput, mesh.ErrInputExpired),
		operation("GET", one+"/events", auth.TasksRead, "taskEvents", "Follow a task", g.taskEvents, mesh.ErrTaskNotFound),
		operation("GET", one+"/deliveries", auth.WebhooksRead, "taskDeliveries", "List what was sent of a task, and every attempt", g.taskDeliveries, mesh.ErrTaskNotFound),
		operation("POST", one+"/cancel", auth.TasksWrite, "cancelTask", "Cancel a task", g.cancelTask, mesh.ErrTaskNotFound, mesh.ErrTaskFinished),
		operation("POST", one+"/retry", auth.TasksWrite, "retryTask", "Run a failed or canceled task again, as a new one", g.retryTask,
			slices.Concat(refusedTask, refusedChild, []*mesh.Refusal{mesh.ErrTaskNotFound, mesh.ErrTaskNotRetryable})...),
	}
}

func (g *Gateway) actionRoutes() []route {
	const one = "/actions/{id}"
	all := []route{
		operation("GET", one, auth.TasksRead, "getAction", "Read an action", g.getTask),
		operation("GET", one+"/result", auth.TasksRead, "getActionResult", "Read the result itself", g.getResult, mesh.ErrResultNotReady, mesh.ErrResultExpired),
		operation("GET", one+"/input", auth.TasksRead, "getActionInput", "Read the input as it was sent", g.getInput, mesh.ErrNoInput, mesh.ErrInputExpired),
		operation("GET", one+"/events", auth.TasksRead, "actionEvents", "Follow an action", g.taskEvents),
		operation("POST", one+"/cancel", auth.TasksWrite, "cancelAction", "Cancel an action", g.cancelTask, mesh.ErrTaskFinished),
		operation("POST", one+"/retry", auth.TasksWrite, "retryAction", "Run a failed or canceled action again, as a new one", g.retryAction, append(slices.Clone(refusedTask), mesh.ErrTaskNotRetryable)...),
		operation("GET", one+"/deliveries", auth.WebhooksRead, "actionDeliveries", "List what was sent of an action, and every attempt", g.taskDeliveries),
		operation("POST", one+"/redeliver", auth.DeliveriesWrite, "redeliverAction", "Send an action's callbacks again", g.redeliverAction, mesh.ErrNothingToRedeliver),
	}
	for i, op := range all {
		op.problems = append(slices.Clone(op.problems), mesh.ErrActionNotFound)
		op.handler = ofAction(op.handler)
		all[i] = op
	}
	return append([]route{
		operation("POST", "/actions", auth.TasksWrite, "createAction", "Accept an action: a task whose outcome is POSTed to callback_url", g.createAction, slices.Concat(refusedTask, refusedInput)...),
	}, all...)
}

func (g *Gateway) sessionRoutes() []route {
	const one, turn = "/sessions/{id}", "/sessions/{id}/turns/{turn_id}"
	gone := []*mesh.Refusal{mesh.ErrSessionNotFound, mesh.ErrSessionExpired}
	return []route{
		operation("POST", "/sessions", auth.SessionsWrite, "createSession", "Begin a conversation with an agent", g.createSession, mesh.ErrAgentNotFound, mesh.ErrAgentRequired, mesh.ErrStoreFull),
		operation("GET", "/sessions", auth.SessionsRead, "listSessions", "List sessions, newest change first", g.listSessions, mesh.ErrBadCursor),
		operation("GET", one, auth.SessionsRead, "getSession", "Read a session", g.getSession, gone...),
		operation("DELETE", one, auth.SessionsWrite, "deleteSession", "Delete a session; its open turn and those that wait are canceled", g.deleteSession, mesh.ErrSessionNotFound, mesh.ErrSessionExpired, mesh.ErrPreconditionFailed),
		operation("POST", one+"/messages", auth.SessionsWrite, "postMessage", "Say something, and get the reply", g.postMessage, mesh.ErrSessionNotFound, mesh.ErrSessionExpired,
			mesh.ErrSessionBusy, mesh.ErrSessionQueueFull, mesh.ErrSessionFull, mesh.ErrPreconditionFailed, mesh.ErrStoreFull),
		operation("GET", one+"/messages", auth.SessionsRead, "getMessages", "Read the transcript", g.getMessages, gone...),
		operation("GET", turn, auth.SessionsRead, "getTurn", "Read a turn", g.getTurn, mesh.ErrTurnNotFound),
		operation("POST", turn+"/cancel", auth.SessionsWrite, "cancelTurn", "Cancel a turn; its message stays in the transcript, marked as interrupted", g.cancelTurn, mesh.ErrTurnNotFound, mesh.ErrTaskFinished),
		operation("GET", one+"/events", auth.SessionsRead, "sessionEvents", "Follow a session: status, progress, milestone and output of its turns, and each reply", g.sessionEvents, gone...),
	}
}

func (g *Gateway) webhookRoutes() []route {
	const one = "/webhooks/{id}"
	return []route{
		operation("POST", "/webhooks", auth.WebhooksWrite, "createWebhook", "Subscribe to events; the secret is shown this once", g.createWebhook,
			mesh.ErrCallbackBlocked, mesh.ErrTooManyWebhooks, mesh.ErrConflict, mesh.ErrCallbacksOff),
		operation("GET", "/webhooks", auth.WebhooksRead, "listWebhooks", "List webhooks", g.listWebhooks),
		operation("GET", one, auth.WebhooksRead, "getWebhook", "Read a webhook", g.getWebhook, mesh.ErrWebhookNotFound),
		operation("PATCH", one, auth.WebhooksWrite, "updateWebhook", "Change a webhook, enable or disable it", g.updateWebhook,
			mesh.ErrWebhookNotFound, mesh.ErrCallbackBlocked, mesh.ErrWebhookUnreadable, mesh.ErrConflict, mesh.ErrCallbacksOff),
		operation("DELETE", one, auth.WebhooksWrite, "deleteWebhook", "Delete a webhook; what is on its way to it is canceled", g.deleteWebhook, mesh.ErrWebhookNotFound, mesh.ErrConflict),
		operation("POST", one+"/rotate-secret", auth.WebhooksWrite, "rotateSecret", "Give a webhook a new key; the old ones sign beside it for a while", g.rotateSecret,
			mesh.ErrWebhookNotFound, mesh.ErrConflict, mesh.ErrCallbacksOff),
		operation("POST", one+"/test", auth.WebhooksWrite, "testWebhook", "Send a test event, once, and answer with what became of it", g.testWebhook,
			mesh.ErrWebhookNotFound, mesh.ErrCallbackBlocked, mesh.ErrValidationFailed, mesh.ErrCallbacksOff),
		operation("POST", one+"/redeliver", auth.DeliveriesWrite, "redeliverWebhook", "Send a webhook again what it missed", g.redeliverWebhook,
			mesh.ErrWebhookNotFound, mesh.ErrWebhookDisabled, mesh.ErrBadCursor, mesh.ErrConflict),
	}
}

func (g *Gateway) deliveryRoutes() []route {
	const one = "/deliveries/{id}"
	return []route{
		operation("GET", "/deliveries", auth.WebhooksRead, "listDeliveries", "List deliveries, newest change first; ?status=dead are those that were given up", g.listDeliveries, mesh.ErrBadCursor),
		operation("GET", one, auth.WebhooksRead, "getDelivery", "Read a delivery, its payload and every attempt", g.getDelivery, mesh.ErrDeliveryNotFound),
		operation("POST", one+"/redeliver", auth.DeliveriesWrite, "redeliver", "Deliver again, from now and with the whole schedule", g.redeliverOne,
			mesh.ErrDeliveryNotFound, mesh.ErrWebhookNotFound, mesh.ErrWebhookDisabled, mesh.ErrConflict),
	}
}

func (g *Gateway) meshRoutes() []route {
	alive := operation("GET", "/healthz", auth.Public, "healthz", "Whether the process runs", g.healthz)
	ready := operation("GET", "/readyz", auth.Public, "readyz", "Whether requests can be taken, check by check", g.readyz, problem.ErrShuttingDown)
	alive.probe, ready.probe = true, true
	return []route{
		operation("GET", "/events", auth.EventsRead, "allEvents", "Follow the events of all tasks", g.allEvents),
		operation("GET", "/.well-known/webhooks/jwks.json", auth.Public, "webhookKeys", "Read the public keys that sign deliveries (v1a)", g.keySet),
		operation("GET", "/agents", auth.AgentsRead, "listAgents", "List agents and their live workers", g.listAgents),
		operation("GET", "/agents/{name}", auth.AgentsRead, "getAgent", "Read an agent", g.getAgent, mesh.ErrAgentNotFound),
		operation("DELETE", "/agents/{name}", auth.Admin, "deleteAgent", "Remove an agent that no live worker serves; tasks that wait for it stay", g.deleteAgent,
			mesh.ErrAgentNotFound, mesh.ErrAgentServed, mesh.ErrConflict),
		operation("GET", "/stats", auth.Admin, "getStats", "Count what waits and runs in the whole mesh", g.getStats),
		operation("GET", "/whoami", auth.Known, "whoAmI", "Read who asks: the tenant and the scopes of these credentials", g.whoAmI),
		operation("GET", "/version", auth.Public, "getVersion", "Read which build answers", g.getVersion),
		operation("GET", "/problems", auth.Public, "listProblems", "List the problem codes", g.listProblems),
		operation("GET", "/problems/{code}", auth.Public, "getProblem", "Read what a problem code means", g.getProblem, problem.ErrNotFound),
		alive, ready,
	}
}

// anyJSON is an answer of any JSON value.
type anyJSON struct{}
