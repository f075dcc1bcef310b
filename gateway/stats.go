package gateway

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
	"agentmesh/shared/telemetry"
)

// stats counts what the whole mesh has.
type stats struct {
	mesh   *mesh.Mesh
	census *census
	limit  int64 // of the embedded server's storage; 0: the account's is the only one
	log    *slog.Logger
}

func (h stats) routes() []route {
	return []route{
		operation("GET", "/stats", auth.Admin, "getStats", "Count what waits and runs in the whole mesh", h.getStats),
		operation("GET", "/stats/history", auth.Admin, "getStatsHistory", "Count what became of tasks in the last minutes, and who called whom", h.getHistory),
	}
}

// census keeps the last count for a moment: metrics and clients share it.
type census struct {
	store *store.Store

	mu   sync.Mutex
	last store.Census
}

const censusKept = 2 * time.Second

func (c *census) read(ctx context.Context) (store.Census, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.last.At) < censusKept {
		return c.last, nil
	}
	now, err := c.store.Census(ctx)
	if err == nil {
		c.last = now
	}
	return now, err
}

// getStats is GET /stats.
func (h stats) getStats(ctx context.Context, _ plain) (out fresh[api.Stats], err error) {
	c, err := h.census.read(context.WithoutCancel(ctx))
	if err != nil {
		return out, err
	}
	return fresh[api.Stats]{Body: new(statsOf(c, h.storageLimit(c)))}, nil
}

func statsOf(c store.Census, limit int64) api.Stats {
	s := api.Stats{
		At: c.At, Agents: []api.AgentStats{}, Workers: []api.WorkerStats{}, Scheduled: c.Scheduled, InputRequired: c.Asking, Sessions: c.Sessions, Storage: api.StorageStats{Used: c.Used, Limit: limit},
		Deliveries: api.DeliveryStats{
			Due: c.Deliveries.Due, Scheduled: c.Deliveries.Scheduled, OldestAge: age(c.At, c.Deliveries.Oldest), FanoutLag: c.FanoutLag,
		},
	}
	for _, d := range c.Missing {
		s.Missing = append(s.Missing, d.String())
	}
	for _, q := range c.Agents {
		a := api.AgentStats{Name: q.Agent, Waiting: q.Waiting, Bulk: q.Bulk, OldestAge: age(c.At, q.Oldest), InFlight: q.InFlight, Limit: q.Limit, Paused: q.Paused}
		for _, w := range mesh.Serving(c.Workers, q.Agent) {
			a.LiveWorkers++
			a.Slots += w.Slots
		}
		s.Agents = append(s.Agents, a)
	}
	for _, p := range c.Workers {
		w := api.WorkerStats{WorkerID: p.WorkerID, Host: p.Host, StartedAt: p.StartedAt, SeenAt: p.Seen, Agents: []string{}}
		for _, served := range p.Agents {
			w.Agents = append(w.Agents, served.Name)
			w.Slots += served.Slots
			w.Busy += served.Busy
		}
		s.Workers = append(s.Workers, w)
	}
	return s
}

// age is how old at is in seconds, 0 where it is not known.
func age(now, at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return max(now.Sub(at).Seconds(), 0)
}

// storageLimit is the account's, or that of the embedded server.
func (h stats) storageLimit(c store.Census) int64 {
	if c.Limit == 0 {
		return h.limit
	}
	return c.Limit
}

// observe reads the gauges of the whole mesh. Every gateway exports the same
// numbers: take their maximum, not their sum.
func (h stats) observe(ctx context.Context, set func(*telemetry.Gauge, float64, ...string)) {
	c, err := h.census.read(ctx)
	if err != nil {
		h.log.Debug("mesh not counted", "error", err)
		return
	}
	s := statsOf(c, h.storageLimit(c))
	for _, a := range s.Agents {
		set(telemetry.QueueDepth, float64(a.Waiting), a.Name)
		set(telemetry.QueueBulk, float64(a.Bulk), a.Name)
		set(telemetry.QueueOldestAge, a.OldestAge, a.Name)
		set(telemetry.TasksInFlight, float64(a.InFlight), a.Name)
		set(telemetry.TasksLimit, float64(a.Limit), a.Name)
		set(telemetry.WorkersLive, float64(a.LiveWorkers), a.Name)
	}
	set(telemetry.TasksScheduled, float64(s.Scheduled))
	set(telemetry.Sessions, float64(s.Sessions))
	set(telemetry.DeliveriesDue, float64(s.Deliveries.Due))
	set(telemetry.DeliveriesScheduled, float64(s.Deliveries.Scheduled))
	set(telemetry.DeliveriesOldestAge, s.Deliveries.OldestAge)
	set(telemetry.FanoutLag, float64(s.Deliveries.FanoutLag))
	set(telemetry.ConsumersAway, float64(len(s.Missing)))
	set(telemetry.StorageUsed, float64(s.Storage.Used))
	if s.Storage.Limit > 0 {
		set(telemetry.StorageLimit, float64(s.Storage.Limit))
	}
	for _, stream := range c.Streams {
		set(telemetry.StreamMessages, float64(stream.Messages), stream.Name)
		set(telemetry.StreamSize, float64(stream.Bytes), stream.Name)
	}
}
