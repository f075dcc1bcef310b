package notifier_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/schedule"
	"agentmesh/shared/topology"
	"agentmesh/worker/agents/echo"
)

// asked asks a gateway for something that must succeed.
func asked(m *meshtest.Mesh, method, path, body string) {
	m.T.Helper()
	if w := m.Do(method, path, body, "Content-Type", "application/json"); w.Code >= 300 {
		m.T.Fatalf("%s %s = %d %s", method, path, w.Code, w.Body)
	}
}

// kinds are the types that came, in their order by name.
func kinds(all []meshtest.Received) (types []string) {
	for _, r := range all {
		types = append(types, r.JSON()["type"].(string))
	}
	slices.Sort(types)
	return types
}

// A webhook that asks for them is told once of each time that does not run and of
// each pause, whatever happens to notifiers; one that names no types is not.
func TestATimeThatDoesNotRunIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		stop := m.Notify()
		told, other := m.Receive(nil), m.Receive(nil)
		m.Subscribe(`{"url":"` + told.URL + `","agents":["echo"],"events":["schedule.skipped","schedule.missed","schedule.paused"]}`)
		m.Subscribe(`{"url":"` + other.URL + `"}`)
		m.Work(echo.Agent())() // whose runs stay open
		asked(m, "PUT", "/schedules/nightly", `{"cron":["0 2 * * *"],"task":{"agent":"echo","input":1,"labels":{"of":"night"}}}`)
		for range 2 { // the second finds the first open
			asked(m, "POST", "/schedules/nightly/trigger", "")
			time.Sleep(time.Second)
		}
		asked(m, "POST", "/schedules/nightly/pause", `{"note":"holidays"}`)
		asked(m, "PATCH", "/schedules/nightly", `{"timezone":"Europe/Berlin"}`)
		asked(m, "POST", "/schedules/nightly/pause", `{"note":"still holidays"}`)
		time.Sleep(time.Minute)
		if got := kinds(told.All()); !slices.Equal(got, []string{"schedule.paused", "schedule.skipped"}) {
			t.Fatalf("told of %v", got)
		}
		skipped := told.All()[0].JSON()
		if skipped["name"] != "nightly" || skipped["agent"] != "echo" || skipped["scheduled_at"] == nil || skipped["reason"] == "" || skipped["labels"] == nil {
			t.Errorf("skipped is told as %v", skipped)
		}
		if paused := told.All()[1].JSON(); paused["reason"] != "holidays" {
			t.Errorf("a pause is told as %v", paused)
		}
		ds := m.DeliveriesBy("")
		if len(ds) != 2 || ds[0].ScheduleID == "" || ds[0].TaskID != "" {
			t.Errorf("deliveries = %+v", ds)
		}
		// Nobody is there, and the consumer has to read everything again.
		stop()
		m.DeleteConsumer(topology.BucketStream(topology.SchedulesBucket), topology.SchedulesFanoutDurable)
		missed(m, time.Hour)
		m.Notify()
		time.Sleep(time.Minute)
		if got := kinds(told.All()); !slices.Equal(got, []string{"schedule.missed", "schedule.paused", "schedule.skipped"}) {
			t.Errorf("after a restart told of %v", got)
		}
		if got := other.All(); len(got) > 0 {
			t.Errorf("a webhook without types was told of %v", kinds(got))
		}
	})
}

// missed has the only schedule have missed a time, and time pass since.
func missed(m *meshtest.Mesh, since time.Duration) {
	m.T.Helper()
	all, err := m.Store.Schedules.List(m.T.Context(), "default")
	if err == nil {
		all[0].Record(schedule.Run{At: time.Now(), Decided: time.Now(), Outcome: schedule.Missed, Reason: "x"})
		err = m.Store.Schedules.Save(m.T.Context(), all[0])
	}
	if err != nil {
		m.T.Fatal(err)
	}
	time.Sleep(since)
}

// A record keeps its newest times for years; what lies far back is no news.
func TestATimeOfLongAgoIsNotTold(t *testing.T) {
	natstest.Long(t)
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		told := m.Receive(nil)
		m.Subscribe(`{"url":"` + told.URL + `","events":["schedule.missed"]}`)
		m.Work(echo.Agent())() // whose runs stay open
		asked(m, "PUT", "/schedules/nightly", `{"cron":["0 2 * * *"],"task":{"agent":"echo","input":1}}`)
		missed(m, 73*time.Hour)
		missed(m, time.Hour)
		m.Notify()
		time.Sleep(time.Minute)
		if got := told.All(); len(got) != 1 {
			t.Errorf("%d times were told, want the one of today", len(got))
		}
	})
}
