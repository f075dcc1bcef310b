package auth

import "slices"

// Scope is one permission.
type Scope string

// The scopes that a caller can have.
const (
	TasksRead       Scope = "tasks:read"
	TasksWrite      Scope = "tasks:write"
	TasksInput      Scope = "tasks:input" // answer the questions of agents
	TasksDebug      Scope = "tasks:debug" // what an agent printed when it failed
	SessionsRead    Scope = "sessions:read"
	SessionsWrite   Scope = "sessions:write"
	WebhooksRead    Scope = "webhooks:read" // also what was delivered
	WebhooksWrite   Scope = "webhooks:write"
	DeliveriesWrite Scope = "deliveries:write" // deliver again
	AgentsRead      Scope = "agents:read"
	SchedulesRead   Scope = "schedules:read"
	SchedulesWrite  Scope = "schedules:write"
	HooksRead       Scope = "hooks:read"
	HooksWrite      Scope = "hooks:write"
	EventsRead      Scope = "events:read"
	Admin           Scope = "admin" // the whole mesh, and acting for any tenant
	All             Scope = "*"     // all but Admin
)

// Other demands of an operation: nobody has these as a scope.
const (
	Public Scope = "public" // nobody is asked who they are
	Known  Scope = "known"  // any caller that is known
)

// Scopes are those that a caller can be given, as the manual lists them.
var Scopes = []Scope{
	TasksRead, TasksWrite, TasksInput, TasksDebug, SessionsRead, SessionsWrite, WebhooksRead, WebhooksWrite, DeliveriesWrite,
	AgentsRead, SchedulesRead, SchedulesWrite, HooksRead, HooksWrite, EventsRead, All, Admin,
}

// Valid reports whether a caller can be given the scope.
func (s Scope) Valid() bool { return slices.Contains(Scopes, s) }
