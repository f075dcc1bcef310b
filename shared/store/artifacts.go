package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

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
	if err := s.putObject(ctx, object, v); err != nil {
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
	r, err := s.OpenObject(ctx, v)
	if err != nil {
		return nil, err
	}
	b := make([]byte, v.Size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("read artifact %s: %w", v.Object, err)
	}
	return b, nil
}

// Bounds of what is stored at once. Each artifact is sent in pieces without
// waiting for each, and the server takes only so many writes at a time.
const (
	maxPutting = 4
	putWithin  = 10 * time.Second // the wait for one's turn
)

func (s *Store) putObject(ctx context.Context, name string, data []byte) error {
	turn := time.NewTimer(putWithin)
	defer turn.Stop()
	select {
	case s.putting <- struct{}{}:
		defer func() { <-s.putting }()
	case <-turn.C:
		return fmt.Errorf("%w: others are being stored", task.ErrUnavailable)
	case <-ctx.Done():
		return ctx.Err()
	}
	_, err := s.artifacts.PutBytes(ctx, name, data)
	return err
}

// OpenObject streams the artifact of v, which must have one. It reads a piece
// when it is asked for it: a slow reader holds one piece, and nothing at the
// server.
func (s *Store) OpenObject(ctx context.Context, v task.Value) (io.Reader, error) {
	info, err := s.artifacts.GetInfo(ctx, v.Object)
	if err != nil {
		return nil, fmt.Errorf("read artifact %s: %w", v.Object, missingObject(err))
	}
	if info.Size != uint64(v.Size) || info.NUID == "" {
		return nil, fmt.Errorf("read artifact %s: it has %d bytes, its task says %d", v.Object, info.Size, v.Size)
	}
	r := &objectReader{ctx: ctx, store: s, info: info, sum: sha256.New()}
	r.piece, err = r.next()
	return r, err
}

// objectReader reads the pieces of an object one by one.
type objectReader struct {
	ctx   context.Context // of the one who reads
	store *Store
	info  *jetstream.ObjectInfo
	seq   uint64 // of the last piece
	read  uint32 // pieces read
	piece []byte // not handed out yet
	sum   hash.Hash
}

func (r *objectReader) Read(p []byte) (n int, err error) {
	if len(r.piece) == 0 {
		if r.read == r.info.Chunks {
			return 0, io.EOF
		}
		if r.piece, err = r.next(); err != nil {
			return 0, err
		}
	}
	n = copy(p, r.piece)
	r.piece = r.piece[n:]
	return n, nil
}

func (r *objectReader) next() ([]byte, error) {
	ctx, cancel := r.store.bound(r.ctx, topology.ArtifactStream)
	defer cancel()
	m, err := r.store.objects.GetMsg(ctx, r.seq+1, jetstream.WithGetMsgSubject(topology.ArtifactChunks(r.info.NUID)))
	if err != nil {
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			err = task.ErrNotFound
		}
		return nil, fmt.Errorf("read artifact %s: piece %d of %d: %w", r.info.Name, r.read+1, r.info.Chunks, classify(err))
	}
	r.seq, r.read = m.Sequence, r.read+1
	r.sum.Write(m.Data)
	if r.read == r.info.Chunks && jetstream.GetObjectDigestValue(r.sum) != r.info.Digest {
		return nil, fmt.Errorf("read artifact %s: it is damaged: its digest is not that of its record", r.info.Name)
	}
	return m.Data, nil
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
