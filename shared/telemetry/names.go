package telemetry

import (
	"go.opentelemetry.io/otel/attribute"
)

// Names of spans, attributes and metrics, in this one place: the messaging and
// GenAI conventions are still in development (semantic conventions v1.43.0).
const scope = "agentmesh"

// Spans. One at an edge of the mesh has the name that the conventions give it, an
// inner one is role.verb.
const (
	spanSend    = "send "       // + template of the destination
	spanProcess = "process "    // + template of the destination
	spanAgent   = opAgent + " " // + name
	spanChat    = opChat + " "  // + model
	spanTool    = opTool + " "  // + name of the tool

	// SpanClaim is the write that takes a task, SpanCommit the one that puts a turn
	// into its session, SpanFinish the one that settles an attempt, SpanFanout the
	// reading of one change of a record.
	SpanClaim  = "store.claim"
	SpanCommit = "store.commit"
	SpanFinish = "store.finish"
	SpanFanout = "notifier.fanout"
	// SpanSchedule is a due time of a schedule, the root of its task's trace.
	SpanSchedule = "schedule run"
)

const (
	keyTaskID     = attribute.Key("mesh.task.id")
	keyScheduleID = attribute.Key("mesh.schedule.id")
	keySessionID  = attribute.Key("mesh.session.id")
	keyTenant     = attribute.Key("mesh.tenant")
	keyAgent      = attribute.Key("mesh.agent")
	keyAttempt    = attribute.Key("mesh.attempt")
	keyWorkerID   = attribute.Key("mesh.worker.id")
	keyDeliveryID = attribute.Key("mesh.delivery.id")
	keyWebhookID  = attribute.Key("mesh.webhook.id")
	keyStatus     = attribute.Key("mesh.status")
	keyErrorCode  = attribute.Key("mesh.error.code")

	keyMessagingSystem    = attribute.Key("messaging.system")
	keyMessagingOperation = attribute.Key("messaging.operation.name")
	keyMessagingType      = attribute.Key("messaging.operation.type")
	keyMessagingTemplate  = attribute.Key("messaging.destination.template")
	keyMessagingGroup     = attribute.Key("messaging.consumer.group.name")
	keyMessagingID        = attribute.Key("messaging.message.id")
	keyGenAIOperation     = attribute.Key("gen_ai.operation.name")
	keyGenAIAgent         = attribute.Key("gen_ai.agent.name")
	keyGenAIVersion       = attribute.Key("gen_ai.agent.version")
	keyGenAIConversation  = attribute.Key("gen_ai.conversation.id")
	keyHTTPMethod         = attribute.Key("http.request.method")
	keyHTTPRoute          = attribute.Key("http.route")
	keyHTTPStatus         = attribute.Key("http.response.status_code")
	keyURLPath            = attribute.Key("url.path")
	keyURLScheme          = attribute.Key("url.scheme")
	keyServerAddress      = attribute.Key("server.address")
	keyServerPort         = attribute.Key("server.port")
	keyErrorType          = attribute.Key("error.type")

	systemNATS = "nats"
)

// The GenAI conventions, as semantic-conventions-genai has them at 066d4a7.
const (
	keyGenAIProvider      = attribute.Key("gen_ai.provider.name")
	keyGenAIRequestModel  = attribute.Key("gen_ai.request.model")
	keyGenAIResponseModel = attribute.Key("gen_ai.response.model")
	keyGenAIResponseID    = attribute.Key("gen_ai.response.id")
	keyGenAIFinish        = attribute.Key("gen_ai.response.finish_reasons")
	keyGenAIInput         = attribute.Key("gen_ai.usage.input_tokens")
	keyGenAIOutput        = attribute.Key("gen_ai.usage.output_tokens")
	keyGenAICached        = attribute.Key("gen_ai.usage.cache_read.input_tokens")
	keyGenAIReasoning     = attribute.Key("gen_ai.usage.reasoning.output_tokens")
	keyGenAITool          = attribute.Key("gen_ai.tool.name")
	keyGenAIToolType      = attribute.Key("gen_ai.tool.type")
	keyGenAIToolCall      = attribute.Key("gen_ai.tool.call.id")
	keyGenAIModality      = attribute.Key("gen_ai.token.modality")
	keyGenAITokenType     = attribute.Key("gen_ai.token.type")

	// What is said. They are set with trace-content only.
	keyGenAIMessages   = attribute.Key("gen_ai.input.messages")
	keyGenAIAnswer     = attribute.Key("gen_ai.output.messages")
	keyGenAIArguments  = attribute.Key("gen_ai.tool.call.arguments")
	keyGenAIToolResult = attribute.Key("gen_ai.tool.call.result")

	opAgent = "invoke_agent"
	opChat  = "chat"
	opTool  = "execute_tool"

	modalityText = "text"
)

// Attribute is a name and a value on a span.
type Attribute = attribute.KeyValue

// TaskID is the attribute of a task's id.
func TaskID[ID ~string](id ID) attribute.KeyValue { return keyTaskID.String(string(id)) }

// Tenant is the attribute of a tenant.
func Tenant(t string) attribute.KeyValue { return keyTenant.String(t) }

// Agent is the attribute of an agent's name.
func Agent(name string) attribute.KeyValue { return keyAgent.String(name) }

// Attempt is the attribute of an attempt's number, from 1.
func Attempt(n int) attribute.KeyValue { return keyAttempt.Int(n) }

// WorkerID is the attribute of a worker's id.
func WorkerID(id string) attribute.KeyValue { return keyWorkerID.String(id) }

// DeliveryID is the attribute of a delivery's id.
func DeliveryID[ID ~string](id ID) attribute.KeyValue { return keyDeliveryID.String(string(id)) }

// WebhookID is the attribute of the webhook that a delivery goes to.
func WebhookID[ID ~string](id ID) attribute.KeyValue { return keyWebhookID.String(string(id)) }

// MessageID is the attribute of a message's id.
func MessageID[ID ~string](id ID) attribute.KeyValue { return keyMessagingID.String(string(id)) }

// Consumer is the attribute of the durable consumer that a message came by.
func Consumer(durable string) attribute.KeyValue { return keyMessagingGroup.String(durable) }

// Status is the attribute of what a task or a delivery has become.
func Status(s string) attribute.KeyValue { return keyStatus.String(s) }

// ErrorCode is the attribute of an error's code.
func ErrorCode(code string) attribute.KeyValue { return keyErrorCode.String(code) }

// Session are the attributes of a session: ours, and that of the GenAI
// conventions.
func Session[ID ~string](id ID) []attribute.KeyValue {
	return []attribute.KeyValue{keySessionID.String(string(id)), keyGenAIConversation.String(string(id))}
}

// The way of a task. A label never takes an id, a URL or what a client chose.
var (
	TasksAccepted = counter("mesh.tasks.accepted", "{task}", "Tasks accepted.", "agent", "kind")
	TasksStarted  = counter("mesh.tasks.started", "{task}", "Tasks whose first attempt has begun.", "agent")
	TasksFinished = counter("mesh.tasks.finished", "{task}", "Tasks that have finished.", "agent", "outcome")
	TaskAttempts  = counter("mesh.task.attempts", "{attempt}", "Attempts that have ended.", "agent", "outcome")
	TaskRetries   = counter("mesh.task.retries", "{retry}", "Attempts that were followed by a retry.", "agent")
	TaskErrors    = counter("mesh.task.errors", "{error}", "Attempts that failed, by code; other: a code of the agent's own.", "agent", "code")
	TaskQueueWait = histogram("mesh.task.queue.wait", "From when a task may run to its first attempt.", "agent")
	TaskRunTime   = histogram("mesh.task.run.duration", "One attempt.", "agent", "outcome")
	TaskDuration  = histogram("mesh.task.duration", "From accept to outcome.", "agent", "outcome")
	LeaseLosses   = counter("mesh.lease.losses", "{lease}", "Attempts that another worker took over.", "agent")

	QueueDepth     = gauge("mesh.queue.depth", "{task}", "Tasks that wait for a worker.", "agent")
	QueueBulk      = gauge("mesh.queue.bulk", "{task}", "Of these, tasks of tenants that have many: others go before them.", "agent")
	QueueOldestAge = gauge("mesh.queue.oldest.age", "s", "How long the task waits that waits longest.", "agent")
	TasksScheduled = gauge("mesh.tasks.scheduled", "{task}", "Tasks and retries that wait for their time.")
	TasksInFlight  = gauge("mesh.tasks.in_flight", "{task}", "Tasks that workers hold.", "agent")
	TasksLimit     = gauge("mesh.tasks.limit", "{task}", "How many tasks of the agent may run in the mesh.", "agent")
	WorkersLive    = gauge("mesh.workers.live", "{worker}", "Workers that serve the agent.", "agent")
	SlotsUsed      = gauge("mesh.slots.used", "{slot}", "Slots of this process that are taken.", "agent")
	SlotsSize      = gauge("mesh.slots.size", "{slot}", "Slots of this process.", "agent")
	Sessions       = gauge("mesh.sessions", "{session}", "Sessions that are kept.")
)

// Models and their tools. A model, a provider and a tool are those of the worker's file.
// The counters have replaced the histogram of tokens, which most dashboards still draw.
var (
	AgentTime     = histogram("gen_ai.invoke_agent.duration", "One run of an agent.", string(keyGenAIOperation), string(keyGenAIAgent), string(keyErrorType))
	ToolTime      = histogram("gen_ai.execute_tool.duration", "One call of a tool by a model.", string(keyGenAIOperation), string(keyGenAITool), string(keyErrorType))
	ModelTime     = histogram("gen_ai.client.operation.duration", "One call of a model, its tries included.", modelLabels(keyErrorType)...)
	ModelFirst    = histogram("gen_ai.client.operation.time_to_first_chunk", "From the request to a model to the first bytes of its answer.", modelLabels()...)
	ModelTokens   = tokens("gen_ai.client.token.usage", "Tokens of one call of a model: input or output.", modelLabels(keyGenAITokenType)...)
	InputTokens   = counter("gen_ai.client.inference.usage.input_tokens", "{token}", "Tokens sent to models, cached ones included.", modelLabels(keyGenAIModality)...)
	CachedTokens  = counter("gen_ai.client.inference.usage.cache_read.input_tokens", "{token}", "Of these, tokens that models had in their caches.", modelLabels(keyGenAIModality)...)
	OutputTokens  = counter("gen_ai.client.inference.usage.output_tokens", "{token}", "Tokens of the answers of models, reasoning included.", modelLabels(keyGenAIModality)...)
	ThoughtTokens = counter("gen_ai.client.inference.usage.reasoning.output_tokens", "{token}", "Of these, tokens of reasoning.", modelLabels(keyGenAIModality)...)
	ModelCost     = counter("mesh.llm.cost", "{millionth}", "What models have cost by the prices of the file, in millionths of the currency.", "currency", "agent")
	BudgetUsed    = gauge("mesh.budget.used_ratio", "1", "The part of a budget that is spent. Tenant * is the one that has spent most of those without a budget of their own.", "tenant", "period")
)

func modelLabels(more ...attribute.Key) []string {
	all := []string{string(keyGenAIOperation), string(keyGenAIProvider), string(keyGenAIRequestModel)}
	for _, k := range more {
		all = append(all, string(k))
	}
	return all
}

// What starts at a time.
var (
	SchedulesFired   = counter("mesh.schedule.fired", "{run}", "Due times that started a task.")
	SchedulesSkipped = counter("mesh.schedule.skipped", "{run}", "Due times that the overlap policy left out.")
	SchedulesMissed  = counter("mesh.schedule.missed", "{run}", "Due times that nobody was there to run.")
	ScheduleLateness = histogram("mesh.schedule.lateness", "From the due time to its decision.")
)

// What comes in by itself.
var HooksReceived = counter("mesh.hook.received", "{request}", "Requests to hooks that there are, by what became of them.", "outcome")

// The way of an event to those who want to know.
var (
	DeliveryAttempts = counter("mesh.delivery.attempts", "{attempt}", "Requests to receivers, by what they came to.", "class")
	DeliveryDuration = histogram("mesh.delivery.duration", "One request to a receiver.", "class")
	DeliveryLatency  = histogram("mesh.delivery.latency", "From the event's delivery being queued to a good answer.")
	DeliveriesEnded  = counter("mesh.deliveries.finished", "{delivery}", "Deliveries that have ended; dead is a dead letter.", "status")

	DeliveriesDue       = gauge("mesh.deliveries.due", "{delivery}", "Deliveries that are due: waiting for a notifier, or held by one.")
	DeliveriesScheduled = gauge("mesh.deliveries.scheduled", "{delivery}", "Deliveries that wait for their next attempt.")
	DeliveriesOldestAge = gauge("mesh.deliveries.oldest.age", "s", "Age of the oldest event that is not delivered, of those that have rested longest.")
	FanoutLag           = gauge("mesh.fanout.lag", "{change}", "Changes of records that no notifier has read yet.")
	Breakers            = gauge("mesh.breakers", "{endpoint}", "Endpoints that this process knows, by the state of their breaker.", "state")
)

// Metrics of NATS, JetStream and the store.
var (
	HTTPDuration    = histogram("http.server.request.duration", "One request at the gateway.", string(keyHTTPMethod), string(keyHTTPRoute), string(keyHTTPStatus))
	StoreConflicts  = counter("mesh.store.conflicts", "{write}", "Writes of task records that another writer was ahead of.")
	AuditEntries    = counter("mesh.audit.entries", "{entry}", "Entries of the audit trail: written, or dropped since the store did not take them for too long.", "result")
	Limited         = counter("mesh.requests.limited", "{request}", "Requests refused for a limit of their tenant, by the code of the refusal.", "code")
	AuditRefused    = counter("mesh.audit.refused", "{attempt}", "Attempts to do or change something that were refused, by the code of the refusal.", "code")
	StoreUnreadable = counter("mesh.store.unreadable", "{record}", "Records that are left out of lists and counts because they cannot be read.")
	Reconciled      = counter("mesh.reconciled", "{message}", "Accepted work that no queue would have delivered any more and that was queued again. Not zero is a fault of the mesh.", "kind")
	JetStreamErrors = counter("mesh.jetstream.errors", "{error}", "Requests to JetStream that failed.", "kind")
	StoreMissing    = gauge("mesh.store.missing", "{loss}", "What is missing of the embedded server's data, until the loss is accepted.")
	NATSConnected   = gauge("mesh.nats.connected", "{connection}", "1 while this process is connected to NATS.")
	NATSReconnects  = gauge("mesh.nats.reconnects", "{reconnect}", "Times that this process has connected to NATS again.")
	ConsumersLost   = counter("mesh.consumers.lost", "{consumer}", "Consumers of this role that were found deleted and made again.", "consumer")
	ConsumersAway   = gauge("mesh.consumers.missing", "{consumer}", "Consumers that roles of the mesh live on and that are not there.")
	StorageUsed     = gauge("mesh.jetstream.storage.used", "By", "Bytes that the mesh's account keeps on disk.")
	StorageLimit    = gauge("mesh.jetstream.storage.limit", "By", "Bytes that it may keep; none: no limit is known.")
	StreamMessages  = gauge("mesh.stream.messages", "{message}", "Messages in a stream.", "stream")
	StreamSize      = gauge("mesh.stream.size", "By", "Bytes of a stream.", "stream")
	SpansExported   = counter("mesh.telemetry.spans", "{span}", "Spans by what became of them: those recorded and neither exported nor failed were dropped, or are on their way.", "result")
	BuildInfo       = gauge("mesh.build.info", "{process}", "1, with the version that runs.", "version", "go_version")
)
