package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/pause"
	"agentmesh/shared/topology"
)

// Snapshot is what a copy of a stream needs beside its bytes: its settings and its state
// as the server has told them.
type Snapshot struct {
	Stream string          `json:"stream"`
	Config json.RawMessage `json:"config"`
	State  json.RawMessage `json:"state"`
}

// Messages are those of the copy.
func (s Snapshot) Messages() uint64 {
	var state struct {
		Messages uint64 `json:"messages"`
	}
	_ = json.Unmarshal(s.State, &state) // of the server, or of a checked manifest
	return state.Messages
}

// Times of a copy: between two pieces, and until a restored stream is there on all its
// servers.
const (
	pieceTimeout   = 30 * time.Second
	restoreTimeout = 10 * time.Minute
	copyPiece      = 128 << 10
)

// answer is that of the server to a request for a copy.
type copyAnswer struct {
	Error   *jetstream.APIError `json:"error"`
	Deliver string              `json:"deliver_subject"`
	Config  json.RawMessage     `json:"config"`
	State   json.RawMessage     `json:"state"`
}

func copyRequest(ctx context.Context, s *core, subject string, request any, limit time.Duration) (a copyAnswer, err error) {
	body, err := json.Marshal(request)
	if err != nil {
		return a, err
	}
	asking, over := s.requests.begin(ctx, "", limit)
	defer over()
	msg, err := s.nc.RequestWithContext(asking, subject, body)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(msg.Data, &a); err != nil {
		return a, err
	}
	if a.Error != nil {
		return a, a.Error
	}
	return a, nil
}

// TakeSnapshot writes a stream with its consumers to w, as it is at one moment.
func TakeSnapshot(ctx context.Context, nc *nats.Conn, stream string, w io.Writer) (snap Snapshot, err error) {
	s, err := newCore(nc)
	if err != nil {
		return snap, err
	}
	inbox := nc.NewInbox()
	pieces, err := nc.SubscribeSync(inbox)
	if err != nil {
		return snap, fmt.Errorf("copy stream %s: %w", stream, classify(err))
	}
	defer func() { _ = pieces.Unsubscribe() }()
	_ = pieces.SetPendingLimits(-1, -1) // the server waits for acknowledgements of 8 MiB
	a, err := copyRequest(ctx, s, topology.SnapshotOf(stream), map[string]any{"deliver_subject": inbox, "chunk_size": copyPiece}, pieceTimeout)
	if err != nil {
		return snap, fmt.Errorf("copy stream %s: %w", stream, classify(err))
	}
	for {
		waiting, over := s.requests.begin(ctx, "", pieceTimeout)
		msg, err := pieces.NextMsgWithContext(waiting)
		over()
		if err != nil {
			return snap, fmt.Errorf("copy stream %s: %w", stream, classify(err))
		}
		if len(msg.Data) == 0 { // the end, or why there is none
			if status := msg.Header.Get("Status"); status != "" && status != "204" {
				return snap, fmt.Errorf("copy stream %s: the server ended it: %s %s", stream, status, msg.Header.Get("Description"))
			}
			return Snapshot{Stream: stream, Config: a.Config, State: a.State}, nil
		}
		if _, err := w.Write(msg.Data); err != nil {
			return snap, fmt.Errorf("copy stream %s: %w", stream, err)
		}
		if msg.Reply != "" {
			if err := msg.Respond(nil); err != nil {
				return snap, fmt.Errorf("copy stream %s: %w", stream, classify(err))
			}
		}
	}
}

// Room makes the stream that no backup has, of who is alive, and so finds out how many
// copies NATS keeps: what it returns is 0 where that is as many as the backup had.
// replicas is what is asked for; 0: those of the backup, or one where NATS is one server.
func Room(ctx context.Context, nc *nats.Conn, replicas int) (copies int, err error) {
	s, err := newCore(nc)
	if err != nil {
		return 0, err
	}
	asking, over := s.requests.begin(ctx, "", openTimeout)
	defer over()
	ask := cmp.Or(replicas, clusterCopies)
	err = topology.EnsurePresence(asking, s.js, ask)
	if replicas == 0 && answeredWith(err, codeNoCluster) {
		ask, replicas = 1, 1
		err = topology.EnsurePresence(asking, s.js, ask)
	}
	if err != nil {
		return 0, copiesHint(nc, ask, classify(err))
	}
	return replicas, nil
}

// PutBack makes a stream, which must not exist, of a copy. replicas is how many copies
// of it NATS shall keep; 0: as many as there were.
func PutBack(ctx context.Context, nc *nats.Conn, snap Snapshot, replicas int, r io.Reader) error {
	s, err := newCore(nc)
	if err != nil {
		return err
	}
	config := snap.Config
	if replicas > 0 {
		if config, err = withReplicas(config, replicas); err != nil {
			return fmt.Errorf("put back stream %s: %w", snap.Stream, err)
		}
	}
	a, err := copyRequest(ctx, s, topology.RestoreOf(snap.Stream), map[string]any{"config": config, "state": snap.State}, pieceTimeout)
	if err == nil {
		err = sendPieces(ctx, s, a.Deliver, r)
	}
	if err != nil {
		return fmt.Errorf("put back stream %s: %w", snap.Stream, copiesHint(nc, replicas, classify(err)))
	}
	return nil
}

func withReplicas(config json.RawMessage, replicas int) (json.RawMessage, error) {
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(config, &members); err != nil {
		return nil, fmt.Errorf("read its settings: %w", err)
	}
	members["num_replicas"] = json.RawMessage(fmt.Sprint(replicas))
	return json.Marshal(members)
}

// sendPieces sends the bytes of a copy. The server acknowledges each piece when it has
// it, and the empty one at the end when the stream is there.
func sendPieces(ctx context.Context, s *core, subject string, r io.Reader) error {
	send := func(piece []byte, limit time.Duration) error {
		sending, over := s.requests.begin(ctx, "", limit)
		defer over()
		msg, err := s.nc.RequestWithContext(sending, subject, piece)
		if err != nil || len(msg.Data) == 0 {
			return err
		}
		var a copyAnswer
		if err := json.Unmarshal(msg.Data, &a); err != nil {
			return err
		}
		if a.Error != nil {
			return a.Error
		}
		return nil
	}
	piece := make([]byte, copyPiece)
	for known := time.Now().Add(pieceTimeout); ; known = (time.Time{}) {
		n, err := io.ReadFull(r, piece)
		if n > 0 {
			sent := send(piece[:n], pieceTimeout)
			// The server that takes the first piece may be another one than ours, which does
			// not know yet that it listens.
			for errors.Is(sent, nats.ErrNoResponders) && time.Now().Before(known) && pause.For(ctx, 50*time.Millisecond) {
				sent = send(piece[:n], pieceTimeout)
			}
			if sent != nil {
				return sent
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return send(nil, restoreTimeout)
		}
		if err != nil {
			return err
		}
	}
}

// Holdings are the messages that the streams of a mesh hold; those that are not there
// are left out.
func Holdings(ctx context.Context, nc *nats.Conn) (map[string]uint64, error) {
	s, err := newCore(nc)
	if err != nil {
		return nil, err
	}
	held := map[string]uint64{}
	for _, c := range topology.Streams(topology.Settings{Replicas: 1}) {
		asking, over := s.requests.begin(ctx, "", openTimeout)
		stream, err := s.js.Stream(asking, c.Name)
		over()
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look at stream %s: %w", c.Name, classify(err))
		}
		held[c.Name] = stream.CachedInfo().State.Msgs
	}
	return held, nil
}

// Discard deletes streams, with all that they hold.
func Discard(ctx context.Context, nc *nats.Conn, streams ...string) error {
	s, err := newCore(nc)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range streams {
		asking, over := s.requests.begin(ctx, "", openTimeout)
		if err := s.js.DeleteStream(asking, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			errs = append(errs, fmt.Errorf("delete stream %s: %w", name, classify(err)))
		}
		over()
	}
	return errors.Join(errs...)
}

// ForgetProcesses takes away what processes of the mesh that was copied have said of
// themselves: none of them is one of this mesh.
func ForgetProcesses(ctx context.Context, nc *nats.Conn) error {
	s, err := newCore(nc)
	if err != nil {
		return err
	}
	asking, over := s.requests.begin(ctx, "", openTimeout)
	defer over()
	stream, err := s.js.Stream(asking, topology.BucketStream(topology.IdempotencyBucket))
	for _, subject := range []string{topology.Gateways, topology.Listeners} {
		if err == nil {
			err = stream.Purge(asking, jetstream.WithPurgeSubject(subject))
		}
	}
	if err != nil {
		return fmt.Errorf("forget processes of before: %w", classify(err))
	}
	return nil
}

// HasOwnKey reports whether the secrets of a mesh are sealed with a key that lies in its
// own store.
func HasOwnKey(ctx context.Context, nc *nats.Conn) (bool, error) {
	s, err := newCore(nc)
	if err != nil {
		return false, err
	}
	asking, over := s.requests.begin(ctx, "", openTimeout)
	defer over()
	stream, err := s.js.Stream(asking, topology.BucketStream(topology.KeysBucket))
	if err == nil {
		_, err = stream.GetLastMsgForSubject(asking, topology.APIKey(topology.SecretKey))
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	return err == nil, classify(err)
}
