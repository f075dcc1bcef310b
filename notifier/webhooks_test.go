package notifier_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/egress"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/signature"
	"agentmesh/shared/webhook"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/echo"
)

func encoded(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Bad input is refused before anything was accepted.
func TestABadCallbackIsRefusedBeforeItIsAccepted(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent())()
	m.Guard = egress.New(egress.Policy{}, m.Hosts).WithDial(m.Hosts.Dial) // nothing private
	m.Gateway = m.NewGateway(m.Store)
	many := map[string]string{}
	for i := range 21 {
		many[fmt.Sprintf("X-%d", i)] = "x"
	}
	action := func(more string) string { return `{"agent":"echo","instruction":"x",` + more + `}` }
	for _, tt := range []struct {
		name, path, body, code, detail string
	}{
		{"no callback", "/actions", `{"agent":"echo","instruction":"x"}`, "validation_failed", "/callback_url"},
		{"malformed", "/actions", action(`"callback_url":"https://exa mple/%zz"`), "validation_failed", "malformed"},
		{"no URL", "/actions", action(`"callback_url":"hello"`), "validation_failed", "https://"},
		{"ftp", "/actions", action(`"callback_url":"ftp://example.com/x"`), "validation_failed", "https://"},
		{"credentials", "/actions", action(`"callback_url":"https://user:pw@example.com/x"`), "validation_failed", "user name"},
		{"plain http", "/actions", action(`"callback_url":"http://example.com/x"`), "validation_failed", "must be https"},
		{"loopback", "/actions", action(`"callback_url":"http://127.0.0.1:9000/x"`), "callback_blocked", "allow-private-callbacks"},
		{"metadata", "/actions", action(`"callback_url":"http://169.254.169.254/latest"`), "callback_blocked", ""},
		{"localhost", "/tasks", action(`"callback_url":"https://localhost/x"`), "callback_blocked", ""},
		{"port", "/actions", action(`"callback_url":"https://example.com:22/x"`), "validation_failed", "port"},
		{"event", "/actions", action(`"callback_url":"https://example.com/x","callback_events":["action.exploded"]`), "validation_failed", "action.completed"},
		{"event of a task", "/actions", action(`"callback_url":"https://example.com/x","callback_events":["task.completed"]`), "validation_failed", "/callback_events/0"},
		{"events alone", "/tasks", action(`"callback_events":["completed"]`), "validation_failed", "callback_url"},
		{"secret", "/actions", action(`"callback_url":"https://example.com/x","callback_secret_ref":"whk_00000000000000000000000000000000"`), "validation_failed", "/callback_secret_ref"},
		{"secret's form", "/actions", action(`"callback_url":"https://example.com/x","callback_secret_ref":"*"`), "validation_failed", "/callback_secret_ref"},
		{"webhook without URL", "/webhooks", `{}`, "validation_failed", "/url"},
		{"webhook blocked", "/webhooks", `{"url":"https://10.0.0.1/x"}`, "callback_blocked", ""},
		{"webhook event", "/webhooks", `{"url":"https://example.com","events":["task.done"]}`, "validation_failed", "/events/0"},
		{"webhook agent", "/webhooks", `{"url":"https://example.com","agents":["*"]}`, "validation_failed", "/agents/0"},
		{"webhook scheme", "/webhooks", `{"url":"https://example.com","scheme":"md5"}`, "validation_failed", "/scheme"},
		{"webhook secret", "/webhooks", `{"url":"https://example.com","secret":"whsec_c2hvcnQ="}`, "validation_failed", "/secret"},
		{"too many headers", "/webhooks", encoded(t, map[string]any{"url": "https://example.com", "headers": many}), "validation_failed", "allowed are 20"},
		{"header Host", "/webhooks", `{"url":"https://example.com","headers":{"host":"x"}}`, "validation_failed", "/headers/host"},
		{"header Content-Length", "/webhooks", `{"url":"https://example.com","headers":{"Content-Length":"1"}}`, "validation_failed", "/headers/Content-Length"},
		{"header webhook-id", "/webhooks", `{"url":"https://example.com","headers":{"webhook-id":"1"}}`, "validation_failed", "/headers/webhook-id"},
		{"header twice", "/webhooks", `{"url":"https://example.com","headers":{"X-A":"1","x-a":"2"}}`, "validation_failed", "/headers/x-a"},
		{"header with a line break", "/webhooks", `{"url":"https://example.com","headers":{"X-A":"a\r\nB: c"}}`, "validation_failed", "/headers/X-A"},
		{"certificate", "/webhooks", `{"url":"https://example.com","client_certificate":"x"}`, "validation_failed", "/client_certificate"},
		{"authority", "/webhooks", `{"url":"https://example.com","ca":"x"}`, "validation_failed", "PEM"},
	} {
		w := m.Do("POST", tt.path, tt.body)
		if w.Code != 422 {
			t.Errorf("%s: %d %s, want 422", tt.name, w.Code, w.Body)
			continue
		}
		if p := meshtest.Problem(t, w); p.Code != tt.code || !strings.Contains(encoded(t, p), tt.detail) {
			t.Errorf("%s: %+v, want %s with %q", tt.name, p, tt.code, tt.detail)
		}
	}
	if w := m.Do("POST", "/actions", action(`"callback_url":"https://example.com/x"`), "Mesh-Parent-Task", "tsk_00000000000000000000000000000000"); w.Code != 422 {
		t.Errorf("an action with a parent: %d %s", w.Code, w.Body)
	}
	if n := m.Queued(); n != 0 {
		t.Errorf("%d tasks were accepted", n)
	}
	if got := meshtest.Decode[api.WebhookList](t, m.Do("GET", "/webhooks", "").Body); len(got.Webhooks) != 0 {
		t.Errorf("%d webhooks were made", len(got.Webhooks))
	}
	for path, code := range map[string]string{
		"/webhooks/whk_00000000000000000000000000000000": "webhook_not_found",
		"/webhooks/*": "webhook_not_found",
		"/deliveries/dlv_00000000000000000000000000000000": "delivery_not_found",
		"/deliveries/>": "delivery_not_found",
		"/actions/tsk_00000000000000000000000000000000": "action_not_found",
		"/actions/act_00000000000000000000000000000000": "action_not_found",
	} {
		if w := m.Do("GET", path, ""); w.Code != 404 || meshtest.Problem(t, w).Code != code {
			t.Errorf("GET %s = %d %s, want %s", path, w.Code, w.Body, code)
		}
	}
}

// A webhook through its life: filters, headers, a test through the same path,
// secrets sealed at rest, and nothing after its end.
func TestAWebhookIsSealedFilteredTestedAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(echo.Agent(), meshtest.Named("other", func(context.Context, *agent.Job) (any, error) { return nil, agent.Permanent(fmt.Errorf("no")) }))
		m.Notify()
		r := m.Receive(nil)
		hook := m.Subscribe(`{"url":"` + r.URL + `","events":["task.failed","task.processing"],"agents":["other"],"headers":{"X-Api-Key":"hush"},"description":"ops"}`)
		if hook.Secret == "" || !hook.Enabled || len(hook.Keys) != 1 || strings.Contains(encoded(t, hook), "hush") {
			t.Fatalf("webhook = %+v", hook)
		}
		raw, err := m.Store.Webhooks.Get(t.Context(), "default", webhook.ID(hook.WebhookID))
		if err != nil {
			t.Fatal(err)
		}
		stored := encoded(t, raw)
		if strings.Contains(stored, "hush") || strings.Contains(stored, "whsec_") {
			t.Errorf("stored in the clear: %s", stored)
		}
		w := m.Do("POST", "/webhooks/"+hook.WebhookID+"/test", "")
		tested := meshtest.Decode[api.Delivery](t, w.Body)
		if w.Code != 200 || tested.Status != "delivered" || len(tested.Attempts) != 1 {
			t.Fatalf("test = %d %+v", w.Code, tested)
		}
		m.Create(`{"agent":"echo","instruction":"x"}`)
		m.Create(`{"agent":"other","instruction":"x"}`)
		time.Sleep(time.Minute)
		all := r.All()
		types := map[any]int{}
		for _, r := range all {
			types[r.JSON()["type"]]++
		}
		if len(all) != 3 || types["webhook.test"] != 1 || types["task.processing"] != 1 || types["task.failed"] != 1 {
			t.Fatalf("%d requests: %v", len(all), types)
		}
		for _, r := range all {
			meshtest.Verify(t, r, meshtest.SecretOf(t, hook.Secret))
			if r.Header.Get("X-Api-Key") != "hush" {
				t.Errorf("headers = %v", r.Header)
			}
		}
		// A test that fails is told and not retried.
		r.Answer(meshtest.Answer(500))
		if d := meshtest.Decode[api.Delivery](t, m.Do("POST", "/webhooks/"+hook.WebhookID+"/test", "").Body); d.Status != "dead" || len(d.Attempts) != 1 {
			t.Errorf("failed test = %+v", d)
		}
		time.Sleep(time.Hour)
		if n := len(r.All()); n != 4 {
			t.Errorf("%d requests, want 4", n)
		}
	})
}

// A callback may name the webhook whose keys sign, and its own types of events.
func TestACallbackMayNameItsKeysAndItsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("steps", func(ctx context.Context, job *agent.Job) (any, error) {
			return "done", job.Milestone(ctx, "half", "half way", map[string]int{"n": 1})
		}))
		m.Notify()
		r, other := m.Receive(nil), m.Receive(nil)
		hook := m.Subscribe(`{"url":"` + other.URL + `","events":["action.canceled"]}`)
		id := m.Action(`{"agent":"steps","instruction":"x","callback_url":"` + r.URL + `","callback_secret_ref":"` + hook.WebhookID + `","callback_events":["action.milestone","completed"]}`)
		m.Do("POST", "/tasks", `{"agent":"steps","instruction":"x","callback_url":"`+r.URL+`?task"}`)
		time.Sleep(time.Minute)
		if n := len(r.All()); n != 4 || len(other.All()) != 0 {
			t.Fatalf("%d requests, want 4; %d at the webhook", n, len(other.All()))
		}
		types := map[string]int{}
		for _, got := range r.All() {
			v := got.JSON()
			types[fmt.Sprint(v["type"])]++
			if v["action_id"] == id {
				meshtest.Verify(t, got, meshtest.SecretOf(t, hook.Secret))
			} else if v["task_id"] == nil {
				t.Errorf("body = %s", got.Body)
			}
			if strings.HasSuffix(fmt.Sprint(v["type"]), "milestone") {
				if step, ok := v["milestone"].(map[string]any); !ok || step["name"] != "half" || step["n"] != 1.0 {
					t.Errorf("milestone = %s", got.Body)
				}
			}
		}
		if fmt.Sprint(types) != "map[action.completed:1 action.milestone:1 task.completed:1 task.milestone:1]" {
			t.Errorf("types = %v", types)
		}
	})
}

// A callback whose keys are gone is not sent unsigned; with another webhook's it
// could be again, so it is retried.
func TestNothingIsSentUnsigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		r := m.Receive(nil)
		hook := m.Subscribe(`{"url":"` + r.URL + `","events":["action.canceled"]}`)
		id := m.Action(`{"agent":"echo","instruction":"x","delay":"1m","callback_url":"` + r.URL + `","callback_secret_ref":"` + hook.WebhookID + `"}`)
		m.Do("DELETE", "/webhooks/"+hook.WebhookID, "")
		time.Sleep(2 * time.Minute)
		ds := m.Deliveries(id)
		if len(ds) != 1 || ds[0].Status != "retrying" || ds[0].Attempts[0].Class != string(webhook.ClassKey) || len(r.All()) != 0 {
			t.Errorf("%d requests, deliveries = %+v", len(r.All()), ds)
		}
	})
}

// The key set has the public keys that verify a callback without any secret.
func TestTheKeySetVerifiesACallbackWithoutASecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		r := m.Receive(nil)
		m.Action(`{"agent":"echo","instruction":"x","callback_url":"` + r.URL + `"}`)
		m.Subscribe(`{"url":"` + r.URL + `","scheme":"v1a","events":["task.failed"]}`)
		time.Sleep(time.Second)
		var set api.KeySet
		w := m.Do("GET", "/.well-known/webhooks/jwks.json", "")
		if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil || len(set.Keys) != 2 {
			t.Fatalf("key set = %s", w.Body)
		}
		raw, err := base64.RawURLEncoding.DecodeString(set.Keys[0].X)
		if err != nil {
			t.Fatal(err)
		}
		public, err := signature.ParsePublicKey("whpk_" + base64.StdEncoding.EncodeToString(raw))
		if err != nil {
			t.Fatal(err)
		}
		meshtest.Verify(t, r.All()[0], public)
	})
}
