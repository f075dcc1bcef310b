package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/topology"
)

// Pauses are of the server's making: it delivers nothing from a paused consumer,
// whoever asks, and remembers that wherever it is restarted. What was delivered
// before goes on.

// forGood is how long a pause is that has no end, and endless how long one must be to
// be taken for such.
const (
	forGood = 100 * 365 * 24 * time.Hour
	endless = forGood / 2
)

// Pause has the server deliver nothing of an agent's queues until a time (zero: until
// Resume). found is false when the agent has no queue yet.
func (s Consumers) Pause(ctx context.Context, agent string, until time.Time) (found bool, err error) {
	if until.IsZero() {
		until = time.Now().Add(forGood)
	}
	return s.eachQueue(ctx, agent, func(ctx context.Context, stream, durable string) error {
		_, err := s.js.PauseConsumer(ctx, stream, durable, until)
		return err
	})
}

// Resume ends a pause.
func (s Consumers) Resume(ctx context.Context, agent string) (found bool, err error) {
	return s.eachQueue(ctx, agent, func(ctx context.Context, stream, durable string) error {
		_, err := s.js.ResumeConsumer(ctx, stream, durable)
		return err
	})
}

// eachQueue changes each of the consumers that an agent has.
func (s Consumers) eachQueue(ctx context.Context, agent string, change func(ctx context.Context, stream, durable string) error) (found bool, err error) {
	for _, q := range Queues {
		bounded, cancel := s.bound(ctx, writes+q.stream())
		err := patiently(bounded, func(ctx context.Context) error { return change(ctx, q.stream(), q.durable(agent)) })
		cancel()
		switch {
		case errors.Is(err, jetstream.ErrConsumerNotFound):
		case err != nil:
			return found, fmt.Errorf("change consumer %s of %s: %w", q.durable(agent), q.stream(), classify(err))
		default:
			found = true
		}
	}
	return found, nil
}

// Paused are the agents of which nothing is delivered, and until when; zero: until
// somebody resumes them.
func (s Consumers) Paused(ctx context.Context) (map[string]time.Time, error) {
	ctx, cancel := s.bound(ctx, topology.Tasks)
	defer cancel()
	all, err := consumersOf(ctx, s.tasks)
	if err != nil {
		return nil, fmt.Errorf("list consumers: %w", classify(err))
	}
	paused := map[string]time.Time{}
	for _, info := range all {
		if agent, ready := topology.DurableAgent(info.Config.Durable); ready {
			if until, yes := pauseOf(info); yes {
				paused[agent] = until
			}
		}
	}
	return paused, nil
}

// pauseOf says whether a consumer is paused, and until when; zero: until somebody
// resumes it.
func pauseOf(info *jetstream.ConsumerInfo) (until time.Time, paused bool) {
	if at := info.Config.PauseUntil; at != nil && time.Until(*at) > 0 {
		if time.Until(*at) < endless {
			until = *at
		}
		return until, true
	}
	return until, false
}
