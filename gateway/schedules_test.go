package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
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
