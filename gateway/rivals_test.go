package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"agentmesh/shared/meshtest"
	"agentmesh/worker/agents/echo"
)

// Changes that come at the same time, and name no version that they are for, all get
// through: the mesh tries again, so that no client has to.
func TestChangesAtOnceAllGetThrough(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent())
	asJSON := []string{"Content-Type", "application/json"}
	for _, c := range []struct{ create, body, id, change string }{
		{"/webhooks", `{"url":"http://127.0.0.1:9/x"}`, "webhook_id", `{"description":"%d"}`},
		{"/hooks", `{"verify":{"style":"github","secrets":["s"]},"task":{"agent":"echo"}}`, "hook_id", `{"name":"h%d"}`},
		{"/schedules", `{"cron":["0 2 * * *"],"task":{"agent":"echo","input":1}}`, "schedule_id", `{"name":"s%d"}`},
	} {
		w := m.Do("POST", c.create, c.body, asJSON...)
		var made map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &made); err != nil || w.Code != http.StatusCreated {
			t.Fatalf("POST %s = %d %s", c.create, w.Code, w.Body)
		}
		one := fmt.Sprint(c.create, "/", made[c.id])
		var changes sync.WaitGroup
		for i := range 24 {
			changes.Go(func() {
				if w := m.Do("PATCH", one, fmt.Sprintf(c.change, i), asJSON...); w.Code != http.StatusOK {
					t.Errorf("PATCH %s = %d %s", one, w.Code, w.Body)
				}
			})
		}
		changes.Wait()
		if w := m.Do("PATCH", one, fmt.Sprintf(c.change, 99), append(asJSON, "If-Match", `"1"`)...); c.create != "/webhooks" && w.Code != http.StatusPreconditionFailed {
			t.Errorf("PATCH %s of another version = %d %s", one, w.Code, w.Body)
		}
	}
}
