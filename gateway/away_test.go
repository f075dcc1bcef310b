package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker/agents/echo"
)

// everything is a request for each thing that a gateway asks its store for.
func everything(m *meshtest.Mesh) [][3]string {
	m.T.Helper()
	m.Work(echo.Agent())
	done := m.Create(`{"agent":"echo","input":1}`)
	large := m.Create(`{"agent":"echo","input":"` + strings.Repeat("x", 300_000) + `"}`)
	failed := m.Create(`{"agent":"echo","input":{"echo_fail":"x"},"max_attempts":1}`)
	pending := m.Create(`{"agent":"echo","input":1,"delay":"1h"}`)
	for _, id := range []string{done, large, failed} {
		m.End(id)
	}
	session := m.Session("echo")
	turn := m.Say(http.StatusOK, session, "hi").TurnID
	w := m.Do("POST", "/webhooks", `{"url":"http://127.0.0.1:9/x"}`)
	hook := meshtest.Decode[client.Webhook](m.T, w.Body).WebhookID
	if hook == "" {
		m.T.Fatalf("POST /webhooks = %d", w.Code)
	}
	action := meshtest.Decode[client.Task](m.T, m.Do("POST", "/actions", `{"agent":"echo","input":1,"delay":"1h","callback_url":"http://127.0.0.1:9/x"}`).Body).ActionID
	schedule := meshtest.Decode[client.Schedule](m.T, m.Do("POST", "/schedules", `{"name":"daily","cron":["@daily"],"task":{"agent":"echo","input":1}}`).Body).ScheduleID
	inbound := meshtest.Decode[client.Hook](m.T, m.Do("POST", "/hooks", `{"verify":{"style":"github","secrets":["a secret of the sender"]},"task":{"agent":"echo"}}`).Body).HookID
	if schedule == "" || inbound == "" {
		m.T.Fatalf("schedule %q, hook %q", schedule, inbound)
	}
	all := [][3]string{{"POST", "/tasks", `{"agent":"echo","input":1}`}, {"POST", "/tasks", `{"agent":"nobody","input":1}`},
		{"POST", "/actions", `{"agent":"echo","input":1,"callback_url":"http://127.0.0.1:9/x"}`}, {"POST", "/sessions", `{"agent":"echo"}`},
		{"POST", "/sessions/" + session + "/messages", `{"text":"x"}`}, {"POST", "/sessions/" + session + "/messages", `{"text":"x","on_busy":"wait"}`},
		{"POST", "/tasks/" + failed + "/retry", ""}, {"POST", "/tasks/" + pending + "/cancel", ""},
		{"POST", "/sessions/" + session + "/turns/" + turn + "/cancel", ""}, {"POST", "/webhooks", `{"url":"http://127.0.0.1:9/y"}`},
		{"PATCH", "/webhooks/" + hook, `{"enabled":true}`}, {"POST", "/webhooks/" + hook + "/rotate-secret", `{}`},
		{"POST", "/webhooks/" + hook + "/test", `{}`}, {"POST", "/webhooks/" + hook + "/redeliver", `{"since":"2000-01-01T00:00:00Z"}`},
		{"POST", "/actions/" + action + "/redeliver", ""}, {"DELETE", "/sessions/" + session, ""}, {"DELETE", "/webhooks/" + hook, ""},
		{"DELETE", "/agents/echo", ""}, {"POST", "/tasks", `{"agent":"echo","input":"` + strings.Repeat("x", 300_000) + `"}`},
		{"POST", "/tasks/bulk", `{"action":"cancel","filter":{"status":["pending"]},"dry_run":true}`}, {"POST", "/tasks/" + pending + "/input", `{"name":"x","value":1}`},
		{"DELETE", "/tasks/" + done, ""}, {"POST", "/actions/" + action + "/cancel", ""}, {"POST", "/sessions/" + session + "/fork", `{"after":1}`},
		{"POST", "/webhooks/" + hook + "/verify", `{}`}, {"POST", "/agents/echo/pause", `{}`}, {"POST", "/agents/echo/resume", ""},
		{"POST", "/schedules", `{"name":"other","cron":["@daily"],"task":{"agent":"echo","input":1}}`}, {"PATCH", "/schedules/" + schedule, `{"cron":["@hourly"]}`},
		{"POST", "/schedules/" + schedule + "/pause", ""}, {"POST", "/schedules/" + schedule + "/resume", ""}, {"POST", "/schedules/" + schedule + "/trigger", ""},
		{"POST", "/schedules/" + schedule + "/backfill", `{"from":"2026-01-01T00:00:00Z","to":"2026-01-03T00:00:00Z"}`}, {"DELETE", "/schedules/" + schedule, ""},
		{"POST", "/hooks", `{"verify":{"style":"github","secrets":["a secret of the sender"]},"task":{"agent":"echo"}}`}, {"PATCH", "/hooks/" + inbound, `{"max_body":1000}`}, {"POST", "/hooks/" + inbound, `{}`},
		{"POST", "/hooks/" + inbound + "/pause", ""}, {"POST", "/hooks/" + inbound + "/resume", ""}, {"POST", "/hooks/" + inbound + "/rotate-secret", `{}`},
		{"DELETE", "/hooks/" + inbound, ""}, {"POST", "/keys", `{"name":"k","scopes":["tasks:read"]}`}, {"PUT", "/tenants/other", `{"limits":{"rate":5}}`}, {"DELETE", "/tenants/other", ""}}
	for _, path := range []string{"/tasks", "/tasks?status=failed", "/tasks/" + done, "/tasks/" + pending, "/tasks/" + large + "/result", "/tasks/" + large + "/input",
		"/tasks/" + done + "/events", "/tasks/" + done + "/deliveries", "/tasks/" + string(task.NewID(task.KindTask, [16]byte{1})), "/actions/" + action + "/deliveries",
		"/sessions", "/sessions/" + session, "/sessions/" + session + "/messages", "/sessions/" + session + "/turns/" + turn,
		"/webhooks", "/webhooks/" + hook, "/deliveries", "/deliveries/dlv_" + strings.Repeat("0", 32), "/.well-known/webhooks/jwks.json",
		"/tasks?order=created", "/tasks/" + large + "/steps", "/tasks/" + done + "?include=input", "/actions/" + action, "/schedules", "/schedules/" + schedule, "/schedules/" + schedule + "/runs",
		"/hooks", "/hooks/" + inbound, "/hooks/" + inbound + "/recent", "/keys", "/keys/key_x", "/tenants", "/tenants/other", "/budgets", "/audit", "/stats/history", "/whoami",
		"/deliveries?status=dead", "/agents", "/agents/echo", "/agents/nobody", "/stats", "/readyz", "/healthz", "/version"} {
		all = append(all, [3]string{"GET", path, ""})
	}
	return all
}

// askAway sends one request, with a key if it is one that may carry one.
func askAway(h http.Handler, request [3]string, n int) *httptest.ResponseRecorder {
	headers := []string{"Accept", "application/json"}
	if request[0] == "POST" {
		headers = append(headers, "Idempotency-Key", fmt.Sprintf(`"key-%d"`, n))
	}
	if request[0] == "PATCH" || request[0] == "PUT" {
		headers = append(headers, "Content-Type", "application/json")
	}
	return meshtest.Call(h, request[0], request[1], request[2], headers...)
}

// A store that does not answer, or that is not connected, is told to every client
// as what it is, never as a mistake of the gateway (500), and once it is known to
// be away nobody waits longer than 3 s for it.
func TestNobodyWaitsLongForAStoreThatIsAway(t *testing.T) {
	for _, how := range []string{"gone", "frozen", "without JetStream"} {
		t.Run(how, func(t *testing.T) {
			if how != "gone" && !*meshtest.Chaos {
				t.Skip("the long form, it waits for what does not answer: make crash")
			}
			m := meshtest.New(t)
			line := &meshtest.Gate{Server: m.Server.Server}
			st, nc := m.OpenStore(nats.InProcessServer(line), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
			g := m.NewGateway(st)
			requests := everything(m)
			if w := askAway(g.Handler(), requests[0], 0); w.Code != http.StatusAccepted { // it knows its agents
				t.Fatalf("%v = %d %s", requests[0], w.Code, w.Body)
			}
			switch how {
			case "frozen":
				line.Freeze()
				defer line.Thaw()
				askAway(g.Handler(), [3]string{"GET", "/webhooks", ""}, 0) // now it is known
			case "without JetStream":
				if err := m.Server.Server.DisableJetStream(); err != nil {
					t.Fatal(err)
				}
				askAway(g.Handler(), [3]string{"GET", "/webhooks", ""}, 0)
			default:
				nc.Close()
			}
			var all sync.WaitGroup
			for n, r := range requests {
				all.Go(func() {
					began := time.Now()
					w := askAway(g.Handler(), r, 100+n)
					if took := time.Since(began); took > 3500*time.Millisecond {
						t.Errorf("%s %s took %v", r[0], r[1], took)
					}
					if w.Code >= 500 && w.Code != http.StatusServiceUnavailable {
						t.Errorf("%s %s = %d %s", r[0], r[1], w.Code, w.Body)
					}
					if p := decodeProblem(w); w.Code == http.StatusServiceUnavailable && p.Code != "store_unavailable" && r[1] != "/readyz" {
						t.Errorf("%s %s = %d %s", r[0], r[1], w.Code, p.Code)
					}
				})
			}
			all.Wait()
		})
	}
}

func decodeProblem(w *httptest.ResponseRecorder) (p struct {
	Code string `json:"code"`
}) {
	_ = json.Unmarshal(w.Body.Bytes(), &p) // an answer that is no problem has no code
	return p
}
