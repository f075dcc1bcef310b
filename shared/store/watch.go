package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// errWatchEnded is a watch that tells nothing more, since its consumer or its
// connection is gone. Whoever reads begins again.
var errWatchEnded = errors.New("the watch ended")

// told calls each with every entry and then with each change that w tells, until ctx
// ends. ready is called once, after the last of those that exist now. The error is
// errWatchEnded.
func told(ctx context.Context, w jetstream.KeyWatcher, each func(jetstream.KeyValueEntry), ready func()) error {
	defer end(w)
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, open := <-w.Updates():
			switch {
			case !open:
				return errWatchEnded
			case e == nil:
				ready()
			default:
				each(e)
			}
		}
	}
}

// end ends a watch. The client library waits where what it has to tell is not taken, so
// that is taken: at most one more comes, and then there is room for it.
func end(w jetstream.KeyWatcher) {
	_ = w.Stop()
	for {
		select {
		case _, open := <-w.Updates():
			if !open {
				return
			}
		default:
			return
		}
	}
}

// copied is told for who keeps a copy: ready is called when that has all that there was
// when it was asked for. A watch tells the last of those by a count of the server that is
// wrong while records are replaced, so read reads them beside it.
func copied(ctx context.Context, w jetstream.KeyWatcher, read func(context.Context) error, each func(jetstream.KeyValueEntry), ready func()) error {
	if err := read(ctx); err != nil {
		end(w)
		return err
	}
	ready()
	return told(ctx, w, each, func() {})
}

// entryOf is an entry of a bucket as its stream has it.
func entryOf(e jetstream.KeyValueEntry) message {
	return message{subject: topology.KeySubject(e.Bucket(), e.Key()), data: e.Value(), seq: e.Revision(), at: e.Created()}
}

// decodeValid reads a record of a kind, and refuses one that is not valid.
func decodeValid[T any](kind string, data []byte, rev uint64, valid func(*T) bool) (*T, error) {
	var r T
	if err := unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("decode %s at revision %d: %w", kind, rev, err)
	}
	if !valid(&r) {
		return nil, fmt.Errorf("decode %s at revision %d: %w", kind, rev, task.ErrBadRecord)
	}
	return &r, nil
}
