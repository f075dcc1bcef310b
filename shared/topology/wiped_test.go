package topology_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/natstest"
	"agentmesh/shared/session"
	"agentmesh/shared/topology"
)

// What the runbook says of a node that does not start: without the folder of the
// stream that it stumbles over it starts, and fetches the stream from the others.
func TestANodeWithoutTheFolderOfAStreamFetchesItAgain(t *testing.T) {
	c := natstest.StartCluster(t)
	connect := func(node int) jetstream.JetStream {
		js, err := jetstream.New(c.Nodes[node].Connect(t, nats.MaxReconnects(-1)))
		if err != nil {
			t.Fatal(err)
		}
		return js
	}
	js := connect(0)
	name := topology.BucketStream(topology.SessionsBucket)
	natstest.Until(t, "the stream is made", func() bool {
		for _, cfg := range topology.Streams(topology.Settings{Replicas: 3}) {
			if cfg.Name == name {
				_, err := js.CreateOrUpdateStream(t.Context(), cfg)
				return err == nil
			}
		}
		return false
	})
	const n = 300
	for i := range n {
		if _, err := js.Publish(t.Context(), topology.Session("default", session.ID(fmt.Sprintf("ses_%d", i))), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	holds := func() uint64 {
		all, err := c.Nodes[2].Jsz(&server.JSzOptions{Accounts: true, Streams: true})
		if err != nil {
			return 0
		}
		for _, account := range all.AccountDetails {
			for _, s := range account.Streams {
				if s.Name == name {
					return s.State.Msgs
				}
			}
		}
		return 0
	}
	natstest.Until(t, "the node has the stream", func() bool { return holds() == n })
	c.Nodes[2].Stop()
	folder := filepath.Join(c.Nodes[2].Dir, "jetstream", "$G", "streams", name)
	if _, err := os.Stat(filepath.Join(folder, "msgs")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	c.Restart(t, 2)
	natstest.Until(t, "the node has the stream again", func() bool { return holds() == n })
}
