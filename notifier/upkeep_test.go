package notifier_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/topology"
	"agentmesh/worker/agents/echo"
)

// Somebody deletes the consumers of the notifiers while outcomes come: within
// seconds they are made again, every outcome is sent, none that was sent before is
// sent again, and the log has an error for each.
func TestDeletedConsumersOfTheNotifierAreMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(echo.Agent())
		m.Alerts = &meshtest.Transcript{}
		m.Notify()
		r := m.Receive(nil)
		const n = 20
		some := func() {
			for range n {
				m.Action(`{"agent":"echo","instruction":"x","callback_url":"` + r.URL + `"}`)
			}
		}
		some()
		time.Sleep(5 * time.Minute) // older than what the server takes for a repeat
		m.DeleteConsumer(topology.BucketStream(topology.TasksBucket), topology.FanoutDurable)
		m.DeleteConsumer(topology.Deliveries, topology.DeliverDurable)
		some()
		time.Sleep(5 * time.Second)
		ids := map[string]int{}
		for _, got := range r.All() {
			ids[got.ID()]++
		}
		if len(ids) != 2*n || len(r.All()) != 2*n {
			t.Errorf("%d outcomes arrived by %d requests, want %d by as many", len(ids), len(r.All()), 2*n)
		}
		for _, name := range []string{topology.FanoutDurable, topology.DeliverDurable} {
			if text := m.Alerts.String(); !strings.Contains(text, "a consumer was deleted") || !strings.Contains(text, name) {
				t.Errorf("no error names %s:\n%s", name, text)
			}
		}
	})
}

// A consumer that a role lives on is missing, and nobody makes it again: /readyz
// fails with its name, and /stats says so instead of counting nothing.
func TestMissingConsumerIsNoZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(echo.Agent())
		stop := m.Notify()
		r := m.Receive(nil)
		consumers := func() api.Check {
			time.Sleep(3 * time.Second)
			return meshtest.Decode[api.Readiness](t, m.Do("GET", "/readyz", "").Body).Checks["consumers"]
		}
		if c := consumers(); !c.OK {
			t.Fatalf("consumers = %+v", c)
		}
		stop()
		const n = 7
		for range n {
			m.Action(`{"agent":"echo","instruction":"x","callback_url":"` + r.URL + `"}`)
		}
		time.Sleep(time.Second)
		m.DeleteConsumer(topology.BucketStream(topology.TasksBucket), topology.FanoutDurable)
		m.DeleteConsumer(topology.Deliveries, topology.DeliverDurable)
		if c := consumers(); c.OK || !strings.Contains(c.Detail, topology.FanoutDurable) || !strings.Contains(c.Detail, topology.DeliverDurable) {
			t.Errorf("consumers = %+v", c)
		}
		stats := meshtest.Decode[api.Stats](t, m.Do("GET", "/stats", "").Body)
		if stats.Deliveries.FanoutLag < n || !slices.Equal(stats.Missing, []string{topology.FanoutDurable, topology.DeliverDurable}) {
			t.Errorf("stats = %+v", stats)
		}
		m.Notify()
		if c := consumers(); !c.OK {
			t.Errorf("consumers after = %+v", c)
		}
		if got := len(r.All()); got != n {
			t.Errorf("%d outcomes arrived, want %d", got, n)
		}
	})
}
