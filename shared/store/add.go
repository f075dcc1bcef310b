package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/pause"
	"agentmesh/shared/task"
)

// How often a record is added while others of its bucket change, and the longest
// pause between two tries.
const (
	addTries = 40
	addPause = 50 * time.Millisecond
)

// addWhere stores a new record of a bucket if allowed, which reads the others, lets
// it. The write holds only if none of them has changed since allowed has read them,
// so that a limit holds whoever else adds some at the same time. It returns the
// revision, task.ErrConflict when they change all the time, or what allowed says.
func (s *core) addWhere(ctx context.Context, bucket string, records jetstream.Stream, msg *nats.Msg, allowed func() error) (rev uint64, err error) {
	id := onceAs(uuid.NewString()) // stored once, also when an answer is lost
	for range addTries {
		bounded, cancel := s.bound(ctx, bucket)
		info, err := records.Info(bounded)
		cancel()
		if err != nil {
			return 0, fmt.Errorf("count %s: %w", bucket, classify(err))
		}
		if err := allowed(); err != nil {
			return 0, err
		}
		ack, err := s.publish(ctx, msg, ifLastOfAll(info.State.LastSeq), id)
		if err == nil {
			return ack.Sequence, nil
		}
		if !errors.Is(err, task.ErrConflict) {
			return 0, err
		}
		if !pause.For(ctx, rand.N(addPause)) {
			return 0, ctx.Err()
		}
	}
	return 0, task.ErrConflict
}
