package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"agentmesh/gateway"
	"agentmesh/shared/egress"
	"agentmesh/worker/agents/echo"
)

// mesh listen shows what comes and what it answers, refuses what is not signed,
// forwards, and leaves nothing behind.
func TestListen(t *testing.T) {
	m := newMesh(t)
	m.guard = egress.New(egress.Policy{Allow: egress.Loopback()}, nil) // real sockets
	m.g = m.newGateway(m.st)
	m.work(echo.Agent())
	m.notify()
	srv, _ := m.serve()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Webhook-Signature") == "" {
			t.Error("the signature is not forwarded")
		}
		if strings.Contains(string(body), "teapot") {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer app.Close()
	ctx, stop := context.WithCancel(t.Context())
	out, ended := &transcript{}, make(chan int, 1)
	go func() { ended <- run(ctx, []string{"listen", "--gateway", srv.URL, "--forward-to", app.URL}, out, out) }()
	eventually(t, 10*time.Second, "it listens", func() bool { return strings.Contains(out.String(), "Ready.") })
	_, rest, _ := strings.Cut(out.String(), "Use ")
	callback, _, _ := strings.Cut(rest, " ")
	m.create(`{"agent":"echo","instruction":"x"}`)
	m.action(`{"agent":"echo","instruction":"teapot","callback_url":"` + callback + `","callback_events":["completed"]}`)
	eventually(t, 10*time.Second, "both come and are answered", func() bool {
		text := out.String()
		return strings.Contains(text, "-->  task.completed") && strings.Contains(text, "-->  action.completed") &&
			strings.Contains(text, "<--  [200] from "+app.URL) && strings.Contains(text, "<--  [418] from "+app.URL)
	})
	resp, err := http.Post(callback, "application/json", strings.NewReader(`{"type":"forged"}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(out.String(), "REFUSED") || strings.Contains(out.String(), "forged") {
		t.Errorf("a forged delivery: %d\n%s", resp.StatusCode, out)
	}
	stop()
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("exit status %d\n%s", code, out)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
	if got := decode[gateway.WebhookList](t, m.do("GET", "/webhooks", "").Body); len(got.Webhooks) != 0 {
		t.Errorf("left behind: %+v", got.Webhooks)
	}
}

// The commands of webhooks and deliveries: what they print and how they end.
func TestWebhookCommands(t *testing.T) {
	m := newMesh(t)
	m.guard = egress.New(egress.Policy{Allow: egress.Loopback()}, nil)
	m.g = m.newGateway(m.st)
	m.work(echo.Agent())
	m.notify()
	srv, _ := m.serve()
	r := httptest.NewServer(status(http.StatusNotFound))
	defer r.Close()
	mesh := func(want int, args ...string) string {
		t.Helper()
		var out strings.Builder
		if code := run(t.Context(), append(args, "--gateway", srv.URL), &out, &out); code != want {
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
	act := decode[struct {
		TaskID string `json:"task_id"`
	}](t, strings.NewReader(action)).TaskID
	eventually(t, 10*time.Second, "an attempt", func() bool { return strings.Contains(mesh(0, "action", "deliveries", act), "retrying") })
	dlv := decode[[]gateway.Delivery](t, strings.NewReader(mesh(0, "action", "deliveries", act, "-o", "json")))[0].DeliveryID
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
