package gateway_test

import (
	"net/http"
	"testing"

	"agentmesh/shared/meshtest"
	"agentmesh/worker/agents/echo"
)

// A time that its offset puts into the year 10000 is the client's fault, wherever it
// stands: it could not be written again.
func TestATimeBeyondTheYear9999IsRefused(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent())
	const late = `"9999-12-31T23:59:59-12:00"`
	for path, body := range map[string]string{
		"/keys":              `{"scopes":["tasks:read"],"name":"x","expires_at":` + late + `}`,
		"/tasks":             `{"agent":"echo","input":1,"deadline":` + late + `}`,
		"/schedules/preview": `{"cron":["0 0 * * *"],"from":` + late + `}`,
	} {
		if w := m.Do("POST", path, body, "Content-Type", "application/json"); w.Code != http.StatusUnprocessableEntity {
			t.Errorf("POST %s = %d %s", path, w.Code, w.Body)
		}
	}
}
