package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dunglas/httpsfv"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/echo"
)

// shared is a mesh with two tenants, blue and green, and an admin, boss, of blue.
func shared(t *testing.T) *meshtest.Mesh {
	t.Helper()
	m := meshtest.New(t)
	m.Ask(meshtest.Callers{
		"blue":  {Tenant: "blue", Subject: "blue", Scopes: []auth.Scope{auth.All}},
		"green": {Tenant: "green", Subject: "green", Scopes: []auth.Scope{auth.All}},
		"boss":  {Tenant: "blue", Subject: "boss", Scopes: []auth.Scope{auth.All, auth.Admin}},
	})
	return m
}

// limit sets the limits of blue.
func limit(t *testing.T, m *meshtest.Mesh, limits string) {
	t.Helper()
	w := m.Do("PUT", "/tenants/blue", `{"limits":`+limits+`}`, append(meshtest.As("boss"), "Content-Type", "application/json")...)
	if w.Code != 200 && w.Code != 201 {
		t.Fatalf("PUT /tenants/blue = %d %s", w.Code, w.Body)
	}
}

// fields are the values of a structured field with parameters.
func fields(t *testing.T, w *httptest.ResponseRecorder, header string) string {
	t.Helper()
	list, err := httpsfv.UnmarshalList(w.Header().Values(header))
	if err != nil || len(list) > 1 {
		t.Fatalf("%s: %q: %v", header, w.Header().Values(header), err)
	}
	text := ""
	for _, m := range list {
		item := m.(httpsfv.Item)
		text = fmt.Sprint(item.Value)
		for _, name := range item.Params.Names() {
			v, _ := item.Params.Get(name)
			text += fmt.Sprintf(" %s=%v", name, v)
		}
	}
	return text
}

// expect checks an answer: its status and code.
func expect(t *testing.T, what string, w *httptest.ResponseRecorder, status int, code string) {
	t.Helper()
	if w.Code != status || code != "" && meshtest.Problem(t, w).Code != code {
		t.Errorf("%s = %d %s, want %d %s", what, w.Code, meshtest.Clipped(w.Body.Bytes()), status, code)
	}
}

// Answers to a tenant with a rate say what is left of it; a refusal says when to come
// again, and comes before anything is looked at. Others, and who sets the limits, are
// not kept out.
func TestARateIsToldAndHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := shared(t)
		limit(t, m, `{"rate":0.5,"burst":2}`)
		for _, left := range []string{"tenant r=1 t=2", "tenant r=0 t=4"} {
			w := m.Do("GET", "/tasks", "", meshtest.As("blue")...)
			expect(t, "GET /tasks", w, 200, "")
			if p, r := fields(t, w, "RateLimit-Policy"), fields(t, w, "RateLimit"); p != "tenant q=2 w=4" || r != left {
				t.Errorf("%s, %s; want %s", p, r, left)
			}
		}
		w := m.Do("POST", "/tasks", `no JSON`, meshtest.As("blue")...)
		if p, r := fields(t, w, "RateLimit-Policy"), fields(t, w, "RateLimit"); p != "tenant q=2 w=4" || r != "tenant r=0 t=2" || w.Header().Get("Retry-After") != "2" {
			t.Errorf("%s, %s, Retry-After %s", p, r, w.Header().Get("Retry-After"))
		}
		expect(t, "one too many", w, 429, "rate_limited")
		w = m.Do("GET", "/tasks", "", meshtest.As("green")...)
		expect(t, "another tenant", w, 200, "")
		if w.Header().Get("RateLimit") != "" {
			t.Error("a tenant without a rate is told of one")
		}
		expect(t, "an admin for another tenant", m.Do("GET", "/tasks", "", append(meshtest.As("boss"), "Mesh-Tenant", "green")...), 200, "")
		expect(t, "a stranger", m.Do("GET", "/tasks", ""), 401, "unauthenticated")
		expect(t, "what is public", m.Do("GET", "/version", "", meshtest.As("blue")...), 200, "")
		expect(t, "an admin of the tenant", m.Do("GET", "/tenants/blue", "", meshtest.As("boss")...), 200, "")
		time.Sleep(2 * time.Second)
		expect(t, "when it was told to come", m.Do("GET", "/tasks", "", meshtest.As("blue")...), 200, "")
		expect(t, "the next", m.Do("GET", "/tasks", "", meshtest.As("blue")...), 429, "rate_limited")
		limit(t, m, `{"rate":1000}`)
		expect(t, "with more", m.Do("GET", "/tasks", "", meshtest.As("blue")...), 200, "")
	})
}

// Every route that asks who calls is held to the rate, but for those of admins.
func TestTheRateHoldsOnEveryRoute(t *testing.T) {
	m := shared(t)
	limit(t, m, `{"rate":0}`)
	admins := map[string]bool{}
	for path, methods := range documented(m) {
		for _, method := range methods {
			w := m.Do(method, strings.NewReplacer("{", "", "}", "").Replace(path), "", meshtest.As("blue")...)
			switch w.Code {
			case 429:
			case 403:
				admins[path] = true
			default:
				if public := m.Do(method, strings.NewReplacer("{", "", "}", "").Replace(path), ""); public.Code == 401 {
					t.Errorf("%s %s = %d", method, path, w.Code)
				}
			}
		}
	}
	if !admins["/tenants"] || !admins["/tenants/{name}"] {
		t.Errorf("only %v are for admins", admins)
	}
}

// held is an agent that ends when it is told to.
func heldAgent(end chan struct{}) agent.Agent {
	return meshtest.Named("held", func(ctx context.Context, _ *agent.Job) (any, error) {
		select {
		case <-end:
		case <-ctx.Done():
		}
		return "done", nil
	})
}

// A tenant has as many requests held as it may: one more is refused before anything
// of it is accepted. A place is free again when an answer is sent, or the client has
// gone.
func TestHeldRequestsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := shared(t)
		end := make(chan struct{})
		m.Work(heldAgent(end), meshtest.Counter())
		blue := meshtest.As("blue")
		task := m.Create(`{"agent":"held","instruction":"x"}`, blue...)
		session := meshtest.Decode[api.SessionCreated](t, m.Do("POST", "/sessions", `{"agent":"counter"}`, blue...).Body).SessionID
		limit(t, m, `{"waits":1}`)
		for name, first := range map[string]func(context.Context){
			"a client that waits": func(context.Context) { m.Do("GET", "/tasks/"+task+"?wait=5s", "", blue...) },
			"a client that goes": func(ctx context.Context) {
				ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
				defer cancel()
				r := httptest.NewRequestWithContext(ctx, "GET", "/tasks/"+task+"?wait=50s", nil)
				r.Header.Set(blue[0], blue[1])
				defer func() { _ = recover() }() // the answer that nobody reads
				m.Gateway.Handler().ServeHTTP(httptest.NewRecorder(), r)
			},
		} {
			var waits sync.WaitGroup
			waits.Go(func() { first(t.Context()) })
			synctest.Wait()
			before, _ := m.Store.Tasks.Queued(t.Context())
			for what, w := range map[string]*httptest.ResponseRecorder{
				"task":    m.Do("POST", "/tasks", `{"agent":"held","instruction":"x"}`, append(blue, "Prefer", "wait=5")...),
				"action":  m.Do("POST", "/actions", `{"agent":"held","instruction":"x","callback_url":"https://example.com/"}`, append(blue, "Prefer", "wait=5")...),
				"poll":    m.Do("GET", "/tasks/"+task, "", append(blue, "Prefer", "wait=5")...),
				"message": m.Do("POST", "/sessions/"+session+"/messages", `{"text":"x"}`, blue...),
			} {
				expect(t, name+": "+what, w, 429, "too_many_waits")
				if w.Header().Get("Retry-After") == "" {
					t.Errorf("%s: %s: no Retry-After", name, what)
				}
			}
			if after, _ := m.Store.Tasks.Queued(t.Context()); after != before {
				t.Errorf("%s: %d tasks were accepted", name, after-before)
			}
			expect(t, "one that does not wait", m.Do("GET", "/tasks/"+task, "", blue...), 200, "")
			expect(t, "a message that does not wait", m.Do("POST", "/sessions/"+session+"/messages", `{"text":"x","on_busy":"wait"}`, append(blue, "Prefer", "respond-async")...), 202, "")
			expect(t, "another tenant", m.Do("POST", "/tasks", `{"agent":"held","instruction":"x"}`, append(meshtest.As("green"), "Prefer", "wait=1")...), 202, "")
			waits.Wait()
			expect(t, name+": afterwards", m.Do("GET", "/tasks/"+task, "", append(blue, "Prefer", "wait=1")...), 200, "")
		}
		close(end)
	})
}

// A tenant has as many streams open as it may, of whatever kind.
func TestStreamsAreLimited(t *testing.T) {
	m := shared(t)
	m.Work(echo.Agent())()
	srv, _ := m.Serve()
	blue := meshtest.As("blue")
	task := m.Create(`{"agent":"echo","instruction":"x","delay":"1h"}`, blue...)
	session := meshtest.Decode[api.SessionCreated](t, m.Do("POST", "/sessions", `{"agent":"echo"}`, blue...).Body).SessionID
	limit(t, m, `{"streams":1}`)
	for _, path := range []string{"/events", "/tasks/" + task + "/events", "/sessions/" + session + "/events"} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(blue[0], blue[1])
		resp, err := http.DefaultClient.Do(r)
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		for _, other := range []string{"/events", "/tasks/" + task + "/events", "/sessions/" + session + "/events"} {
			expect(t, other, m.Do("GET", other, "", blue...), 429, "too_many_waits")
		}
		expect(t, "the history", m.Do("GET", "/tasks/"+task+"/events", "", append(blue, "Accept", "application/json")...), 200, "")
		expect(t, "another tenant", m.Do("HEAD", "/events", "", meshtest.As("green")...), 200, "")
		_ = resp.Body.Close()
		natstest.Until(t, "the place is free", func() bool { return m.Do("HEAD", "/events", "", blue...).Code == 200 })
	}
}

// A flood of tasks ends at the limit, with a time to come again, whatever makes
// them; webhooks and sessions have theirs.
func TestAFloodEndsAtTheLimit(t *testing.T) {
	m := shared(t)
	m.Work(echo.Agent())()
	blue := meshtest.As("blue")
	failed := m.Create(`{"agent":"echo","instruction":"x"}`, blue...)
	expect(t, "cancel", m.Do("POST", "/tasks/"+failed+"/cancel", "", blue...), 200, "")
	limit(t, m, `{"pending":3,"webhooks":1,"sessions":1}`)
	refused := 0
	for i := range 20 {
		w := m.Do("POST", "/tasks", `{"agent":"echo","instruction":"x"}`, append(blue, "Idempotency-Key", fmt.Sprint("k", i))...)
		if w.Code == 429 {
			refused++
			expect(t, "a task", w, 429, "too_many_pending")
			if w.Header().Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		}
	}
	if n, err := m.Store.Tasks.Queued(t.Context()); err != nil || n != 3 || refused != 17 {
		t.Errorf("%d are queued, %d were refused, %v", n, refused, err)
	}
	hook := `{"url":"` + m.Receive(nil).URL + `"}`
	for _, one := range []struct {
		path, body, code string
		status, first    int
	}{
		{"/tasks/" + failed + "/retry", "", "too_many_pending", 429, 0},
		{"/actions", `{"agent":"echo","instruction":"x","callback_url":"` + m.Receive(nil).URL + `"}`, "too_many_pending", 429, 0},
		{"/webhooks", hook, "too_many_webhooks", 422, 201},
		{"/sessions", `{"agent":"echo"}`, "too_many_sessions", 429, 201},
	} {
		if one.first > 0 {
			expect(t, one.path, m.Do("POST", one.path, one.body, blue...), one.first, "")
		}
		expect(t, one.path, m.Do("POST", one.path, one.body, blue...), one.status, one.code)
	}
	expect(t, "another tenant", m.Do("POST", "/tasks", `{"agent":"echo","instruction":"x"}`, meshtest.As("green")...), 202, "")
	if w := m.Do("POST", "/tasks", `{"agent":"echo","instruction":"x"}`, append(blue, "Idempotency-Key", "k0")...); w.Code != 202 || w.Header().Get("Idempotent-Replayed") != "true" {
		t.Errorf("a repeat of what was accepted = %d %s", w.Code, w.Body)
	}
}

// Tests of webhooks are no means to flood a host: it gets a few, whoever asks, by
// whatever port or spelling.
func TestTestsDoNotFloodAHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := shared(t)
		m.Notify()
		r := m.Receive(nil)
		var hooks [][2]string
		for i := range 3 {
			for _, who := range []string{"blue", "green"} {
				url := strings.Replace(r.URL, "/hook", fmt.Sprint("/hook", i), 1)
				w := m.Do("POST", "/webhooks", `{"url":"`+url+`"}`, meshtest.As(who)...)
				hooks = append(hooks, [2]string{who, meshtest.Decode[api.Webhook](t, w.Body).WebhookID})
			}
		}
		refused := 0
		for range 5 {
			for _, h := range hooks {
				w := m.Do("POST", "/webhooks/"+h[1]+"/test", "", meshtest.As(h[0])...)
				if w.Code == 429 {
					refused++
					expect(t, "a test", w, 429, "rate_limited")
				}
			}
		}
		if n := len(r.All()); n > 15 || n < 10 || refused+n != 30 {
			t.Errorf("the host got %d of 30 tests, %d were refused", n, refused)
		}
		other := m.Receive(nil)
		w := m.Do("POST", "/webhooks", `{"url":"`+other.URL+`"}`, meshtest.As("blue")...)
		expect(t, "another host", m.Do("POST", "/webhooks/"+meshtest.Decode[api.Webhook](t, w.Body).WebhookID+"/test", "", meshtest.As("blue")...), 200, "")
	})
}

// Asking for a delivery again and again while it is on its way is one delivery.
func TestAFloodOfRedeliveriesIsOneDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		r := m.Receive(nil)
		id := m.Action(`{"agent":"echo","input":1,"callback_url":"` + r.URL + `"}`)
		time.Sleep(time.Minute)
		before := len(r.All())
		answer := make(chan struct{})
		r.Answer(func(w http.ResponseWriter, _ *http.Request) { <-answer })
		delivery := m.Deliveries(id)[0].DeliveryID
		for range 20 {
			if w := m.Do("POST", "/deliveries/"+delivery+"/redeliver", ""); w.Code != 202 && w.Code != 409 {
				t.Errorf("= %d %s", w.Code, w.Body)
			}
		}
		close(answer)
		time.Sleep(time.Hour)
		if n := len(r.All()) - before; n < 1 || n > 3 {
			t.Errorf("20 requests are %d deliveries", n)
		}
	})
}

// Admins, and nobody else, read and write the limits of tenants.
func TestTenantsAreForAdmins(t *testing.T) {
	m := shared(t)
	put := []string{"Content-Type", "application/json"}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		expect(t, method, m.Do(method, "/tenants/blue", `{}`, append(put, meshtest.As("blue")...)...), 403, "forbidden")
	}
	expect(t, "list", m.Do("GET", "/tenants", "", meshtest.As("blue")...), 403, "forbidden")
	boss := append(put, meshtest.As("boss")...)
	w := m.Do("PUT", "/tenants/blue", `{"limits":{"rate":2.5,"webhooks":3}}`, boss...)
	expect(t, "made", w, 201, "")
	got := meshtest.Decode[api.Tenant](t, w.Body)
	if got.Name != "blue" || *got.Limits.Rate != 2.5 || got.Effective.Rate != 2.5 || got.Effective.Webhooks != 3 || got.Effective.Pending != -1 || got.Limits.Pending != nil || got.CreatedAt.IsZero() {
		t.Errorf("%+v", got)
	}
	expect(t, "again", m.Do("PUT", "/tenants/blue", `{"limits":{}}`, boss...), 200, "")
	if got = meshtest.Decode[api.Tenant](t, m.Do("GET", "/tenants/blue", "", boss...).Body); got.Limits.Rate != nil || got.Effective.Rate != -1 {
		t.Errorf("what is left out is not the mesh's: %+v", got)
	}
	for _, bad := range []struct{ path, body, pointer string }{
		{"/tenants/blue", `{"limits":{"rat":1}}`, "/limits/rat"},
		{"/tenants/blue", `{"limits":{"rate":1e399}}`, "/limits/rate"},
		{"/tenants/blue", `{"limits":{"pending":1.5}}`, "/limits/pending"},
		{"/tenants/blue", `{"limits":{"pending":-2}}`, "/limits/pending"},
		{"/tenants/blue", `{"limit":{}}`, "/limit"},
	} {
		w := m.Do("PUT", bad.path, bad.body, boss...)
		if p := meshtest.Problem(t, w); w.Code != 422 || len(p.Errors) != 1 || p.Errors[0].Pointer != bad.pointer {
			t.Errorf("%s %s = %d %+v", bad.path, bad.body, w.Code, p)
		}
	}
	for _, name := range []string{"_mesh", "a.b", "*", "%3E", strings.Repeat("a", 65)} {
		expect(t, name, m.Do("PUT", "/tenants/"+name, `{}`, boss...), 422, "validation_failed")
	}
	expect(t, "delete", m.Do("DELETE", "/tenants/blue", "", boss...), 204, "")
	expect(t, "gone", m.Do("GET", "/tenants/blue", "", boss...), 404, "tenant_not_found")
}
