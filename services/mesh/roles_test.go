package main

import (
	"slices"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/store"
)

// One connection that the server cuts, because its role reads too slowly, is one
// role's only.
func TestEachRoleOfUpHasItsOwnConnection(t *testing.T) {
	srv := fleetServer(t)
	stores, err := openStores(t.Context(), srv, store.DefaultOptions(1), meshtest.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer stores.close()
	open, err := srv.server().Connz(&server.ConnzOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range open.Conns {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	if want := []string{"mesh-gateway", "mesh-notifier", "mesh-worker"}; !slices.Equal(names, want) {
		t.Errorf("connections %v, want %v", names, want)
	}
	stores.gateway.Disconnect() // as the server does to a slow consumer
	for name, st := range map[string]*store.Store{"worker": stores.worker, "notifier": stores.notifier} {
		if queue, records := st.Check(t.Context()); queue != nil || records != nil {
			t.Errorf("without the gateway's connection the %s has %v, %v", name, queue, records)
		}
	}
}
