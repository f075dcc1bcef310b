package main

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/gateway/api"
	"agentmesh/shared/natstest"
	"agentmesh/shared/topology"
	"agentmesh/worker/agents/echo"
)

// deleteConsumer is somebody with the nats command line.
func (m *mesh) deleteConsumer(stream, durable string) {
	m.t.Helper()
	js, err := jetstream.New(m.nc)
	if err == nil {
		err = js.DeleteConsumer(m.t.Context(), stream, durable)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// Somebody deletes the consumers of the notifiers while outcomes come: within
// seconds they are made again, every outcome is sent, none that was sent before is
// sent again, and the log has an error for each.
func TestDeletedConsumersOfTheNotifierAreMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(echo.Agent())
		m.alerts = &transcript{}
		m.notify()
		r := m.receive(nil)
		const n = 20
		some := func() {
			for range n {
				m.action(`{"agent":"echo","instruction":"x","callback_url":"` + r.url + `"}`)
			}
		}
		some()
		time.Sleep(5 * time.Minute) // older than what the server takes for a repeat
		m.deleteConsumer(topology.BucketStream(topology.TasksBucket), topology.FanoutDurable)
		m.deleteConsumer(topology.Deliveries, topology.DeliverDurable)
		some()
		time.Sleep(5 * time.Second)
		ids := map[string]int{}
		for _, got := range r.all() {
			ids[got.id()]++
		}
		if len(ids) != 2*n || len(r.all()) != 2*n {
			t.Errorf("%d outcomes arrived by %d requests, want %d by as many", len(ids), len(r.all()), 2*n)
		}
		for _, name := range []string{topology.FanoutDurable, topology.DeliverDurable} {
			if text := m.alerts.String(); !strings.Contains(text, "a consumer was deleted") || !strings.Contains(text, name) {
				t.Errorf("no error names %s:\n%s", name, text)
			}
		}
	})
}

// A consumer that a role lives on is missing, and nobody makes it again: /readyz
// fails with its name, and /stats says so instead of counting nothing.
func TestMissingConsumerIsNoZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(echo.Agent())
		stop := m.notify()
		r := m.receive(nil)
		consumers := func() api.Check {
			time.Sleep(3 * time.Second)
			return decode[api.Readiness](t, m.do("GET", "/readyz", "").Body).Checks["consumers"]
		}
		if c := consumers(); !c.OK {
			t.Fatalf("consumers = %+v", c)
		}
		stop()
		const n = 7
		for range n {
			m.action(`{"agent":"echo","instruction":"x","callback_url":"` + r.url + `"}`)
		}
		time.Sleep(time.Second)
		m.deleteConsumer(topology.BucketStream(topology.TasksBucket), topology.FanoutDurable)
		m.deleteConsumer(topology.Deliveries, topology.DeliverDurable)
		if c := consumers(); c.OK || !strings.Contains(c.Detail, topology.FanoutDurable) || !strings.Contains(c.Detail, topology.DeliverDurable) {
			t.Errorf("consumers = %+v", c)
		}
		stats := decode[api.Stats](t, m.do("GET", "/stats", "").Body)
		if stats.Deliveries.FanoutLag < n || !slices.Equal(stats.Missing, []string{topology.FanoutDurable, topology.DeliverDurable}) {
			t.Errorf("stats = %+v", stats)
		}
		m.notify()
		if c := consumers(); !c.OK {
			t.Errorf("consumers after = %+v", c)
		}
		if got := len(r.all()); got != n {
			t.Errorf("%d outcomes arrived, want %d", got, n)
		}
	})
}

// The consumers of an agent are made again while its worker has nothing to do but
// wait.
func TestDeletedConsumersOfAnAgentAreMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(echo.Agent())
		id := m.create(`{"agent":"echo","input":1}`)
		m.end(id)
		m.deleteConsumer(topology.Tasks, topology.AgentDurable("echo"))
		m.deleteConsumer(topology.Turns, topology.AgentDurable("echo"))
		time.Sleep(3 * time.Second)
		if missing, err := m.st.MissingConsumers(t.Context()); err != nil || len(missing) != 0 {
			t.Errorf("missing = %v, %v", missing, err)
		}
		if v := m.end(m.create(`{"agent":"echo","input":2}`)); v.Status != "completed" {
			t.Errorf("task = %+v", v)
		}
	})
}

// A notifier that finds many large records waiting reads them a few megabytes at a
// time: the server never takes its connection for one that is too slow.
func TestNotifierPullsAreBoundedByBytes(t *testing.T) {
	m := newMeshOn(t, natstest.StartWith(t, server.Options{StoreDir: t.TempDir(), MaxPending: 24 << 20}))
	m.work(echo.Agent())
	r := m.receive(nil)
	const n = 160
	input := strings.Repeat("x", 250_000)
	for range n {
		m.action(`{"agent":"echo","input":"` + input + `","callback_url":"` + r.url + `"}`)
	}
	eventually(t, 30*time.Second, "all have finished", func() bool { return m.queued() == 0 })
	st, nc := m.openStore()
	m.notifyWith(st)
	eventually(t, 30*time.Second, "every outcome has arrived", func() bool { return len(r.all()) >= n })
	if cut := nc.Stats().Reconnects; cut != 0 {
		t.Errorf("the notifier's connection was cut %d times", cut)
	}
}
