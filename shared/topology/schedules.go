package topology

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/schedule"
)

// Schedules is the stream of the alarms of schedules, SchedulesBucket the bucket
// of their records.
const (
	Schedules       = "MESH_SCHEDULES"
	SchedulesBucket = "schedules"
)

// SchedulerDurable is the consumer of the alarms that went off, shared by all
// gateways.
const SchedulerDurable = "scheduler"

// Schedule is the subject of a schedule's record.
func Schedule(tenant string, id schedule.ID) string {
	return "$KV." + SchedulesBucket + "." + tenant + "." + string(id)
}

// SchedulesAll matches the schedules of all tenants.
const SchedulesAll = "$KV." + SchedulesBucket + ".>"

// ScheduleAlarm is where the server holds the alarm of a schedule until it goes
// off. It is one subject for each schedule, so that publishing again replaces it.
func ScheduleAlarm(tenant string, id schedule.ID) string {
	return "mesh.schedules.at." + tenant + "." + string(id)
}

// ScheduleDue is where an alarm that went off waits for a gateway.
func ScheduleDue(tenant string, id schedule.ID) string {
	return "mesh.schedules.due." + tenant + "." + string(id)
}

const (
	schedulesAt  = "mesh.schedules.at.>"
	schedulesDue = "mesh.schedules.due.>"
)

// SchedulesFanoutDurable is the consumer of the changes of schedules, shared by all
// notifiers.
const SchedulesFanoutDurable = "notifier-schedules"

// SchedulesFanoutConsumer is the consumer config of every schedule's record as it is
// now: the bucket keeps none of before.
func SchedulesFanoutConsumer(ackWait time.Duration) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: SchedulesFanoutDurable, FilterSubject: SchedulesAll, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: 1024, MaxWaiting: 512, MaxDeliver: -1,
	}
}

// SchedulerConsumer is the consumer config of the alarms that went off.
func SchedulerConsumer(ackWait time.Duration) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: SchedulerDurable, FilterSubject: schedulesDue,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: 1024, MaxWaiting: 512, MaxDeliver: -1,
	}
}
