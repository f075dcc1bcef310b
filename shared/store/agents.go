package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// ErrServed means that a live worker serves the agent.
var ErrServed = errors.New("the agent is served")

// Remove forgets an agent that no live worker serves: its definition, and
// its consumers where nothing waits. It loses no work: waiting tasks and turns
// stay in the queue, in their order and with their consumer, for the next worker
// that serves an agent of this name; Remove counts them. The error is
// task.ErrNotFound when there is nothing to forget, ErrServed when a worker
// serves the agent, and task.ErrConflict when it was registered meanwhile.
func (s Registry) Remove(ctx context.Context, name string) (waiting int, rev uint64, err error) {
	d, err := s.Agent(ctx, name)
	known := err == nil
	if err != nil && !errors.Is(err, task.ErrNotFound) {
		return 0, 0, err
	}
	if err := s.unserved(ctx, name); err != nil {
		return 0, 0, err
	}
	if known {
		if err := s.dropDefinition(ctx, d); err != nil {
			return 0, 0, fmt.Errorf("remove agent %s: %w", name, classify(err))
		}
		// A worker is present before it reads the registry. One that came now and
		// found its definition stored does not store it again.
		if err := s.unserved(ctx, name); err != nil {
			if data, wrong := marshal(d.Definition); wrong == nil {
				_, _ = s.agents.Create(ctx, name, data)
			}
			return 0, 0, err
		}
	}
	had := false
	for _, q := range Queues {
		n, found, err := dropConsumer(ctx, s.queue(q), q.durable(name))
		if err != nil {
			return 0, 0, fmt.Errorf("remove agent %s: %w", name, classify(err))
		}
		waiting, had = waiting+n, had || found
	}
	if !known && !had {
		return 0, 0, fmt.Errorf("remove agent %s: %w", name, task.ErrNotFound)
	}
	return waiting, d.Rev + 1, nil
}

func (s Registry) dropDefinition(ctx context.Context, d Definition) error {
	ctx, cancel := s.bound(ctx, writes+topology.AgentsBucket)
	defer cancel()
	return s.agents.Delete(ctx, d.Name, jetstream.LastRevision(d.Rev))
}

// unserved is ErrServed when a live worker serves the agent.
func (s Registry) unserved(ctx context.Context, name string) error {
	workers, err := s.Workers(ctx)
	if err != nil {
		return err
	}
	for _, p := range workers {
		for _, a := range p.Agents {
			if a.Name == name {
				return fmt.Errorf("remove agent %s: %w by worker %s", name, ErrServed, p.WorkerID)
			}
		}
	}
	return nil
}

// dropConsumer removes a consumer for which no message waits, and says how many
// do.
func dropConsumer(ctx context.Context, queue jetstream.Stream, durable string) (waiting int, found bool, err error) {
	c, err := queue.Consumer(ctx, durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	info := c.CachedInfo()
	if n := int(info.NumPending) + info.NumAckPending; n > 0 {
		return n, true, nil
	}
	if err := queue.DeleteConsumer(ctx, durable); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0, true, err
	}
	// Tasks that were accepted between the count and now wait in the queue, where
	// only its consumer lets them be counted.
	left, err := queue.Info(ctx, jetstream.WithSubjectFilter(info.Config.FilterSubject))
	if err != nil || len(left.State.Subjects) == 0 {
		return 0, true, err
	}
	_, err = queue.CreateOrUpdateConsumer(ctx, info.Config)
	return len(left.State.Subjects), true, err
}

// Rival is a worker that serves another definition of an agent.
type Rival struct {
	Agent    string `json:"agent"`
	WorkerID string `json:"worker_id"`
	Version  string `json:"version,omitempty"`
	Digest   string `json:"digest"`
}

// Of reports whether the rival's definition is another one than d, and no
// version says which is the newer one.
func (r Rival) Of(d task.Definition) bool {
	return r.Agent == d.Name && rivals(AgentPresence{Name: r.Agent, Version: r.Version, Digest: r.Digest}, AgentPresence{Name: d.Name, Version: d.Version, Digest: d.Digest()})
}

func rivals(a, b AgentPresence) bool {
	return a.Digest != "" && b.Digest != "" && a.Digest != b.Digest && !newer(a.Version, b.Version) && !newer(b.Version, a.Version)
}

// Contested reports whether live workers serve different definitions of an
// agent, and no version says which is the newer one.
func Contested(workers []Presence, agent string) bool {
	var seen []AgentPresence
	for _, p := range workers {
		for _, a := range p.Agents {
			if a.Name != agent {
				continue
			}
			for _, other := range seen {
				if rivals(a, other) {
					return true
				}
			}
			seen = append(seen, a)
		}
	}
	return false
}

// signalRival tells the other workers of an agent that this one serves another
// definition. It is sent at most once; the worker says it again while that lasts.
func (s Registry) signalRival(d task.Definition, workerID string) error {
	data, err := marshal(Rival{Agent: d.Name, WorkerID: workerID, Version: d.Version, Digest: d.Digest()})
	if err != nil {
		return err
	}
	return s.nc.Publish(topology.Rival, data)
}

// OnRival calls f with each worker that serves another definition than the one
// that is stored.
func (s Registry) OnRival(f func(Rival)) (stop func(), err error) {
	return s.listen(topology.Rival, func(m *nats.Msg) {
		var r Rival
		if unmarshal(m.Data, &r) == nil {
			f(r)
		}
	})
}
