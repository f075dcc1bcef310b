package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"agentmesh/gateway"
	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/worker"
	"agentmesh/worker/agents/echo"
)

// A hundred requests with one key at once, on three gateways of three nodes, are
// one task and a hundred equal answers: none of them is refused since another one
// is on its way (I3).
func TestOneKeyAtOnceOnThreeReplicas(t *testing.T) {
	m := &meshtest.Mesh{T: t}
	var gateways []*gateway.Gateway
	for _, node := range natstest.StartCluster(t).Nodes {
		st, err := store.Open(t.Context(), node.Connect(t, nats.MaxReconnects(-1), nats.ReconnectBufSize(-1)), store.Options{Replicas: 3})
		if err != nil {
			t.Fatal(err)
		}
		gateways = append(gateways, m.BareGateway(st))
		if m.Store == nil {
			m.Store = st
			m.WorkWith(worker.Default(), st, echo.Agent())
		}
	}
	ids := make([]string, 100)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			var w *httptest.ResponseRecorder
			natstest.Until(t, "the store is there", func() bool { // a young cluster may elect another leader: 503, and nothing else
				w = meshtest.Call(gateways[i%len(gateways)].Handler(), "POST", "/tasks", `{"agent":"echo","input":1,"delay":"1h"}`, "Idempotency-Key", `"one"`)
				return w.Code != http.StatusServiceUnavailable
			})
			if w.Code != http.StatusAccepted {
				t.Errorf("POST /tasks = %d %s", w.Code, w.Body)
				return
			}
			ids[i] = meshtest.Decode[client.Task](t, w.Body).TaskID
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("one key is the tasks %s and %s", ids[0], id)
		}
	}
	if n, err := m.Store.Tasks.Queued(t.Context()); err != nil || n != 1 {
		t.Errorf("%d messages in the queue, %v", n, err)
	}
}
