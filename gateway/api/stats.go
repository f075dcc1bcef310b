package api

import "time"

// Stats is what waits and runs in the whole mesh.
type Stats struct {
	At        time.Time     `json:"at" doc:"When it was counted: at most 2 s ago."`
	Agents    []AgentStats  `json:"agents"`
	Workers   []WorkerStats `json:"workers"`
	Scheduled int           `json:"scheduled" doc:"Tasks and retries that wait for their time, or for an answer."`
	// InputRequired is a part of Scheduled.
	InputRequired int           `json:"input_required" doc:"Tasks of them that wait for a person. Where more than 1,000 are scheduled, the first 1,000 were looked at."`
	Sessions      int           `json:"sessions" doc:"Sessions that are kept."`
	Deliveries    DeliveryStats `json:"deliveries"`
	Storage       StorageStats  `json:"storage"`
	Missing       []string      `json:"missing_consumers,omitempty" doc:"Consumers that were deleted and that a role lives on. What waits for one cannot be told from what is scheduled, so all of it counts as waiting."`
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
	SeenAt    time.Time `json:"seen_at,omitzero" doc:"When it last said that it is there, which it does every 30 s."`
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

// StatsHistory is what became of tasks in the last minutes, as the gateway that answers
// has counted it.
type StatsHistory struct {
	From    time.Time      `json:"from"`
	To      time.Time      `json:"to"`
	Step    float64        `json:"step_seconds"`
	Whole   time.Time      `json:"whole_from" doc:"The counts are whole from here on: of what was before, as much was read as there was time for."`
	Filling bool           `json:"filling,omitempty" doc:"The records of the minutes before are still being read: ask again."`
	Points  []HistoryPoint `json:"points" doc:"Oldest first, one for each step; the last one is not over."`
	Agents  []HistoryAgent `json:"agents" doc:"By name; over all steps."`
	Calls   []HistoryCalls `json:"calls" doc:"Tasks that agents called, the most frequent first; over all steps."`
}

// HistoryCounts are what became of tasks.
type HistoryCounts struct {
	Accepted  int     `json:"accepted" doc:"By their creation. One that still waits is not among them: it has no record."`
	Completed int     `json:"completed" doc:"This and the next: by their end."`
	Failed    int     `json:"failed"`
	Canceled  int     `json:"canceled"`
	P50       float64 `json:"run_p50_ms,omitempty" doc:"Of those that have ended, from the start of the first attempt; to about a tenth."`
	P95       float64 `json:"run_p95_ms,omitempty"`
}

// HistoryPoint is one step.
type HistoryPoint struct {
	At time.Time `json:"at" doc:"When it began."`
	HistoryCounts
	Queued int           `json:"queued" doc:"Messages that the queues were given: what was accepted, and what was queued again. Of all agents."`
	Now    *HistoryGauge `json:"now,omitempty" doc:"At the end of the step; left out where nobody has looked then."`
}

// HistoryGauge is what waited and ran at one moment.
type HistoryGauge struct {
	Waiting   int     `json:"waiting"`
	InFlight  int     `json:"in_flight"`
	OldestAge float64 `json:"oldest_age_seconds" doc:"How long the task waited that waited longest."`
}

// HistoryAgent is one agent.
type HistoryAgent struct {
	Name string `json:"name"`
	HistoryCounts
}

// HistoryCalls counts the tasks of one agent that another one has called.
type HistoryCalls struct {
	Caller string `json:"caller"`
	Callee string `json:"callee"`
	Calls  int    `json:"calls"`
	Failed int    `json:"failed"`
}
