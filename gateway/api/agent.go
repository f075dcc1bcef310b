package api

import (
	"encoding/json"
	"time"
)

// Agent is an agent as clients see it.
type Agent struct {
	Name         string          `json:"name"`
	Description  string          `json:"description,omitempty"`
	Version      string          `json:"version,omitempty"`
	Greeting     string          `json:"greeting,omitempty"`
	Default      bool            `json:"default,omitempty" doc:"Runs the tasks that name no agent."`
	InputSchema  json.RawMessage `json:"input_schema,omitempty" doc:"JSON Schema of the input."`
	OutputSchema json.RawMessage `json:"output_schema,omitempty" doc:"JSON Schema of a task's result."`
	Concurrency  int             `json:"concurrency" doc:"Slots of each worker."`
	MaxInFlight  int             `json:"max_in_flight" doc:"Slots in the whole mesh."`
	Timeout      string          `json:"timeout" doc:"Of one attempt."`
	MaxAttempts  int             `json:"max_attempts"`
	LiveWorkers  int             `json:"live_workers"`
	Conflict     bool            `json:"conflict,omitempty" doc:"Live workers serve different definitions of it, and no version says which is the newer: tasks are checked against the one that was there first."`
	Paused       bool            `json:"paused,omitempty" doc:"No worker begins a task of it: POST /agents/{name}/resume."`
	PausedUntil  time.Time       `json:"paused_until,omitzero" doc:"When the pause ends by itself; none: when somebody resumes it."`
	Workers      []AgentWorker   `json:"workers"`
}

// AgentList is the answer of GET /agents.
type AgentList struct {
	Agents []Agent `json:"agents"`
}

// AgentWorker is a live worker of an agent.
type AgentWorker struct {
	WorkerID  string    `json:"worker_id"`
	Version   string    `json:"version,omitempty"`
	Slots     int       `json:"slots"`
	Busy      int       `json:"busy" doc:"Slots taken, a second or two ago."`
	StartedAt time.Time `json:"started_at"`
	Away      string    `json:"away,omitempty" doc:"Why it takes no tasks of the agent, such as an agent of others that is offline."`
}

// RemovedAgent is the answer of a DELETE that leaves tasks waiting.
type RemovedAgent struct {
	Name    string `json:"name"`
	Waiting int    `json:"waiting" doc:"Tasks and turns that go on waiting for an agent of this name."`
	Warning string `json:"warning"`
}

// PauseAgent is the body of POST /agents/{name}/pause; it may be left out.
type PauseAgent struct {
	For string `json:"for,omitempty" example:"1h" doc:"How long, at most 8760h; until somebody resumes it when left out."`
}
