// Package topology spells every stream, bucket, subject and durable consumer of
// the mesh, and nothing else does. It promises that [Ensure] creates what is missing
// and refuses an asset whose settings would break a promise; ARCHITECTURE.md says
// what each asset holds. It does not know what
// the messages mean.
package topology

import (
	"cmp"
	"encoding/base64"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// Streams.
const (
	Tasks      = "MESH_TASKS"
	Turns      = "MESH_TURNS"
	Deliveries = "MESH_DELIVERIES"
	Audit      = "MESH_AUDIT"
)

// Buckets: each is a stream of our own, [BucketStream], since the client's
// helper resets settings that it does not know.
const (
	TasksBucket       = "tasks"
	SessionsBucket    = "sessions"
	IdempotencyBucket = "idempotency"
	AgentsBucket      = "agents"
	WorkersBucket     = "workers"
	DeliveriesBucket  = "deliveries"
	WebhooksBucket    = "webhooks"
	KeysBucket        = "keys"
	TenantsBucket     = "tenants"
	Artifacts         = "mesh-artifacts" // object store
)

// Lifetimes of what is stored.
const (
	Retention         = 7 * 24 * time.Hour // of a task's record after its last change
	SessionIdle       = 24 * time.Hour     // of a session after its last turn, unless set otherwise
	SessionTombstone  = Retention          // how long it is known that a session has expired
	IdempotencyWindow = 24 * time.Hour
	PresenceTTL       = 90 * time.Second
	PresenceEvery     = 30 * time.Second
	// ServedEvery is how often workers note in the registry that an agent is served.
	ServedEvery          = time.Hour
	DeliveryLogRetention = 30 * 24 * time.Hour
	AuditRetention       = 90 * 24 * time.Hour // of the audit trail, unless set otherwise
	// ArtifactRetention is longer than Retention, so that a record never names
	// an artifact that is gone: the input is stored before the first write.
	ArtifactRetention = 2 * Retention
	DedupeWindow      = 2 * time.Minute
)

// Limits of the assets.
const (
	RecordHistory = 16     // revisions kept of a task's record: the slow reader's memory
	maxConsumers  = 10_000 // the server's default is 1,000; only a positive value lifts it
)

// BucketStream is the stream behind a bucket.
func BucketStream(bucket string) string { return "KV_" + bucket }

// AgentDurable is the consumer of one agent's tasks, shared by all its workers.
func AgentDurable(agent string) string { return "agent-" + agent }

// DurableAgent is the agent of a durable consumer; ok is false where it is no
// agent's.
func DurableAgent(durable string) (agent string, ok bool) {
	return strings.CutPrefix(durable, "agent-")
}

// BulkDurable is the consumer of one agent's tasks that wait in bulk.
func BulkDurable(agent string) string { return "bulk-" + agent }

// DurableBulk is the agent of such a consumer.
func DurableBulk(durable string) (agent string, ok bool) {
	return strings.CutPrefix(durable, "bulk-")
}

// TaskReady is where a task waits for a worker.
func TaskReady(tenant, agent string, id task.ID) string {
	return "mesh.tasks.ready." + tenant + "." + agent + "." + string(id)
}

// TaskBulk is where a task waits of a tenant that has many before it.
func TaskBulk(tenant, agent string, id task.ID) string {
	return "mesh.tasks.bulk." + tenant + "." + agent + "." + string(id)
}

// TaskOf matches the message of a task, ready or in bulk, whose agent is not known.
func TaskOf(tenant string, id task.ID) string {
	return "mesh.tasks.*." + tenant + ".*." + string(id)
}

// AgentReady matches the ready messages of an agent: its consumer's filter.
func AgentReady(agent string) string { return TaskReady("*", agent, "*") }

// AgentBulk matches the messages of an agent that wait in bulk: the filter of its
// other consumer.
func AgentBulk(agent string) string { return TaskBulk("*", agent, "*") }

// IsBulk reports whether a subject is one of those.
func IsBulk(subject string) bool { return strings.HasPrefix(subject, "mesh.tasks.bulk.") }

// TasksWaiting matches the tasks of a tenant for an agent that wait for a worker
// or that one has, in whichever line; an empty agent is any. A schedule has fewer
// tokens.
func TasksWaiting(tenant, agent string) string {
	if agent == "" {
		agent = "*"
	}
	return "mesh.tasks.*." + tenant + "." + agent + ".*"
}

// TasksQueuedOf matches the tasks of a tenant that wait for a worker, of any agent
// and in any way that has the tenant in its subject.
func TasksQueuedOf(tenant string) string { return "mesh.tasks.*." + tenant + ".>" }

// IsQueuedOf reports whether a subject is one that TasksQueuedOf matches.
func IsQueuedOf(subject, tenant string) bool {
	parts := strings.SplitN(subject, ".", 5)
	return len(parts) == 5 && parts[0] == "mesh" && parts[1] == "tasks" && parts[3] == tenant
}

// TaskLater is where a schedule holds a task until it is due. It is one subject
// for each task, so that publishing again replaces the schedule.
func TaskLater(id task.ID) string { return "mesh.tasks.later." + string(id) }

// TasksLater matches all schedules.
const TasksLater = "mesh.tasks.later.>"

// Turn is where a turn of a session waits for a worker: one subject for each
// session, on which the server takes one message at a time.
func Turn(tenant, agent string, id session.ID) string {
	return "mesh.turns." + tenant + "." + agent + "." + string(id)
}

// AgentTurns matches the turns of an agent: its consumer's filter.
func AgentTurns(agent string) string { return "mesh.turns.*." + agent + ".*" }

// TurnsOf matches the open turns of a tenant.
func TurnsOf(tenant string) string { return "mesh.turns." + tenant + ".>" }

// TurnsTemplate names the turn subjects in spans: low cardinality.
const TurnsTemplate = "mesh.turns"

// Session is the subject of a session's record.
func Session(tenant string, id session.ID) string {
	return "$KV." + SessionsBucket + "." + tenant + "." + string(id)
}

// SessionsOf matches the sessions of a tenant.
func SessionsOf(tenant string) string { return Session(tenant, "*") }

// SessionsAll matches the sessions of all tenants.
const SessionsAll = "$KV." + SessionsBucket + ".*.*"

// SessionText is the subject of the text of a turn that waits in a session: a key
// of the sessions bucket beside the records.
func SessionText(tenant string, id session.ID, turn task.ID) string {
	return Session(tenant, id) + "." + string(turn)
}

// SessionEvents is the core subject on which the server tells, at most once, that
// a session's record has changed.
func SessionEvents(tenant string, id session.ID) string {
	return "mesh.sessions." + tenant + "." + string(id)
}

// SessionTurns is the core subject on which the server republishes each turn that
// it takes for a session, at most once.
func SessionTurns(tenant string, id session.ID) string { return SessionEvents(tenant, id) + ".turn" }

// ReadyTemplate and BulkTemplate name the subjects of waiting tasks in spans: low
// cardinality.
const (
	ReadyTemplate = "mesh.tasks.ready"
	BulkTemplate  = "mesh.tasks.bulk"
)

// TaskRecord is the subject of a task's record.
func TaskRecord(tenant string, id task.ID) string {
	return "$KV." + TasksBucket + "." + tenant + "." + string(id)
}

// TaskChild is the subject that links a child to its parent: a key of the tasks
// bucket beside the records.
func TaskChild(tenant string, parent, child task.ID) string {
	return TaskRecord(tenant, parent) + "." + string(child)
}

// TaskChildren matches the links of a parent.
func TaskChildren(tenant string, parent task.ID) string { return TaskRecord(tenant, parent) + ".*" }

// ChildAny matches the signals that a task has started another one.
const ChildAny = "mesh.control.child.*"

// Child is the core subject that tells the worker of a task that its agent has
// started another one.
func Child(id task.ID) string { return "mesh.control.child." + string(id) }

// TaskRecordsOf matches the records of a tenant.
func TaskRecordsOf(tenant string) string { return "$KV." + TasksBucket + "." + tenant + ".*" }

// TaskEvents is the core subject on which the server republishes each change of
// a task's record, at most once.
func TaskEvents(tenant string, id task.ID) string { return "mesh.events." + tenant + "." + string(id) }

// TaskOutput is the core subject of a task's live output text, at most once.
func TaskOutput(tenant string, id task.ID) string { return "mesh.output." + tenant + "." + string(id) }

// Cancel is the core subject that tells the worker of a task to end it.
func Cancel(id task.ID) string { return "mesh.control.cancel." + string(id) }

// CancelAny matches the cancels of all tasks.
const CancelAny = "mesh.control.cancel.*"

// Told is the core subject on which a worker hears what agents tell the gateway while
// they run, and Kept that of the answer.
func Told(worker string) string  { return "mesh.control.told." + worker }
func Kept(request string) string { return "mesh.control.kept." + request }

// Rival carries the workers whose definition of an agent differs from the one
// that is stored.
const Rival = "mesh.control.rival"

// SubjectID is the task id at the end of a subject.
func SubjectID(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

// KeySubject is where a bucket keeps the value of a key.
func KeySubject(bucket, key string) string { return "$KV." + bucket + "." + key }

// Presences matches what the live workers have written.
const Presences = "$KV." + WorkersBucket + ".>"

// Agents matches the definitions of all agents.
const Agents = "$KV." + AgentsBucket + ".>"

// TenantsAll matches the records of all tenants.
const TenantsAll = "$KV." + TenantsBucket + ".>"

// IdempotencyKey is the bucket key of a request's hash.
func IdempotencyKey(tenant, hash string) string { return tenant + "." + hash }

// ArtifactStream is behind the object store.
const ArtifactStream = "OBJ_" + Artifacts

// ArtifactChunks is the subject of the pieces of an object, in their order.
func ArtifactChunks(nuid string) string { return "$O." + Artifacts + ".C." + nuid }

// ReconcilerKey is where the process that looks for lost work says so, in the
// bucket of idempotency records: a key of no tenant.
const ReconcilerKey = "_mesh.reconciler"

// ArtifactMeta is the subject of what is known of an object.
func ArtifactMeta(name string) string {
	return "$O." + Artifacts + ".M." + base64.URLEncoding.EncodeToString([]byte(name))
}

// ListenersOwner stands in the place of a tenant in the keys under which processes
// say where they listen, beside those of requests.
const ListenersOwner = "_listeners"

// Listeners matches them.
const Listeners = "$KV." + IdempotencyBucket + "." + ListenersOwner + ".*"

// GatewaysOwner stands in the place of a tenant in the keys under which gateways say
// where they are reached: only gateways may write them.
const GatewaysOwner = "_gateways"

// Gateways matches them.
const Gateways = "$KV." + IdempotencyBucket + "." + GatewaysOwner + ".*"

// ArtifactMetas matches what is known of all objects.
const ArtifactMetas = "$O." + Artifacts + ".M.>"

// Artifact is the object name of one value of a task.
func Artifact(tenant, id, name string) string { return tenant + "/" + id + "/" + name }

// RecordsAll matches the records of all tasks of all tenants, and not the links
// of children.
const RecordsAll = "$KV." + TasksBucket + ".*.*"

// DeliveryDue is where a delivery waits for a notifier.
func DeliveryDue(tenant string, id webhook.DeliveryID) string {
	return "mesh.deliveries.due." + tenant + "." + string(id)
}

// DeliveryLater is where a schedule holds a delivery until it is due. It is one
// subject for each delivery, so that publishing again replaces the schedule.
func DeliveryLater(id webhook.DeliveryID) string { return "mesh.deliveries.later." + string(id) }

// DueAll and DueLaterAll match the deliveries that are due and the schedules of
// those that are not.
const (
	DueAll      = "mesh.deliveries.due.>"
	DueLaterAll = "mesh.deliveries.later.>"
)

// DeliveryRecordsAll matches the deliveries of all tenants.
const DeliveryRecordsAll = "$KV." + DeliveriesBucket + ".>"

// DueTemplate names the due subjects in spans: low cardinality.
const DueTemplate = "mesh.deliveries.due"

// DeliveryRecord is the subject of a delivery's record. The source is the task,
// or of a test the webhook.
func DeliveryRecord(tenant string, source webhook.Source, id webhook.DeliveryID) string {
	return "$KV." + DeliveriesBucket + "." + tenant + "." + string(source) + "." + string(id)
}

// DeliveryRecordsOf matches the deliveries of one source.
func DeliveryRecordsOf(tenant string, source webhook.Source) string {
	return DeliveryRecord(tenant, source, "*")
}

// DeliveriesOf matches the deliveries of a tenant.
func DeliveriesOf(tenant string) string { return DeliveryRecord(tenant, "*", "*") }

// Webhook is the subject of a webhook's record.
func Webhook(tenant string, id webhook.ID) string {
	return "$KV." + WebhooksBucket + "." + tenant + "." + string(id)
}

// WebhooksAll matches the webhooks of all tenants.
const WebhooksAll = "$KV." + WebhooksBucket + ".>"

// AuditEntries is where entries of the audit trail are kept, those of one tenant
// and action in one message: the action has two tokens.
func AuditEntries(tenant, action string) string { return "mesh.audit." + tenant + "." + action }

// AuditOf matches the entries of a tenant and an action; empty ones match any.
func AuditOf(tenant, action string) string {
	return AuditEntries(cmp.Or(tenant, "*"), cmp.Or(action, "*.*"))
}

// SecretKey is the key, in the bucket of keys, of the secret key that a mesh
// without one of its operator's makes for itself.
const SecretKey = "_secret"

// SecretPrint is the key, in the bucket of keys, of the fingerprint of the secret
// key that seals.
const SecretPrint = "_secret_fingerprint"

// NotifiersMark is the key, in the bucket of keys, that says that this mesh has
// notifiers.
const NotifiersMark = "_notifiers"

// APIKey is the subject of an API key's record. Names that begin with _ are none.
func APIKey(id string) string { return "$KV." + KeysBucket + "." + id }

// APIKeysAll matches the records of all API keys, and the mesh's own keys of the
// bucket, whose names begin with _.
const APIKeysAll = "$KV." + KeysBucket + ".*"

// APIKeyNames matches them as keys of the bucket.
const APIKeyNames = "*"

// APIKeyUsed is the subject of when an API key was last used: beside the records,
// so that whoever follows those is not told of each use.
func APIKeyUsed(id string) string { return APIKey("_used." + id) }

// Durable consumers of the notifiers, shared by all of them.
const (
	FanoutDurable  = "notifier-fanout"
	DeliverDurable = "notifier-deliver"
)

// FanoutConsumer is the consumer config of the fan-out: every change of every
// task's record, from the first.
func FanoutConsumer(ackWait time.Duration) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: FanoutDurable, FilterSubject: RecordsAll, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: 8192, MaxWaiting: 512, MaxDeliver: -1,
	}
}

// DeliverConsumer is the consumer config of the deliveries that are due.
func DeliverConsumer(ackWait time.Duration) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: DeliverDurable, FilterSubject: DueAll,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: 16384, MaxWaiting: 512, MaxDeliver: -1,
	}
}

// ConsumerDeleted is the core subject on which the server tells, at most once,
// that a consumer was deleted.
func ConsumerDeleted(stream, durable string) string {
	return "$JS.EVENT.ADVISORY.CONSUMER.DELETED." + stream + "." + durable
}

// StreamInfo is where a stream is asked what it holds.
func StreamInfo(stream string) string { return jetstream.DefaultAPIPrefix + "STREAM.INFO." + stream }

// PullSubject is where a worker asks for messages of an agent's consumer.
func PullSubject(stream, durable string) string {
	return jetstream.DefaultAPIPrefix + "CONSUMER.MSG.NEXT." + stream + "." + durable
}

// AgentConsumer is the consumer config of an agent on Tasks. Its MaxAckPending
// is the agent's max_in_flight for the whole mesh. Redelivery is not limited:
// the worker counts attempts itself and settles a task that is out of them. It
// has as many replicas as its stream.
func AgentConsumer(agent string, maxInFlight int, ackWait time.Duration) jetstream.ConsumerConfig {
	return agentConsumer(agent, AgentReady(agent), maxInFlight, ackWait)
}

// TurnConsumer is the consumer config of an agent on Turns.
func TurnConsumer(agent string, maxInFlight int, ackWait time.Duration) jetstream.ConsumerConfig {
	return agentConsumer(agent, AgentTurns(agent), maxInFlight, ackWait)
}

// BulkConsumer is the consumer config of an agent's tasks that wait in bulk. It has
// no limit of its own: each of them runs in the place of a ready one.
func BulkConsumer(agent string, ackWait time.Duration) jetstream.ConsumerConfig {
	c := agentConsumer(agent, AgentBulk(agent), -1, ackWait)
	c.Durable = BulkDurable(agent)
	return c
}

func agentConsumer(agent, filter string, maxInFlight int, ackWait time.Duration) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       AgentDurable(agent),
		FilterSubject: filter,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       ackWait,
		MaxAckPending: maxInFlight,
		MaxWaiting:    4096, // open pulls: a few for each worker process
		MaxDeliver:    -1,
	}
}
