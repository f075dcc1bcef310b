package main

import (
	"net/http"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"agentmesh/services/mesh/floor"
	"agentmesh/shared/natstest"
)

// BenchmarkThreeNodes is the whole path on three nodes in this process, each stream
// with three copies, beside a floor on three. 32 clients; the target is 0.9 of the
// floor.
func BenchmarkThreeNodes(b *testing.B) {
	for _, sync := range []string{"always", "2m"} {
		for _, impl := range []string{"floor", "mesh"} {
			b.Run("sync="+sync+"/impl="+impl, func(b *testing.B) {
				nodes := natstest.StartClusterWith(b, func(_ int, o *server.Options) { o.SyncAlways = sync == "always" })
				nc := nodes.Nodes[0].Connect(b)
				if impl == "floor" {
					benchPost(b, benchFloorOn(b, nc, floor.Options{Slots: benchSlots, Replicas: 3}).URL, 32, "wait=30", http.StatusOK)
					return
				}
				front, _ := benchPartsOn(b, nc, 3, benchEcho())
				benchPost(b, front.URL, 32, "wait=30", http.StatusOK)
			})
		}
	}
}
