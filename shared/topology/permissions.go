package topology

import (
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// Permissions are the subjects that a NATS user of the mesh needs, and no others. A
// user without subjects to publish to may publish nothing.
type Permissions struct {
	User      string
	Publish   []string
	Subscribe []string
	// Answers has the user publish to where the messages that it gets say that answers
	// go, for a while, and nowhere else.
	Answers bool
}

// Roles are the permissions of a role by its name: agents are those of a worker. ok is
// false where there is no such role.
func Roles(role string, agents ...string) (p Permissions, ok bool) {
	switch role {
	case AdminUser:
		return Admin(), true
	case GatewayUser:
		return Gateway(), true
	case NotifierUser:
		return Notifier(), true
	case FaceUser:
		return Face(), true
	case CallerUser:
		return Caller(), true
	case BackupUser:
		return Backup(), true
	case "worker":
		return Worker("", agents...), true
	}
	return p, false
}

// Users that there is one of in every mesh. Each has the inbox that its name says,
// as natsconn gives it.
const (
	AdminUser    = "admin"
	GatewayUser  = "gateway"
	NotifierUser = "notifier"
	FaceUser     = "face"
	CallerUser   = "caller"
	BackupUser   = "backup"
)

// WorkerUser is the user of workers of some agents, EventsUser that of who is told
// what happens in a tenant.
func WorkerUser(name string) string   { return "worker." + name }
func EventsUser(tenant string) string { return "events." + tenant }

// Admin may make, change and delete streams and consumers, and read and write what
// they hold. Nobody else makes or deletes a stream.
func Admin() Permissions {
	p := Permissions{User: AdminUser}
	p.subscribe(inbox(AdminUser))
	p.publish("$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$JS.SNAPSHOT.>", "$KV.>", "$O.>", "mesh.>", UserInfo)
	p.subscribe("$JS.EVENT.>", "mesh.>")
	return p
}

// Gateway may do what the HTTP interface offers, and repair: it reads and writes
// everything but the streams' settings.
func Gateway() Permissions {
	p := user(GatewayUser)
	p.asks()
	p.publish("$KV."+AgentsBucket+".*", APIKey("*"), APIKeyUsed("*"), "$KV."+TenantsBucket+".*",
		Webhook("*", "*"), DeliveryRecord("*", "*", "*"), DeliveryDue("*", "*"), DeliveryLater("*"))
	p.api("INFO", "STREAM.LIST", "STREAM.PURGE."+BucketStream(KeysBucket), // of keys that have ended
		"STREAM.MSG.GET."+Deliveries, "STREAM.MSG.DELETE."+Deliveries)
	p.publish(Schedule("*", "*"), ScheduleAlarm("*", "*"), Hook("*", "*"), HookRecent("*", "*"), Told("*"), Push("*", "*", "*"))
	p.subscribe(Kept("*"))
	p.api("STREAM.MSG.GET."+Schedules, "STREAM.MSG.DELETE."+Schedules)
	p.takes(Schedules, SchedulerConsumer(0))
	for _, bucket := range []string{WebhooksBucket, DeliveriesBucket, KeysBucket, SchedulesBucket, HooksBucket, PushesBucket} {
		p.api("STREAM.MSG.GET." + BucketStream(bucket))
		p.walks(BucketStream(bucket), ">")
	}
	p.walks(Audit, AuditOf("", ""))
	p.walks(ArtifactStream, ArtifactMetas)
	p.journals()
	p.serves() // --synadia on
	p.watches(BucketStream(KeysBucket))
	for _, queue := range []string{Tasks, Turns} { // of agents that are removed, or paused
		p.api("CONSUMER.LIST."+queue, "CONSUMER.NAMES."+queue, "CONSUMER.DELETE."+queue+".*", "CONSUMER.PAUSE."+queue+".*")
	}
	p.api("CONSUMER.CREATE."+Tasks+".*."+AgentReady("*"), "CONSUMER.CREATE."+Tasks+".*."+AgentBulk("*"), "CONSUMER.CREATE."+Turns+".*."+AgentTurns("*"),
		"CONSUMER.INFO."+BucketStream(TasksBucket)+"."+FanoutDurable, "CONSUMER.INFO."+Deliveries+"."+DeliverDurable)
	return p
}

// Face may speak the Synadia Agent Protocol for a gateway, and nothing of the mesh: a
// connection of its own, in this account or in a tenant's.
func Face() Permissions {
	p := Permissions{User: FaceUser}
	p.serves()
	return p
}

// Caller may find the agents of the Synadia Agent Protocol, prompt them, hear that they
// live and answer what they ask: who may prompt the agents of a tenant may run them.
func Caller() Permissions {
	p := Permissions{User: CallerUser}
	p.subscribe(inbox(CallerUser), "agents.hb.>")
	p.publish("$SRV.PING.agents", "$SRV.PING.agents.*", "$SRV.INFO.agents", "$SRV.INFO.agents.*", "agents.prompt.>", "agents.status.>", AgentAnswers, UserInfo)
	return p
}

// AgentAnswers is where callers answer what agents ask them.
const AgentAnswers = "_INBOX.agents.>"

// serves lets the user have agents be found and prompted.
func (p *Permissions) serves() {
	p.publish("agents.hb.agentmesh.>")
	p.subscribe("$SRV.PING", "$SRV.INFO", "$SRV.STATS", "$SRV.*.agents", "$SRV.*.agents.*", "agents.prompt.agentmesh.>", "agents.status.agentmesh.>", AgentAnswers)
	p.Answers = true
}

// Worker may take and settle the work of some agents, and call others. It reads no
// queue but by the consumers of its agents. The records of tasks and sessions do not
// name an agent in their subjects: NATS lets it read and write all of them.
func Worker(name string, agents ...string) Permissions {
	p := user(WorkerUser(name))
	p.records()
	p.reads()
	p.journals()
	p.publish("$KV."+WorkersBucket+".*", Listeners, TaskOutput("*", "*"), Rival, Kept("*"))
	p.subscribe(CancelAny, ChildAny, Told("*"), Rival, TaskEvents("*", "*"))
	p.walks(BucketStream(IdempotencyBucket), Gateways) // for programs of agents
	p.publish(usageOf("*", "*"))
	p.api("STREAM.MSG.GET." + BucketStream(UsageBucket))
	for _, agent := range agents {
		p.publish("$KV."+AgentsBucket+"."+agent, Turn("*", agent, "*"))
		p.takes(Tasks, AgentConsumer(agent, 1, 0))
		p.takes(Tasks, BulkConsumer(agent, 0))
		p.takes(Turns, TurnConsumer(agent, 1, 0))
	}
	return p
}

// Notifier may read what has happened, and deliver.
func Notifier() Permissions {
	p := user(NotifierUser)
	p.publish(DeliveryRecord("*", "*", "*"), Webhook("*", "*"), DeliveryDue("*", "*"), DeliveryLater("*"), Listeners,
		"$KV."+KeysBucket+"."+NotifiersMark, "$KV."+KeysBucket+"."+SecretKey, "$KV."+KeysBucket+"."+SecretPrint)
	for _, bucket := range []string{DeliveriesBucket, WebhooksBucket, KeysBucket, PushesBucket} {
		p.api("STREAM.MSG.GET." + BucketStream(bucket))
	}
	p.walks(BucketStream(WebhooksBucket), WebhooksAll)
	p.walks(BucketStream(PushesBucket), ">")
	p.walks(BucketStream(IdempotencyBucket), Listeners)
	p.takes(BucketStream(TasksBucket), FanoutConsumer(0))
	p.takes(BucketStream(SchedulesBucket), SchedulesFanoutConsumer(0))
	p.takes(Deliveries, DeliverConsumer(0))
	return p
}

// Backup may copy what the mesh holds, and change nothing.
func Backup() Permissions {
	p := user(BackupUser)
	for _, stream := range BackupOrder() {
		p.publish(SnapshotOf(stream))
	}
	p.publish(snapshotAcks)
	p.api("STREAM.MSG.GET." + BucketStream(KeysBucket))
	return p
}

// Events may hear what happens to the tasks of a tenant, and nothing else.
func Events(tenant string) Permissions {
	return Permissions{User: EventsUser(tenant), Subscribe: []string{TaskEvents(tenant, "*")}}
}

// user is a user who may look whether the streams are there, and be answered.
func user(name string) Permissions {
	p := Permissions{User: name}
	p.subscribe(inbox(name))
	p.publish(UserInfo)
	for _, s := range Streams(Settings{Replicas: 1}) {
		p.api("STREAM.INFO." + s.Name)
	}
	return p
}

const inboxes = "_INBOX."

func inbox(name string) string { return inboxes + name + ".>" }

func (p *Permissions) publish(subjects ...string)   { p.Publish = add(p.Publish, subjects) }
func (p *Permissions) subscribe(subjects ...string) { p.Subscribe = add(p.Subscribe, subjects) }

func add(to, subjects []string) []string {
	for _, s := range subjects {
		if !slices.Contains(to, s) {
			to = append(to, s)
		}
	}
	return to
}

// api lets the user ask JetStream.
func (p *Permissions) api(requests ...string) {
	for _, r := range requests {
		p.publish(apiOf(r))
	}
}

// apiOf is where JetStream is asked for something.
func apiOf(request string) string { return jetstream.DefaultAPIPrefix + request }

// records lets the user write the records of tasks and sessions, accept tasks, and
// keep large values.
func (p *Permissions) records() {
	p.publish(TaskReady("*", "*", "*"), TaskLater("*"), TaskRecord("*", "*"), TaskChild("*", "*", "*"),
		Session("*", "*"), SessionText("*", "*", "*"), Cancel("*"), ArtifactChunks("*"), "$O."+Artifacts+".M.*")
}

// reads lets the user read the records of tasks and sessions, who serves which
// agent, and large values.
func (p *Permissions) reads() {
	for _, stream := range []string{BucketStream(TasksBucket), BucketStream(SessionsBucket), BucketStream(AgentsBucket), BucketStream(WorkersBucket), ArtifactStream} {
		p.api("STREAM.MSG.GET." + stream)
	}
}

// journals lets the user read, write and end the journals of tasks.
func (p *Permissions) journals() {
	p.publish(Step("*", "*", "*"))
	p.api("STREAM.MSG.GET."+Steps, "STREAM.PURGE."+Steps)
}

// walks lets the user read what is on a subject of a stream, by consumers of its own.
func (p *Permissions) walks(stream, subject string) {
	p.api("CONSUMER.CREATE."+stream+".*."+subject, "CONSUMER.DELETE."+stream+".*", "CONSUMER.MSG.NEXT."+stream+".*")
}

// watches lets the user have the changes of a bucket pushed.
func (p *Permissions) watches(stream string) {
	p.api("CONSUMER.CREATE."+stream+".*.>", "CONSUMER.DELETE."+stream+".*")
	p.publish("$JS.FC." + stream + ".>")
}

// asks lets the user do everything with tasks and sessions that clients may.
func (p *Permissions) asks() {
	p.records()
	p.reads()
	p.api("STREAM.MSG.GET."+BucketStream(UsageBucket), "STREAM.MSG.GET."+BucketStream(TenantsBucket), "STREAM.MSG.GET."+BucketStream(IdempotencyBucket))
	for _, bucket := range []string{TasksBucket, SessionsBucket, IdempotencyBucket} {
		p.walks(BucketStream(bucket), ">")
	}
	p.watches(BucketStream(AgentsBucket))
	p.watches(BucketStream(TenantsBucket))
	p.publish(TaskBulk("*", "*", "*"), Turn("*", "*", "*"), Child("*"), "$KV."+IdempotencyBucket+".*.*", AuditOf("", ""))
	p.subscribe(TaskEvents("*", "*"), TaskOutput("*", "*"), StepEvents("*", "*"), SessionEvents("*", "*"), SessionTurns("*", "*"))
	for _, queue := range []string{Tasks, Turns} {
		p.api("STREAM.MSG.GET."+queue, "STREAM.MSG.DELETE."+queue, "CONSUMER.INFO."+queue+".*")
	}
}

// takes lets the user make a durable consumer and take its messages.
func (p *Permissions) takes(stream string, c jetstream.ConsumerConfig) {
	p.api("CONSUMER.INFO."+stream+"."+c.Durable, "CONSUMER.MSG.NEXT."+stream+"."+c.Durable,
		"CONSUMER.CREATE."+stream+"."+c.Durable+"."+c.FilterSubject)
	p.publish("$JS.ACK."+stream+"."+c.Durable+".>", "$JS.ACK.*.*."+stream+"."+c.Durable+".>") // of either form
	p.subscribe(ConsumerDeleted(stream, c.Durable))
}
