package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/pause"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// IdempotencyKey is what the mesh remembers of a request with an Idempotency-Key: which
// request it was and the answer it has. The answer is decided before the task
// is queued, so whoever repeats the request can finish it.
type IdempotencyKey struct {
	Fingerprint string          `json:"fp"`
	TaskID      string          `json:"task_id"`
	Answer      json.RawMessage `json:"answer"` // body of the 202
}

// Claim stores k under hash if that is free, and returns what is stored
// there and whether it is k that was: two requests may be about one task.
func (s Idempotency) Claim(ctx context.Context, tenant, hash string, k IdempotencyKey) (stored IdempotencyKey, ours bool, err error) {
	data, err := marshal(k)
	if err != nil {
		return IdempotencyKey{}, false, fmt.Errorf("claim idempotency key: %w", err)
	}
	ctx, cancel := s.bound(ctx, writes+topology.IdempotencyBucket)
	defer cancel()
	// An entry may expire between the two steps: then the key is free again. A new
	// leader may not know yet of what the old one has refused: then it is not.
	for {
		_, err := s.idempotency.Create(ctx, topology.IdempotencyKey(tenant, hash), data)
		if err = classify(err); err == nil {
			return k, true, nil
		}
		if !errors.Is(err, task.ErrConflict) {
			return IdempotencyKey{}, false, fmt.Errorf("claim idempotency key: %w", err)
		}
		stored, ok, err := s.Lookup(ctx, tenant, hash)
		if err != nil || ok {
			return stored, ok && stored.TaskID == k.TaskID && stored.Fingerprint == k.Fingerprint, err
		}
		if !pause.For(ctx, 20*time.Millisecond) {
			return IdempotencyKey{}, false, fmt.Errorf("claim idempotency key: %w", classify(ctx.Err()))
		}
	}
}

// Lookup reads what is stored under hash, if anything.
func (s Idempotency) Lookup(ctx context.Context, tenant, hash string) (k IdempotencyKey, ok bool, err error) {
	ctx, cancel := s.bound(ctx, topology.IdempotencyBucket)
	defer cancel()
	e, err := s.idempotency.Get(ctx, topology.IdempotencyKey(tenant, hash))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return IdempotencyKey{}, false, nil
	}
	if err != nil {
		return IdempotencyKey{}, false, fmt.Errorf("look idempotency key up: %w", classify(err))
	}
	if err := unmarshal(e.Value(), &k); err != nil {
		return IdempotencyKey{}, false, fmt.Errorf("decode idempotency key: %w", err)
	}
	return k, true, nil
}
