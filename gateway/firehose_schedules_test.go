package gateway_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
)

// What happens to schedules is among all events, beside those of tasks, for readers that
// want it; one that comes back misses nothing.
func TestAllEventsHaveThoseOfSchedules(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Named("echo", meshtest.Says("x")))
	_, c := m.Serve()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	do := func(method, path, body string) {
		t.Helper()
		if w := m.Do(method, path, body, "Content-Type", "application/json"); w.Code >= 300 {
			t.Fatalf("%s %s = %d %s", method, path, w.Code, w.Body)
		}
	}
	do("PUT", "/schedules/often", `{"every":"1h","task":{"agent":"echo","instruction":"x","labels":{"team":"a"}}}`)
	do("POST", "/schedules/often/pause", `{"note":"before anybody reads"}`)
	do("POST", "/schedules/often/resume", "")
	next := func(f client.MeshFilter, want string, then func()) (e client.MeshEvent) {
		t.Helper()
		begun := false
		for e, err := range c.MeshEvents(ctx, f) {
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(e.Data), want) {
				return e
			}
			if f.After == "" && strings.Contains(string(e.Data), "before anybody reads") {
				t.Errorf("told what was before: %s", e.Data)
			}
			if !begun && e.Type == "task.completed" {
				begun = true
				then()
			}
		}
		return e
	}
	stop := make(chan struct{})
	go func() { // tasks, so that the reader is known to read
		for {
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
				m.Do("POST", "/tasks", `{"agent":"echo","instruction":"x","labels":{"team":"a"}}`, "Content-Type", "application/json")
			}
		}
	}()
	first := next(client.MeshFilter{Labels: map[string]string{"team": "a"}}, "the first", func() { do("POST", "/schedules/often/pause", `{"note":"the first"}`) })
	close(stop)
	if first.Type != "schedule.paused" || !strings.Contains(first.ID, ".") {
		t.Errorf("%+v", first)
	}
	do("POST", "/schedules/often/resume", "")
	do("POST", "/schedules/often/pause", `{"note":"while away"}`)
	if e := next(client.MeshFilter{After: first.ID, Types: []string{"schedule.paused"}}, "while away", func() {}); e.Type != "schedule.paused" || e.ID == "" {
		t.Errorf("%+v", e)
	}
	if w := m.Do("GET", "/events?type=schedule.gone", ""); w.Code != http.StatusBadRequest {
		t.Errorf("%d", w.Code)
	}
}
