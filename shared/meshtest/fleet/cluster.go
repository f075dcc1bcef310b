//go:build unix

package fleet

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// JetStream connects to the servers of a fleet, past the mesh. Close ends it.
func (f *Fleet) JetStream() (js jetstream.JetStream, close func(), err error) {
	nc, err := nats.Connect(f.NATSURL(), nats.MaxReconnects(-1))
	if err != nil {
		return nil, nil, fmt.Errorf("connect to the fleet: %w", err)
	}
	js, err = jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, nil, fmt.Errorf("connect to the fleet: %w", err)
	}
	return js, nc.Close, nil
}

// Leader is the node that leads a stream now.
func (f *Fleet) Leader(ctx context.Context, stream string) (*Member, error) {
	js, done, err := f.JetStream()
	if err != nil {
		return nil, err
	}
	defer done()
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("look for the leader of %s: %w", stream, err)
	}
	info := s.CachedInfo()
	for _, n := range f.Nodes {
		if info.Cluster != nil && strings.EqualFold(info.Cluster.Leader, n.Name) {
			return n, nil
		}
	}
	return nil, fmt.Errorf("%s has no leader", stream)
}

// DeleteConsumers deletes all consumers of the streams, whoever lives on them.
func DeleteConsumers(ctx context.Context, js jetstream.JetStream, streams []string) (deleted int) {
	for _, stream := range streams {
		s, err := js.Stream(ctx, stream)
		if err != nil {
			continue
		}
		names := s.ConsumerNames(ctx)
		for name := range names.Name() {
			if s.DeleteConsumer(ctx, name) == nil {
				deleted++
			}
		}
	}
	return deleted
}
