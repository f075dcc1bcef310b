package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// InlineLimit is the largest value that a record or message carries itself, in
// bytes.
const InlineLimit = 256 << 10

// Put keeps a JSON value inline when it is small, else as the artifact
// name of the task.
func (s Artifacts) Put(ctx context.Context, tenant string, id task.ID, name string, v []byte) (task.Value, error) {
	if len(v) <= InlineLimit {
		return task.Value{Inline: v}, nil
	}
	return s.PutObject(ctx, tenant, id, name, v)
}

// PutObject keeps bytes as the artifact name of the task.
func (s Artifacts) PutObject(ctx context.Context, tenant string, id task.ID, name string, v []byte) (task.Value, error) {
	object := topology.Artifact(tenant, string(id), name)
	if err := s.putObject(ctx, object, v); err != nil {
		return task.Value{}, fmt.Errorf("store artifact %s: %w", object, classify(err))
	}
	return task.Value{Object: object, Size: int64(len(v))}, nil
}

// Read reads a value whole. It returns task.ErrNotFound when its artifact is
// past its retention.
func (s Artifacts) Read(ctx context.Context, v task.Value) ([]byte, error) {
	if v.Object == "" {
		return v.Inline, nil
	}
	r, err := s.Open(ctx, v)
	if err != nil {
		return nil, err
	}
	b := make([]byte, v.Size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("read artifact %s: %w", v.Object, err)
	}
	return b, nil
}

// Bounds of what is stored at once. The client library would send all pieces of
// an object at once; a few objects of 32 MiB then fill what the server buffers of
// a stream, and it drops them.
const (
	maxPutting = 4
	putWithin  = 10 * time.Second // the wait for one's turn
	pieceSize  = InlineLimit      // which a message carries anyway
)

// putObject stores data as the object name, piece by piece, in the form of the
// client library.
func (s Artifacts) putObject(ctx context.Context, name string, data []byte) error {
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
	before, err := s.objectInfo(ctx, name)
	if err != nil && !errors.Is(err, task.ErrNotFound) {
		return err
	}
	info := jetstream.ObjectInfo{
		ObjectMeta: jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: pieceSize}},
		Bucket:     topology.Artifacts, NUID: strings.ReplaceAll(uuid.NewString(), "-", ""), Size: uint64(len(data)),
	}
	if err := s.putPieces(ctx, &info, data); err != nil {
		s.dropPieces(ctx, info.NUID)
		return err
	}
	if before != nil {
		s.dropPieces(ctx, before.NUID)
	}
	return nil
}

func (s Artifacts) putPieces(ctx context.Context, info *jetstream.ObjectInfo, data []byte) error {
	for piece := range slices.Chunk(data, pieceSize) {
		id := onceAs(fmt.Sprintf("%s-%d", info.NUID, info.Chunks)) // stored once, also when an answer is lost
		if _, err := s.publish(ctx, &nats.Msg{Subject: topology.ArtifactChunks(info.NUID), Data: piece}, id); err != nil {
			return err
		}
		info.Chunks++
	}
	sum := sha256.New()
	sum.Write(data)
	info.Digest = jetstream.GetObjectDigestValue(sum)
	return s.putInfo(ctx, info)
}

// dropPieces deletes the pieces of an object that nothing names. Those that stay
// expire by themselves. An empty message takes their place: whoever may write pieces
// may do that, and nobody needs to be let purge the stream.
func (s Artifacts) dropPieces(ctx context.Context, nuid string) {
	_, _ = s.publish(context.WithoutCancel(ctx), inPlace(topology.ArtifactChunks(nuid), nil))
}

// inPlace is a message that takes the place of all on its subject.
func inPlace(subject string, data []byte) *nats.Msg {
	return &nats.Msg{Subject: subject, Data: data, Header: nats.Header{jetstream.MsgRollup: {jetstream.MsgRollupSubject}}}
}

// dropObject deletes an object, in the form of the client library. The error is
// task.ErrNotFound when there is none.
func (s Artifacts) dropObject(ctx context.Context, name string) error {
	info, err := s.objectInfo(ctx, name)
	if err != nil {
		return err
	}
	nuid := info.NUID
	info.Deleted, info.Size, info.Chunks, info.Digest = true, 0, 0, ""
	if err := s.putInfo(ctx, info); err != nil {
		return err
	}
	s.dropPieces(ctx, nuid)
	return nil
}

func (s Artifacts) putInfo(ctx context.Context, info *jetstream.ObjectInfo) error {
	meta, err := marshal(info)
	if err == nil {
		_, err = s.publish(ctx, inPlace(topology.ArtifactMeta(info.Name), meta))
	}
	return err
}

// Open streams the artifact of v, which must have one. It reads a piece
// when it is asked for it: a slow reader holds one piece, and nothing at the
// server.
func (s Artifacts) Open(ctx context.Context, v task.Value) (io.Reader, error) {
	r, err := s.openObject(ctx, v.Object)
	if err == nil && r.info.Size != uint64(v.Size) {
		return nil, fmt.Errorf("read artifact %s: it has %d bytes, its task says %d", v.Object, r.info.Size, v.Size)
	}
	return r, err
}

func (s Artifacts) openObject(ctx context.Context, name string) (*objectReader, error) {
	info, err := s.objectInfo(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read artifact %s: %w", name, err)
	}
	r := &objectReader{ctx: ctx, store: s, info: info, sum: sha256.New()}
	r.piece, err = r.next()
	return r, err
}

func (s Artifacts) objectInfo(ctx context.Context, name string) (*jetstream.ObjectInfo, error) {
	ctx, cancel := s.bound(ctx, topology.ArtifactStream)
	defer cancel()
	var info *jetstream.ObjectInfo
	err := patiently(ctx, func(ctx context.Context) (err error) {
		info, err = s.artifacts.GetInfo(ctx, name)
		return err
	})
	return info, missingObject(err)
}

// objectReader reads the pieces of an object one by one. Where the object is stored anew
// meanwhile it goes on with the new one.
type objectReader struct {
	ctx   context.Context // of the one who reads
	store Artifacts
	info  *jetstream.ObjectInfo
	seq   uint64 // of the last piece
	read  uint32 // pieces read
	piece []byte // not handed out yet
	done  int    // bytes of all pieces up to here
	pass  int    // bytes of the next ones that were in an object before
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

// next reads on to bytes that were not handed out yet.
func (r *objectReader) next() ([]byte, error) {
	for {
		data, err := r.get()
		if errors.Is(err, task.ErrNotFound) {
			if err = r.again(); err == nil {
				continue
			}
		}
		if err != nil {
			return nil, fmt.Errorf("read artifact %s: piece %d of %d: %w", r.info.Name, r.read+1, r.info.Chunks, err)
		}
		r.read++
		r.sum.Write(data)
		if r.read == r.info.Chunks && jetstream.GetObjectDigestValue(r.sum) != r.info.Digest {
			return nil, fmt.Errorf("read artifact %s: it is damaged: its digest is not that of its record", r.info.Name)
		}
		known := min(r.pass, len(data))
		r.pass -= known
		if data = data[known:]; len(data) > 0 || r.read == r.info.Chunks {
			r.done += len(data)
			return data, nil
		}
	}
}

// get reads the piece behind the last one. An empty message is in the place of pieces
// that were dropped.
func (r *objectReader) get() ([]byte, error) {
	ctx, cancel := r.store.bound(r.ctx, topology.ArtifactStream)
	defer cancel()
	m, err := r.store.objects.GetMsg(ctx, r.seq+1, jetstream.WithGetMsgSubject(topology.ArtifactChunks(r.info.NUID)))
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && len(m.Data) == 0 {
		return nil, task.ErrNotFound
	}
	if err != nil {
		return nil, classify(err)
	}
	r.seq = m.Sequence
	return m.Data, nil
}

// again has the reader go on in the object that has taken the place of the one that it
// reads, whose pieces are gone. The error is task.ErrNotFound when none has, and errOther
// when that one is another value.
func (r *objectReader) again() error {
	info, err := r.store.objectInfo(r.ctx, r.info.Name)
	switch {
	case err != nil:
		return err
	case info.NUID == r.info.NUID:
		return task.ErrNotFound
	case info.Size != r.info.Size || info.Digest != r.info.Digest:
		return errOther
	}
	r.info, r.seq, r.read, r.pass = info, 0, 0, r.done
	r.sum.Reset()
	return nil
}

// errOther is a value that was replaced by another one while it was read: a repeat reads
// one or the other.
var errOther = fmt.Errorf("%w: another value has taken its place while it was read", task.ErrUnavailable)

// Drop deletes the artifact of a value that nothing refers to.
func (s Artifacts) Drop(ctx context.Context, v task.Value) error {
	if v.Object == "" {
		return nil
	}
	return s.dropObject(ctx, v.Object)
}

func missingObject(err error) error {
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return task.ErrNotFound
	}
	return classify(err)
}
