package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Stats is what waits and runs in the whole mesh.
type Stats struct {
	At      time.Time    `json:"at"`
	Agents  []AgentStats `json:"agents"`
	Workers []struct {
		WorkerID  string    `json:"worker_id"`
		Host      string    `json:"host"`
		StartedAt time.Time `json:"started_at"`
		Agents    []string  `json:"agents"`
		Slots     int       `json:"slots"`
		Busy      int       `json:"busy"` // a second or two ago
	} `json:"workers"`
	Scheduled  int `json:"scheduled"` // tasks and retries that wait for their time
	Sessions   int `json:"sessions"`
	Deliveries struct {
		Due       int     `json:"due"`
		Scheduled int     `json:"scheduled"`
		OldestAge float64 `json:"oldest_age_seconds"`
		FanoutLag int     `json:"fanout_lag"`
	} `json:"deliveries"`
	Storage struct {
		Used  int64 `json:"used_bytes"`
		Limit int64 `json:"limit_bytes,omitempty"` // 0: not known
	} `json:"storage"`
	Missing []string `json:"missing_consumers,omitempty"` // deleted, though a role lives on them
}

// AgentStats is the queue of one agent.
type AgentStats struct {
	Name        string  `json:"name"`
	Waiting     int     `json:"waiting"`
	OldestAge   float64 `json:"oldest_age_seconds"`
	InFlight    int     `json:"in_flight"`
	Limit       int     `json:"limit"` // of InFlight, in the whole mesh
	LiveWorkers int     `json:"live_workers"`
	Slots       int     `json:"slots"`
}

// Stats counts what waits and runs.
func (c *Client) Stats(ctx context.Context) (*Stats, error) {
	var s Stats
	err := c.call(ctx, http.MethodGet, "/stats", nil, nil, &s)
	return &s, err
}

// TaskDeliveries lists what was sent of a task, or of an action.
func (c *Client) TaskDeliveries(ctx context.Context, id string) ([]Delivery, error) {
	var out struct {
		Deliveries []Delivery `json:"deliveries"`
	}
	err := c.call(ctx, http.MethodGet, "/tasks/"+url.PathEscape(id)+"/deliveries", nil, nil, &out)
	return out.Deliveries, err
}
