package gateway_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway"
	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
)

// The checks of the OWASP API Top 10 (2023) that belong to no operation. The
// others stand beside what they test: A1 in tenants_test.go, A2 in
// admission_test.go and shared/auth, A5 in scopes_test.go, A7 in shared/egress,
// A9 in golden_test.go.

// bodies are requests that are granted, by operation, with paths that have the
// ids of twoTenants.
func (m *twoTenants) bodies() map[string]struct{ path, body string } {
	taking := "/hooks/" + m.hooks[0]
	session, hook, planned := "/sessions/"+m.sessions[0], "/webhooks/"+m.webhooks[0], "/schedules/"+m.schedules[0]
	later, laterAction := "/tasks/"+m.tasks[len(m.tasks)-1], "/actions/"+m.actions[len(m.actions)-1]
	return map[string]struct{ path, body string }{
		"createTask":       {"/tasks", `{"agent":"echo","instruction":"x"}`},
		"tellStep":         {"/tasks/" + m.tasks[0] + "/steps", `{"type":"started","name":"x"}`}, // granted to whoever has the lease
		"retryTask":        {"/tasks/" + m.tasks[4] + "/retry", `{}`},
		"retryAction":      {"/actions/" + m.actions[1] + "/retry", `{}`},
		"createAction":     {"/actions", `{"agent":"echo","instruction":"x","callback_url":"` + m.receiver.URL + `"}`},
		"answerTask":       {later + "/input", `{"name":"approve","value":1}`},
		"answerAction":     {laterAction + "/input", `{"name":"approve","value":1}`},
		"bulkTasks":        {"/tasks/bulk", `{"action":"cancel","filter":{},"dry_run":true}`},
		"bulkDeliveries":   {"/deliveries/bulk", `{"action":"redeliver","filter":{},"dry_run":true}`},
		"forkSession":      {session + "/fork", `{"after":1}`},
		"verifySignature":  {hook + "/verify", `{"headers":{},"body":""}`},
		"createSession":    {"/sessions", `{"agent":"counter"}`},
		"postMessage":      {session + "/messages", `{"text":"x"}`},
		"createWebhook":    {"/webhooks", `{"url":"` + m.receiver.URL + `"}`},
		"updateWebhook":    {hook, `{"description":"d"}`},
		"rotateSecret":     {hook + "/rotate-secret", `{"overlap":"1h"}`},
		"redeliverWebhook": {hook + "/redeliver", `{}`},
		"createSchedule":   {"/schedules", `{"every":"24h","task":{"agent":"echo","instruction":"x"}}`},
		"putSchedule":      {"/schedules/weekly", `{"every":"24h","task":{"agent":"echo","instruction":"x"}}`},
		"updateSchedule":   {planned, `{"max_runs":3}`},
		"pauseSchedule":    {planned + "/pause", `{"note":"n"}`},
		"backfillSchedule": {planned + "/backfill", `{"from":"2000-01-01T00:00:00Z","to":"2000-01-01T00:00:00Z"}`},
		"previewSchedule":  {"/schedules/preview", `{"every":"24h"}`},
		"createHook":       {"/hooks", `{"verify":{"style":"github","secrets":["s"]},"task":{"agent":"echo"}}`},
		"updateHook":       {taking, `{"name":"n"}`},
		"pauseHook":        {taking + "/pause", `{"note":"n"}`},
		"rotateHookSecret": {taking + "/rotate-secret", `{"secret":"t"}`},
	}
}

// owned are the members that the mesh sets, and no client.
var owned = map[string]string{
	"id": `"injected"`, "task_id": `"injected"`, "action_id": `"injected"`, "session_id": `"injected"`, "turn_id": `"injected"`, "webhook_id": `"injected"`, "key_id": `"injected"`,
	"tenant": `"injected"`, "tenant_id": `"injected"`, "subject": `"injected"`, "scopes": `["injected"]`, "status": `"completed"`, "done": `true`, "attempt": `770077007`, "attempts": `[{"attempt":770077007}]`,
	"result": `"injected"`, "result_url": `"injected"`, "error": `{"code":"injected"}`, "progress": `"injected"`, "milestones": `[{"name":"injected"}]`,
	"created_at": `"1999-01-01T00:00:00Z"`, "updated_at": `"1999-01-01T00:00:00Z"`, "started_at": `"1999-01-01T00:00:00Z"`, "finished_at": `"1999-01-01T00:00:00Z"`, "expires_at": `"2999-01-01T00:00:00Z"`,
	"parent_id": `"injected"`, "retried_from": `"injected"`, "children": `["injected"]`, "trace_id": `"injected"`, "revision": `770077007`, "rev": `770077007`, "kind": `"turn"`, "worker_id": `"injected"`,
	"keys": `[{"key_id":"injected"}]`, "signing_secret": `"injected"`, "unreadable": `"injected"`, "disabled_reason": `"injected"`, "queue_seq": `770077007`, "callers": `["injected"]`, "event_depth": `770077007`,
	"turns": `770077007`, "messages": `[{"text":"injected"}]`, "state": `"injected"`, "greeting": `"injected"`,
}

// A3: a member that the mesh owns is refused, and has no effect where the client
// asks for leniency.
func TestOWASP3NobodySetsWhatTheMeshOwns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTwoTenants(t)
		known := m.bodies()
		for _, op := range withBody(t, m) {
			if op.admin {
				continue // what is an admin's names tenants and scopes
			}
			good, ok := known[op.id]
			if !ok {
				t.Errorf("%s takes a body that the test does not know; add one", op.id)
				continue
			}
			for name, value := range owned {
				if slices.Contains(op.members, name) {
					continue
				}
				body := strings.TrimSuffix(good.body, "}") + map[bool]string{true: ","}[len(good.body) > 2] + `"` + name + `":` + value + `}`
				if w := m.as("ann", op.method, good.path, body); w.Code != 422 || !strings.Contains(w.Body.String(), `"/`+name+`"`) {
					t.Errorf("%s with %s = %d %s", op.id, name, w.Code, w.Body)
				}
			}
			all := good.body[:len(good.body)-1]
			for name, value := range owned {
				if !slices.Contains(op.members, name) {
					all += map[bool]string{true: ","}[len(all) > 1] + `"` + name + `":` + value
				}
			}
			w := m.as("ann", op.method, good.path, all+"}", "Prefer", "handling=lenient")
			if w.Code > 202 && (op.id != "tellStep" || w.Code != 409) {
				t.Errorf("%s with all of them, leniently = %d %s", op.id, w.Code, w.Body)
			}
			answers := w.Body.String()
			if to := w.Header().Get("Location"); to != "" {
				time.Sleep(time.Minute)
				answers += m.as("ann", "GET", to, "").Body.String()
			}
			for _, trace := range []string{"injected", "1999-", "2999-", "770077007"} {
				if strings.Contains(anID.ReplaceAllString(traceOf.ReplaceAllString(answers, ""), ""), trace) {
					t.Errorf("%s takes %s over: %s", op.id, trace, answers)
				}
			}
		}
	})
}

// bodied is an operation that takes a body, with its members.
type bodied struct {
	id, method string
	admin      bool
	members    []string
}

func withBody(t *testing.T, m *twoTenants) (all []bodied) {
	t.Helper()
	doc := meshtest.Decode[struct {
		Paths map[string]map[string]struct {
			ID          string `json:"operationId"`
			Security    []map[string][]string
			RequestBody struct {
				Content map[string]struct {
					Schema struct {
						Ref string `json:"$ref"`
					}
				}
			}
		}
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}](t, m.Do("GET", "/openapi.json", "").Body)
	for _, methods := range doc.Paths {
		for method, op := range methods {
			for _, content := range op.RequestBody.Content {
				b := bodied{id: op.ID, method: strings.ToUpper(method), admin: slices.Contains(op.Security[0]["bearer"], "admin")}
				for name := range doc.Components.Schemas[content.Schema.Ref[strings.LastIndex(content.Schema.Ref, "/")+1:]].Properties {
					b.members = append(b.members, name)
				}
				all = append(all, b)
			}
		}
	}
	if len(all) < 8 {
		t.Errorf("%d operations take a body", len(all))
	}
	return all
}

// A3: a secret is told once, when it is made.
func TestOWASP3SecretsAreNotToldTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTwoTenants(t)
		made := meshtest.Decode[api.Webhook](t, m.as("ann", "POST", "/webhooks", `{"url":"`+m.receiver.URL+`?token=s3cret","headers":{"Authorization":"Bearer s3cret"}}`).Body)
		if made.Secret == "" {
			t.Fatal("no secret was made")
		}
		m.made("/tasks", `{"agent":"echo","instruction":"x","callback_url":"`+m.receiver.URL+`"}`)
		time.Sleep(time.Minute)
		for _, path := range []string{"/webhooks", "/webhooks/" + made.WebhookID, "/deliveries", "/agents", "/tasks", "/.well-known/webhooks/jwks.json?tenant=ann"} {
			body := m.as("ann", "GET", path, "").Body.String()
			if strings.Contains(body, made.Secret) || strings.Contains(body, "Bearer s3cret") {
				t.Errorf("GET %s tells a secret: %s", path, body)
			}
		}
		for _, tt := range [][2]string{{"PATCH", ""}, {"POST", "/test"}} {
			if w := m.as("ann", tt[0], "/webhooks/"+made.WebhookID+tt[1], `{"description":"d"}`); strings.Contains(w.Body.String(), made.Secret) {
				t.Errorf("%s %s tells a secret: %s", tt[0], tt[1], w.Body)
			}
		}
		again := meshtest.Decode[api.Webhook](t, m.as("ann", "POST", "/webhooks/"+made.WebhookID+"/rotate-secret", "").Body)
		if again.Secret == "" || again.Secret == made.Secret {
			t.Errorf("rotated to %q", again.Secret)
		}
	})
}

// A8: every answer, whatever it is, keeps browsers from guessing, tells nothing of
// the software, and lets no page of another site read it.
func TestOWASP8EveryAnswerIsGuarded(t *testing.T) {
	m := asked(t)
	check := func(what string, h http.Header) {
		t.Helper()
		if h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: X-Content-Type-Options is %q", what, h.Get("X-Content-Type-Options"))
		}
		for name := range h {
			if name == "Server" || name == "X-Powered-By" || name == "Set-Cookie" || strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s has the header %s", what, name)
			}
		}
	}
	origin := []string{"Origin", "https://evil.example", "Access-Control-Request-Method", "POST"}
	for _, e := range append(endpoints(t, m), endpoint{method: "GET", pattern: "/nothing"}, endpoint{method: "PUT", pattern: "/tasks"}) {
		for _, token := range []string{"", "reader", "blue", "admin"} {
			headers := origin
			if token != "" {
				headers = append(meshtest.As(token), origin...)
			}
			method := e.method
			if e.streams() {
				method = "HEAD"
			}
			for _, method := range []string{method, "OPTIONS"} {
				check(fmt.Sprintf("%s %s by %q", method, e.path(), token), m.Do(method, e.path(), `{}`, headers...).Header())
			}
		}
	}
	lobby := gateway.Lobby(func() string { return "NATS" })
	for _, path := range []string{"/healthz", "/readyz", "/tasks"} {
		w := httptest.NewRecorder()
		lobby.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		check("the lobby's "+path, w.Header())
	}
}

// A8: what is for the operator is not on the public listener.
func TestOWASP8TheOperatorsPathsAreElsewhere(t *testing.T) {
	m := asked(t)
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/vars", "/varz", "/jsz", "/connz", "/.env", "/admin", "/docs/../metrics"} {
		if w := m.Do("GET", path, "", meshtest.As("admin")...); w.Code != 404 {
			t.Errorf("GET %s = %d", path, w.Code)
		}
	}
}

// A8: a fault of ours is told by a code and a trace id, and nothing else.
func TestOWASP8AFaultTellsNothing(t *testing.T) {
	m := meshtest.New(t)
	m.Ask(authenticator(func(auth.Credentials) (auth.Caller, error) { panic("password is s3cret at 10.0.0.1") }))
	w := m.Do("GET", "/agents", "")
	p := meshtest.Problem(t, w)
	if w.Code != 500 || p.Code != "internal" || p.TraceID == "" || strings.Contains(fmt.Sprint(p), "s3cret") || strings.Contains(fmt.Sprint(p), "goroutine") {
		t.Errorf("%d %+v", w.Code, p)
	}
}
