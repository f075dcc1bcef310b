// Package audit is the noun of the audit trail: an entry says who did what to
// which object, when, and what came of it. It promises that an entry has no room
// for a secret: ids, names and times only. It does not know how entries are kept.
package audit

import (
	"slices"
	"time"
)

// Action is what somebody did: a noun and a verb.
type Action string

// The actions. Those of Created are many and cheap, the others are changes that
// somebody may have to answer for.
const (
	TaskCreate    Action = "task.create"
	TaskCancel    Action = "task.cancel"
	TaskRetry     Action = "task.retry"
	TaskAnswer    Action = "task.answer"
	TaskRedeliver Action = "task.redeliver"
	TaskDelete    Action = "task.delete"
	TaskBulk      Action = "task.bulk"

	SessionOpen    Action = "session.open"
	SessionFork    Action = "session.fork"
	SessionMessage Action = "session.message"
	SessionDelete  Action = "session.delete"

	WebhookCreate    Action = "webhook.create"
	WebhookUpdate    Action = "webhook.update"
	WebhookRotate    Action = "webhook.rotate"
	WebhookTest      Action = "webhook.test"
	WebhookRedeliver Action = "webhook.redeliver"
	WebhookDelete    Action = "webhook.delete"
	DeliveryRetry    Action = "delivery.redeliver"
	DeliveryBulk     Action = "delivery.bulk"

	PushCreate Action = "push.create"
	PushDelete Action = "push.delete"

	AgentDelete Action = "agent.delete"
	AgentPause  Action = "agent.pause"
	AgentResume Action = "agent.resume"

	ScheduleCreate   Action = "schedule.create"
	ScheduleUpdate   Action = "schedule.update"
	SchedulePause    Action = "schedule.pause"
	ScheduleResume   Action = "schedule.resume"
	ScheduleTrigger  Action = "schedule.trigger"
	ScheduleBackfill Action = "schedule.backfill"
	ScheduleDelete   Action = "schedule.delete"

	HookCreate Action = "hook.create"
	HookUpdate Action = "hook.update"
	HookRotate Action = "hook.rotate"
	HookPause  Action = "hook.pause"
	HookResume Action = "hook.resume"
	HookDelete Action = "hook.delete"

	KeyCreate Action = "key.create"
	KeyRotate Action = "key.rotate"
	KeyRevoke Action = "key.revoke"

	TenantSet    Action = "tenant.set"
	TenantDelete Action = "tenant.delete"
)

// Actions lists them.
var Actions = []Action{
	TaskCreate, TaskCancel, TaskRetry, TaskAnswer, TaskRedeliver, TaskDelete, TaskBulk,
	SessionOpen, SessionFork, SessionMessage, SessionDelete,
	WebhookCreate, WebhookUpdate, WebhookRotate, WebhookTest, WebhookRedeliver, WebhookDelete, DeliveryRetry, DeliveryBulk,
	PushCreate, PushDelete, AgentDelete, AgentPause, AgentResume,
	ScheduleCreate, ScheduleUpdate, SchedulePause, ScheduleResume, ScheduleTrigger, ScheduleBackfill, ScheduleDelete,
	HookCreate, HookUpdate, HookRotate, HookPause, HookResume, HookDelete,
	KeyCreate, KeyRotate, KeyRevoke,
	TenantSet, TenantDelete,
}

// Valid reports whether a is one of Actions.
func (a Action) Valid() bool { return slices.Contains(Actions, a) }

// The outcomes of an action. One that was refused changed nothing, so it is no
// entry.
const (
	Done    = "done"
	Unknown = "unknown" // the store did not answer: it may have happened
)

// Entry is one action.
type Entry struct {
	At      time.Time `json:"at"`
	Tenant  string    `json:"tenant"`
	Subject string    `json:"subject,omitempty"` // who asked; empty: nobody was asked who they are
	KeyID   string    `json:"key_id,omitempty"`  // of the API key that was shown
	Address string    `json:"address,omitempty"` // where the request came from, if the face knows
	Action  Action    `json:"action"`
	Object  string    `json:"object,omitempty"` // id or name
	Outcome string    `json:"outcome"`
	TraceID string    `json:"trace_id,omitempty"`
}

// Filter is what a listing of entries asks for. Its zero value asks for all.
type Filter struct {
	Tenant string
	Action Action
	Object string
	KeyID  string
	After  time.Time // later than this
	Before time.Time // earlier than this
}

// Match reports whether the filter asks for e.
func (f Filter) Match(e Entry) bool {
	return (f.Tenant == "" || f.Tenant == e.Tenant) && (f.Action == "" || f.Action == e.Action) &&
		(f.Object == "" || f.Object == e.Object) && (f.KeyID == "" || f.KeyID == e.KeyID) &&
		(f.After.IsZero() || e.At.After(f.After)) && (f.Before.IsZero() || e.At.Before(f.Before))
}
