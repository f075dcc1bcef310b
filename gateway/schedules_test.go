package gateway_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/schedule"
	"agentmesh/shared/task"
	"agentmesh/worker/agents/echo"
)

// What became of a run is told as it is now, not as it was when the schedule was
// worked on last: that of every night is worked on again the next night.
func TestARunIsShownAsItsTaskIsNow(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent())
	asJSON := []string{"Content-Type", "application/json"}
	m.Do("PUT", "/schedules/nightly", `{"cron":["0 2 * * *"],"task":{"agent":"echo","input":1}}`, asJSON...)
	if w := m.Do("POST", "/schedules/nightly/trigger", "", asJSON...); w.Code != http.StatusOK && w.Code != http.StatusAccepted {
		t.Fatalf("trigger = %d %s", w.Code, w.Body)
	}
	natstest.Until(t, "the run is shown as completed", func() bool {
		return strings.Contains(m.Do("GET", "/schedules/nightly/runs", "").Body.String(), `"completed"`)
	})
}

// A callback URL with a token in it is shown without, and what is shown is not taken
// for the URL.
func TestTheSecretOfASchedulesCallbackIsNotShown(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent())
	asJSON := []string{"Content-Type", "application/json"}
	put := func(url string) string {
		w := m.Do("PUT", "/schedules/nightly", `{"cron":["0 2 * * *"],"task":{"agent":"echo","input":1,"callback_url":"`+url+`"}}`, asJSON...)
		return w.Body.String()
	}
	answers := []string{put("http://127.0.0.1:9/x?token=TELLTALE"), m.Do("GET", "/schedules", "").Body.String(), m.Do("GET", "/schedules/nightly", "").Body.String()}
	for _, text := range answers {
		if strings.Contains(text, "TELLTALE") || !strings.Contains(text, "token=***") {
			t.Errorf("the schedule is shown as %s", text)
		}
	}
	if text := put("http://127.0.0.1:9/x?token=***"); !strings.Contains(text, "send the whole URL") {
		t.Errorf("what was shown is taken: %s", text)
	}
}

// A schedule that names a time which cannot be told is refused before it is kept, and
// one that was kept before does not take the list with it.
func TestATimeThatCannotBeToldSpoilsNoList(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent())
	asJSON := []string{"Content-Type", "application/json"}
	for path, body := range map[string]string{
		"/schedules":         `{"cron":["0 0 * * *"],"start_at":"9999-12-31T23:00:00Z","task":{"agent":"echo","input":1}}`,
		"/schedules/preview": `{"cron":["0 0 * * *"],"from":"9999-12-31T23:00:00Z"}`,
	} {
		if w := m.Do("POST", path, body, asJSON...); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "between 1970 and 2199") {
			t.Errorf("POST %s = %d %s", path, w.Code, w.Body)
		}
	}
	now := task.Stamp(time.Now())
	old := &schedule.Schedule{
		Spec: schedule.Spec{Cron: []string{"0 0 * * *"}, StartAt: time.Date(9999, 12, 31, 23, 0, 0, 0, time.UTC), Task: &schedule.Work{Work: task.Work{Agent: "echo"}, Input: []byte("1")}}.WithDefaults(),
		ID:   schedule.NewID(uuid.Must(uuid.NewV7())), Tenant: auth.DefaultTenant, Version: 1, CreatedAt: now, UpdatedAt: now, Last: now,
	}
	if err := m.Store.Schedules.Add(t.Context(), old, 10); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/schedules", "/schedules/" + string(old.ID), "/schedules/" + string(old.ID) + "/runs"} {
		if w := m.Do("GET", path, ""); w.Code != http.StatusOK {
			t.Errorf("GET %s = %d %s", path, w.Code, w.Body)
		}
	}
	if w := m.Do("PATCH", "/schedules/"+string(old.ID), `{"start_at":"2027-01-01T00:00:00Z"}`, asJSON...); w.Code != http.StatusOK {
		t.Errorf("PATCH = %d %s", w.Code, w.Body)
	}
}
