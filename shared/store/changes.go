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

// Changes reads the records of all tasks of a tenant as they change, in order,
// through a consumer of its own: it is for the few readers that want everything.
// Who waits for one task uses Watch.
type Changes struct {
	msgs  jetstream.MessagesContext
	start uint64
}

// Changes begins after revision after, or with what is new when after is nil. A
// revision from the future is taken for the newest.
func (s *Store) Changes(ctx context.Context, tenant string, after *uint64) (*Changes, error) {
	info, err := s.records.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("follow tasks: %w", classify(err))
	}
	start := info.State.LastSeq
	if after != nil {
		start = min(*after, start)
	}
	c, err := s.records.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{topology.TaskRecordsOf(tenant)}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: start + 1,
	})
	if err != nil {
		return nil, fmt.Errorf("follow tasks: %w", classify(err))
	}
	msgs, err := c.Messages()
	if err != nil {
		return nil, fmt.Errorf("follow tasks: %w", classify(err))
	}
	return &Changes{msgs, start}, nil
}

// Start is the revision that the reader begins after.
func (c *Changes) Start() uint64 { return c.start }

// Next returns the next change, or ctx's error when its time is over first. A
// change that is no readable record is left out.
func (c *Changes) Next(ctx context.Context) (*task.Task, error) {
	for {
		msg, err := c.msgs.Next(jetstream.NextContext(ctx))
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if errors.Is(err, jetstream.ErrMsgIteratorClosed) || errors.Is(err, nats.ErrConnectionClosed) {
				return nil, fmt.Errorf("follow tasks: %w", task.ErrUnavailable)
			}
			return nil, fmt.Errorf("follow tasks: %w", classify(err))
		}
		meta, err := msg.Metadata()
		if err != nil {
			continue
		}
		if t, err := RecordOf(msg.Data(), meta.Sequence.Stream); err == nil && t != nil {
			return t, nil
		}
	}
}

// Close ends the reading.
func (c *Changes) Close() { c.msgs.Stop() }
