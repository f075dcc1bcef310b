package store_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
)

// openCluster opens the store on three nodes, through a connection to each.
func openCluster(t *testing.T) []*store.Store {
	t.Helper()
	return openNodes(t, natstest.StartCluster(t))
}

func openNodes(t *testing.T, cluster *natstest.Cluster) []*store.Store {
	t.Helper()
	var stores []*store.Store
	for _, srv := range cluster.Nodes {
		nc := srv.Connect(t, nats.MaxReconnects(-1), nats.ReconnectBufSize(-1))
		st, err := store.Open(t.Context(), nc, store.Options{Replicas: 3})
		if err != nil {
			t.Fatal(err)
		}
		stores = append(stores, st)
	}
	return stores
}

// On several nodes the server refuses a write while another one to the same
// subject is in flight (10164), or one with the same id is (10158). Neither is an
// outcome: it shows a moment later.
func TestAWriteInFlightIsWaitedFor(t *testing.T) {
	stores := openCluster(t)
	for round := range 4 {
		hash, accepted := fmt.Sprintf("hash%d", round), newTask()
		ids := make([]string, 100)
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() {
				st := stores[i%len(stores)]
				stored, _, err := st.Idempotency.Claim(t.Context(), "default", hash, store.IdempotencyKey{Fingerprint: "f", TaskID: fmt.Sprint(i), Answer: []byte(`{}`)})
				if err != nil {
					t.Errorf("claim: %v", err)
				}
				ids[i] = stored.TaskID
				if _, err := st.Tasks.Enqueue(t.Context(), accepted.Clone()); err != nil {
					t.Errorf("enqueue: %v", err)
				}
			})
		}
		wg.Wait()
		for _, id := range ids {
			if id != ids[0] {
				t.Fatalf("one key stands for the tasks %s and %s", ids[0], id)
			}
		}
	}
}
