package cli

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agents/echo"
)

// The commands of webhooks and deliveries print what was agreed, and end with its
// status.
func TestWebhookCommands(t *testing.T) {
	m := newMesh(t)
	m.Work(echo.Agent())
	m.Notify()
	srv, _ := m.Serve()
	r := httptest.NewServer(http.NotFoundHandler())
	defer r.Close()
	mesh := func(want int, args ...string) string {
		t.Helper()
		var out strings.Builder
		if code := Run(t.Context(), Root(nil), append(args, "--gateway", srv.URL), &out, &out); code != want {
			t.Errorf("mesh %s: exit status %d, want %d\n%s", strings.Join(args, " "), code, want, &out)
		}
		return out.String()
	}
	contains := func(text string, parts ...string) {
		t.Helper()
		for _, p := range parts {
			if !strings.Contains(text, p) {
				t.Errorf("no %q in:\n%s", p, text)
			}
		}
	}
	created := mesh(0, "webhook", "create", r.URL, "--events", "task.completed", "--header", "X-Key: hush")
	contains(created, "whsec_", "enabled", "task.completed")
	id := strings.Fields(created)[1]
	if listed := mesh(0, "webhook", "list"); strings.Contains(listed, "whsec_") {
		t.Errorf("the secret is shown again:\n%s", listed)
	}
	contains(mesh(1, "webhook", "test", id), "dead", "config_error", "404")
	contains(mesh(0, "webhook", "rotate", id, "--scheme", "v1a"), "whpk_", "signs until")
	contains(mesh(0, "webhook", "update", id, "--disable"), "disabled through the API")
	contains(mesh(1, "webhook", "redeliver", id), "webhook_disabled")
	contains(mesh(0, "webhook", "update", id, "--enable"), "enabled")
	action := mesh(0, "action", "run", "x", "--callback-url", r.URL, "-o", "json")
	act := meshtest.Decode[struct {
		TaskID string `json:"task_id"`
	}](t, strings.NewReader(action)).TaskID
	natstest.Until(t, "an attempt", func() bool { return strings.Contains(mesh(0, "action", "deliveries", act), "retrying") })
	dlv := meshtest.Decode[[]client.Delivery](t, strings.NewReader(mesh(0, "action", "deliveries", act, "-o", "json")))[0].DeliveryID
	contains(mesh(0, "delivery", "get", dlv), "action.completed", "config_error", "payload", act)
	contains(mesh(0, "delivery", "redeliver", dlv), dlv)
	contains(mesh(0, "delivery", "list", "--limit", "1"), "dlv_")
	contains(mesh(0, "webhook", "create", r.URL, "--curl"), "curl -sS", "/webhooks", r.URL)
	contains(mesh(1, "webhook", "create", "http://10.0.0.1/"), "callback_blocked", "--allow-private-callbacks")
	contains(mesh(2, "action", "run", "x"), "--callback-url")
	contains(mesh(2, "webhook", "get"), "one webhook id")
	mesh(0, "webhook", "delete", id)
	contains(mesh(1, "webhook", "get", id), "webhook_not_found")
}
