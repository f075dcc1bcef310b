package store

import (
	"cmp"
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/topology"
)

// clusterCopies are those of a stream where NATS is a cluster and nobody says
// otherwise.
const clusterCopies = 3

// ensure makes the streams that are missing. Without a number of copies it asks for
// those of a cluster first: the server itself knows best what it is.
func ensure(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, o Options) (made []string, differs []topology.Difference, err error) {
	if err := o.Validate(); err != nil {
		return nil, nil, err
	}
	set := topology.Settings(o)
	set.Replicas = cmp.Or(o.Replicas, clusterCopies)
	made, differs, err = topology.Ensure(ctx, js, set)
	if o.Replicas == 0 && answeredWith(err, codeNoCluster) {
		set.Replicas = 1
		made, differs, err = topology.Ensure(ctx, js, set)
	}
	return made, differs, copiesHint(nc, set.Replicas, err)
}

// copiesHint adds to an error that says that NATS does not keep so many copies what
// is to be done.
func copiesHint(nc *nats.Conn, replicas int, err error) error {
	switch {
	case answeredWith(err, codeNoCluster):
		return fmt.Errorf("%w: the NATS server at %s is alone and keeps one copy of a stream: set --replicas 1 (MESH_REPLICAS=1), or run it as one of three (deploy/nats)",
			err, nc.ConnectedUrlRedacted())
	case answeredWith(err, codeNoPeers):
		return fmt.Errorf("%w: fewer NATS servers of the cluster %s are up than the %d copies of a stream need: start the others, or set --replicas (MESH_REPLICAS)",
			err, nc.ConnectedClusterName(), replicas)
	}
	return err
}

func answeredWith(err error, code jetstream.ErrorCode) bool {
	api := answerOf(err)
	return err != nil && api != nil && api.ErrorCode == code
}

// Copies are those of the queue of tasks, as many as of the other streams unless an
// operator has changed some.
func (s *Store) Copies() int { return max(s.tasks.CachedInfo().Config.Replicas, 1) }
