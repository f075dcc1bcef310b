package api

import "time"

// Stats is what waits and runs in the whole mesh.
type Stats struct {
	At         time.Time     `json:"at" doc:"When it was counted: at most 2 s ago."`
	Agents     []AgentStats  `json:"agents"`
	Workers    []WorkerStats `json:"workers"`
	Scheduled  int           `json:"scheduled" doc:"Tasks and retries that wait for their time."`
	Sessions   int           `json:"sessions" doc:"Sessions that are kept."`
	Deliveries DeliveryStats `json:"deliveries"`
	Storage    StorageStats  `json:"storage"`
	Missing    []string      `json:"missing_consumers,omitempty" doc:"Consumers that were deleted and that a role lives on. What waits for one cannot be told from what is scheduled, so all of it counts as waiting."`
}

// AgentStats is the queue of one agent.
type AgentStats struct {
	Name        string  `json:"name"`
	Waiting     int     `json:"waiting" doc:"Tasks that wait for a worker."`
	Bulk        int     `json:"bulk" doc:"Of these, tasks of tenants that have many: others go before them."`
	OldestAge   float64 `json:"oldest_age_seconds" doc:"How long the task waits that waits longest."`
	InFlight    int     `json:"in_flight" doc:"Tasks that workers hold."`
	Limit       int     `json:"limit" doc:"How many may run in the mesh."`
	Paused      bool    `json:"paused,omitempty" doc:"Nothing is given to a worker: somebody has paused the agent."`
	LiveWorkers int     `json:"live_workers"`
	Slots       int     `json:"slots" doc:"Of the live workers."`
}

// WorkerStats is one live worker.
type WorkerStats struct {
	WorkerID  string    `json:"worker_id"`
	Host      string    `json:"host,omitempty"`
	StartedAt time.Time `json:"started_at"`
	Agents    []string  `json:"agents"`
	Slots     int       `json:"slots"`
	Busy      int       `json:"busy" doc:"Slots taken, a second or two ago."`
}

// DeliveryStats is what is on its way to receivers.
type DeliveryStats struct {
	Due       int     `json:"due" doc:"Waiting for a notifier, or held by one."`
	Scheduled int     `json:"scheduled" doc:"Waiting for their next attempt."`
	OldestAge float64 `json:"oldest_age_seconds" doc:"Age of the oldest undelivered one, of those that have rested longest."`
	FanoutLag int     `json:"fanout_lag" doc:"Changes of records that no notifier has read yet."`
}

// StorageStats is what the mesh keeps on disk.
type StorageStats struct {
	Used  int64 `json:"used_bytes"`
	Limit int64 `json:"limit_bytes,omitempty" doc:"None: no limit is known."`
}
