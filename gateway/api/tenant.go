package api

import "time"

// TenantLimits are the limits that a tenant has for itself. Those that are left out
// are the mesh's.
type TenantLimits struct {
	Rate            *float64 `json:"rate,omitempty" doc:"Requests a second at each gateway. Of every limit, -1 is none and 0 allows nothing."`
	Burst           *int     `json:"burst,omitempty" doc:"Requests at once; as many as in a second when 0."`
	Pending         *int     `json:"pending,omitempty" doc:"Tasks that wait or run."`
	PendingPerAgent *int     `json:"pending_per_agent,omitempty" doc:"Tasks of one agent that wait or run."`
	Waits           *int     `json:"waits,omitempty" doc:"Requests that are held for an outcome or a change, at each gateway."`
	Streams         *int     `json:"streams,omitempty" doc:"Streams of events, at each gateway."`
	Webhooks        *int     `json:"webhooks,omitempty"`
	Sessions        *int     `json:"sessions,omitempty"`
}

// EffectiveLimits are the limits that hold for a tenant: its own and the mesh's.
type EffectiveLimits struct {
	Rate            float64 `json:"rate"`
	Burst           int     `json:"burst"`
	Pending         int     `json:"pending"`
	PendingPerAgent int     `json:"pending_per_agent"`
	Waits           int     `json:"waits"`
	Streams         int     `json:"streams"`
	Webhooks        int     `json:"webhooks"`
	Sessions        int     `json:"sessions"`
}

// TenantRequest is the body of PUT /tenants/{name}.
type TenantRequest struct {
	Limits TenantLimits `json:"limits" required:"false" doc:"In place of all that it had of its own."`
}

// Tenant is a tenant that has limits of its own.
type Tenant struct {
	Name      string          `json:"name"`
	Limits    TenantLimits    `json:"limits" doc:"Its own."`
	Effective EffectiveLimits `json:"effective" doc:"Those that hold for it: its own, and the mesh's where it has none."`
	CreatedAt time.Time       `json:"created_at"`
	UpdatedAt time.Time       `json:"updated_at"`
}

// TenantList is the answer of GET /tenants.
type TenantList struct {
	Tenants []Tenant `json:"tenants"`
}
