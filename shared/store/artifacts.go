package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// InlineLimit is the largest value that a record or message carries itself, in
// bytes.
const InlineLimit = 256 << 10

// PutValue keeps a JSON value inline when it is small, else as the artifact
// name of the task.
func (s *Store) PutValue(ctx context.Context, tenant, id, name string, v []byte) (task.Value, error) {
	if len(v) <= InlineLimit {
		return task.Value{Inline: v}, nil
	}
	object := topology.Artifact(tenant, id, name)
	if _, err := s.artifacts.PutBytes(ctx, object, v); err != nil {
		return task.Value{}, fmt.Errorf("store artifact %s: %w", object, classify(err))
	}
	return task.Value{Object: object, Size: int64(len(v))}, nil
}

// Value reads a value whole. It returns task.ErrNotFound when its artifact is
// past its retention.
func (s *Store) Value(ctx context.Context, v task.Value) ([]byte, error) {
	if v.Object == "" {
		return v.Inline, nil
	}
	b, err := s.artifacts.GetBytes(ctx, v.Object)
	if err != nil {
		return nil, fmt.Errorf("read artifact %s: %w", v.Object, missingObject(err))
	}
	return b, nil
}

// OpenObject streams the artifact of v, which must have one.
func (s *Store) OpenObject(ctx context.Context, v task.Value) (io.ReadCloser, error) {
	r, err := s.artifacts.Get(ctx, v.Object)
	if err != nil {
		return nil, fmt.Errorf("read artifact %s: %w", v.Object, missingObject(err))
	}
	return r, nil
}

// DropValue deletes the artifact of a value that nothing refers to.
func (s *Store) DropValue(ctx context.Context, v task.Value) error {
	if v.Object == "" {
		return nil
	}
	return classify(s.artifacts.Delete(ctx, v.Object))
}

func missingObject(err error) error {
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return task.ErrNotFound
	}
	return classify(err)
}
