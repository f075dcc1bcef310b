package gateway_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agent"
)

// twoTenants is a mesh with tenants ann and bob, and everything that a tenant can
// have, all of it ann's.
type twoTenants struct {
	*meshtest.Mesh
	receiver *meshtest.Receiver

	tasks, actions, sessions, turns, webhooks, deliveries, schedules, hooks []string
}

func (m *twoTenants) as(who, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	h := append(meshtest.As(who), headers...)
	if method == "PATCH" || method == "PUT" {
		h = append(h, "Content-Type", "application/json")
	}
	return m.Do(method, path, body, h...)
}

// made is the id of what ann's request made.
func (m *twoTenants) made(path, body string, headers ...string) string {
	m.T.Helper()
	w := m.as("ann", "POST", path, body, headers...)
	if w.Code > 202 {
		m.T.Fatalf("POST %s = %d %s", path, w.Code, w.Body)
	}
	return anID.FindString(w.Body.String())
}

var anID = regexp.MustCompile(`\b(tsk|act|trn|ses|dlv|whk|sch|hok)_[0-9a-zA-Z]+`)

const bigInput = 300 << 10 // it is kept apart

func newTwoTenants(t *testing.T) *twoTenants {
	m := &twoTenants{Mesh: meshtest.New(t)}
	everything := []auth.Scope{auth.All}
	m.Ask(meshtest.Callers{
		"ann":  {Tenant: "ann", Subject: "ann", Scopes: everything},
		"bob":  {Tenant: "bob", Subject: "bob", Scopes: everything},
		"root": {Tenant: "default", Subject: "root", Scopes: []auth.Scope{auth.All, auth.Admin}},
	})
	echo := meshtest.Named("echo", func(_ context.Context, job *agent.Job) (any, error) { return job.Input, nil })
	holds := meshtest.Named("holds", func(ctx context.Context, _ *agent.Job) (any, error) { <-ctx.Done(); return nil, ctx.Err() })
	fails := meshtest.Named("fails", func(context.Context, *agent.Job) (any, error) {
		return nil, agent.Permanent(fmt.Errorf("ann's trouble"))
	})
	m.Work(echo, holds, fails, meshtest.Counter())
	m.Notify()
	m.receiver = m.Receive(nil)
	m.fill()
	return m
}

func (m *twoTenants) fill() {
	big := `{"agent":"echo","input":"` + strings.Repeat("a", bigInput) + `"`
	later := m.made("/tasks", `{"agent":"echo","instruction":"later","delay":"24h"}`) // older than what has run
	hook := m.made("/webhooks", `{"url":"`+m.receiver.URL+`","scheme":"v1a"}`)
	parent := m.made("/tasks", `{"agent":"holds","instruction":"x"}`)
	time.Sleep(time.Second)
	m.tasks = []string{
		m.made("/tasks", `{"agent":"echo","input":{"a":1},"labels":{"team":"ann"}}`, "Idempotency-Key", "one"),
		m.made("/tasks", big+"}"), parent,
		m.made("/tasks", `{"agent":"echo","instruction":"child"}`, "Mesh-Parent-Task", parent),
		m.made("/tasks", `{"agent":"fails","instruction":"x"}`),
		later,
	}
	m.actions = []string{
		m.made("/actions", `{"agent":"echo","input":[1],"callback_url":"`+m.receiver.URL+`"}`),
		m.made("/actions", `{"agent":"fails","instruction":"x","callback_url":"`+m.receiver.URL+`"}`),
		m.made("/actions", `{"agent":"echo","instruction":"later","delay":"24h","callback_url":"`+m.receiver.URL+`"}`),
	}
	m.sessions = []string{m.made("/sessions", `{"agent":"counter"}`, "Idempotency-Key", "one"), m.made("/sessions", `{"agent":"holds"}`)}
	m.turns = []string{
		m.turn(m.sessions[0]), m.turn(m.sessions[1], "Prefer", "respond-async"),
	}
	time.Sleep(time.Minute)
	m.webhooks = []string{hook}
	m.schedules = []string{m.made("/schedules", `{"every":"24h","name":"ann's","task":{"agent":"echo","instruction":"ann's"}}`)}
	m.hooks = []string{m.made("/hooks", `{"name":"ann's","verify":{"style":"github","secrets":["s"]},"task":{"agent":"echo"}}`)}
	list := meshtest.Decode[api.DeliveryList](m.T, m.as("ann", "GET", "/deliveries", "").Body)
	for _, d := range list.Deliveries {
		m.deliveries = append(m.deliveries, d.DeliveryID)
	}
	for _, all := range [][]string{m.tasks, m.actions, m.sessions, m.turns, m.webhooks, m.deliveries, m.schedules, m.hooks} {
		if len(all) == 0 || slices.Contains(all, "") {
			m.T.Fatalf("ann has %+v", m)
		}
	}
}

func (m *twoTenants) turn(session string, headers ...string) string {
	w := m.as("ann", "POST", "/sessions/"+session+"/messages", `{"text":"ann says"}`, headers...)
	return meshtest.Decode[api.AcceptedTurn](m.T, w.Body).TurnID
}

// targets are the paths of a route by ann's ids, each with one by ids that nobody
// has; none when it has no id.
func (m *twoTenants) targets(e endpoint) (pairs [][2]string) {
	of := map[string][]string{
		"/tasks": slices.Concat(m.tasks, m.actions, m.turns), "/actions": m.actions, "/sessions": m.sessions, "/webhooks": m.webhooks, "/deliveries": m.deliveries, "/schedules": m.schedules, "/hooks": m.hooks,
	}
	noun, rest, ok := strings.Cut(e.pattern, "/{id}")
	if !ok || e.scope == auth.Admin || e.public() {
		return nil // an admin's things are of no tenant, and bob is refused before
	}
	ids, known := of[noun]
	if !known {
		m.T.Errorf("%s %s: the test knows no ids of %s; add them", e.method, e.pattern, noun)
	}
	for i, id := range ids {
		path, other := noun+"/"+id+rest, noun+"/"+unknown(id)+rest
		if strings.Contains(rest, "{turn_id}") {
			path, other = strings.Replace(path, "{turn_id}", m.turns[i], 1), strings.Replace(other, "{turn_id}", unknown(m.turns[i]), 1)
		}
		pairs = append(pairs, [2]string{path, other})
	}
	return pairs
}

// unknown is an id like another, which nobody has.
func unknown(id string) string {
	const digits = "0123456789abcdef0"
	last := strings.IndexByte(digits, id[len(id)-1])
	return id[:len(id)-1] + digits[last+1:last+2]
}

// bodyOf is what a request to a route may have, so that it fails for its id only.
func bodyOf(e endpoint) string {
	switch {
	case strings.HasSuffix(e.pattern, "/messages") && e.method == "POST":
		return `{"text":"bob says"}`
	case strings.HasSuffix(e.pattern, "/input") && e.method == "POST":
		return `{"name":"approve","value":"bob's"}`
	case strings.HasSuffix(e.pattern, "/verify"):
		return `{"headers":{},"body":""}`
	case strings.HasSuffix(e.pattern, "/steps") && e.method == "POST":
		return `{"type":"started","name":"bob's"}`
	case strings.HasSuffix(e.pattern, "/backfill"):
		return `{"from":"2000-01-01T00:00:00Z","to":"2000-01-01T00:00:00Z"}`
	case strings.HasPrefix(e.pattern, "/schedules") && (e.method == "PATCH" || e.method == "PUT"):
		return `{"every":"1h","task":{"agent":"echo","instruction":"bob's"}}`
	case strings.HasSuffix(e.pattern, "/hooks/{id}/rotate-secret"):
		return `{"secret":"bob's"}`
	case strings.HasPrefix(e.pattern, "/hooks") && e.method == "PATCH":
		return `{"name":"bob's"}`
	case e.method == "PATCH":
		return `{"enabled":true}`
	}
	return ""
}

var traceOf = regexp.MustCompile(`"trace_id":"[0-9a-f]*"`)

// plainAnswer is an answer without what differs from request to request.
func plainAnswer(w *httptest.ResponseRecorder) string {
	headers := w.Header().Clone()
	for _, name := range []string{"X-Request-Id", "Content-Length", "Traceparent"} {
		headers.Del(name)
	}
	return fmt.Sprint(w.Code, headers, traceOf.ReplaceAllString(anID.ReplaceAllString(w.Body.String(), "ID"), ""))
}

// snapshot is all of ann's that can be read.
func (m *twoTenants) snapshot() string {
	var all strings.Builder
	for _, list := range []string{"/tasks?order=created", "/sessions", "/webhooks", "/deliveries", "/schedules", "/hooks"} {
		fmt.Fprintln(&all, m.as("ann", "GET", list, "").Body)
	}
	for _, id := range m.sessions {
		fmt.Fprintln(&all, m.as("ann", "GET", "/sessions/"+id+"/messages", "").Body)
	}
	return all.String()
}

// Another tenant's id is unknown: on every route that takes one, to the byte, and
// whatever is asked has no effect.
func TestAnotherTenantsIDIsUnknownOnEveryRoute(t *testing.T) {
	natstest.Long(t)
	synctest.Test(t, func(t *testing.T) {
		m := newTwoTenants(t)
		before, tried := m.snapshot(), 0
		for _, e := range endpoints(t, m.Mesh) {
			if strings.HasPrefix(e.pattern, "/v1") {
				continue
			}
			for _, pair := range m.targets(e) {
				for _, method := range methodsOf(e) {
					for _, headers := range [][]string{nil, {"Prefer", "wait=1"}, {"Last-Event-ID", "1"}, {"Accept", "application/json"}, {"If-None-Match", `"1"`}, {"If-Match", `"1"`}} {
						tried++
						got, want := m.as("bob", method, pair[0], bodyOf(e), headers...), m.as("bob", method, pair[1], bodyOf(e), headers...)
						if got.Code != 404 || plainAnswer(got) != plainAnswer(want) {
							t.Errorf("%s %s by bob with %v:\n%s\nan unknown id:\n%s", method, pair[0], headers, plainAnswer(got), plainAnswer(want))
						}
					}
				}
			}
		}
		if tried < 500 {
			t.Errorf("%d requests were tried", tried)
		}
		if after := m.snapshot(); after != before {
			t.Errorf("ann had\n%s\nand has\n%s", before, after)
		}
	})
}

// readable says that a test sees what is there: ann and an admin for her do.
func TestTheOwnerAndAnAdminForHerReadWhatIsHers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTwoTenants(t)
		for _, e := range endpoints(t, m.Mesh) {
			if strings.HasPrefix(e.pattern, "/v1") || e.method != "GET" || strings.HasSuffix(e.pattern, "/result") || strings.HasSuffix(e.pattern, "/input") || strings.HasSuffix(e.pattern, "/value") {
				continue
			}
			for _, pair := range m.targets(e) {
				if w := m.as("ann", "HEAD", pair[0], ""); w.Code != 200 {
					t.Errorf("HEAD %s by ann = %d", pair[0], w.Code)
				}
				if w := m.as("root", "HEAD", pair[0], "", "Mesh-Tenant", "ann"); w.Code != 200 {
					t.Errorf("HEAD %s by an admin for ann = %d", pair[0], w.Code)
				}
				if w := m.as("root", "HEAD", pair[0], ""); w.Code != 404 {
					t.Errorf("HEAD %s by an admin = %d", pair[0], w.Code)
				}
			}
		}
	})
}

var nothingIn = regexp.MustCompile(`^{"\w+":\[\](,"next_cursor":"")?(,"scanned":0)?}$`)

func TestListsHaveNothingOfAnotherTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTwoTenants(t)
		next := func(list string) string {
			page := meshtest.Decode[api.TaskList](t, m.as("ann", "GET", list, "").Body)
			if page.NextCursor == "" {
				t.Fatal("ann has one page")
			}
			return list + "&cursor=" + page.NextCursor
		}
		for _, list := range []string{
			"/tasks", "/tasks?order=created", "/tasks?status=pending", "/tasks?label.team=ann", "/tasks?parent_id=" + m.tasks[2],
			"/tasks?session_id=" + m.sessions[0], "/tasks?agent=echo", next("/tasks?limit=1"), next("/tasks?limit=1&order=created"), "/sessions", "/sessions?agent=counter", "/webhooks",
			"/deliveries", "/deliveries?status=delivered", "/deliveries?webhook_id=" + m.webhooks[0],
		} {
			ann, bob := m.as("ann", "GET", list, ""), m.as("bob", "GET", list, "")
			if ann.Code != 200 || !anID.MatchString(ann.Body.String()) {
				t.Errorf("%s has nothing of ann's: %d %s", list, ann.Code, ann.Body)
			}
			if bob.Code != 200 || !nothingIn.MatchString(bob.Body.String()) {
				t.Errorf("%s of bob: %d %s", list, bob.Code, bob.Body)
			}
		}
		all := m.as("ann", "GET", "/.well-known/webhooks/jwks.json?tenant=ann", "").Body.String()
		if own := m.as("bob", "GET", "/.well-known/webhooks/jwks.json?tenant=bob", "").Body.String(); own == all || strings.Count(own, "kid") >= strings.Count(all, "kid") {
			t.Errorf("bob's keys %s, ann's %s", own, all)
		}
		for _, path := range []string{"/agents", "/agents/echo"} { // which belong to no tenant
			if ann, bob := m.as("ann", "GET", path, "").Body.String(), m.as("bob", "GET", path, "").Body.String(); ann != bob {
				t.Errorf("%s of ann %s, of bob %s", path, ann, bob)
			}
		}
		if w := m.as("bob", "GET", "/stats", ""); w.Code != 403 {
			t.Errorf("/stats of bob: %d", w.Code)
		}
	})
}

func TestAnotherTenantsEventsAreNotHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTwoTenants(t)
		listen := func(who, after string) func() string {
			ctx, cancel := context.WithCancel(t.Context())
			r := httptest.NewRequestWithContext(ctx, "GET", "/events", nil)
			for name, value := range map[string]string{"Authorization": "Bearer " + who, "Last-Event-ID": after} {
				r.Header.Set(name, value)
			}
			w, done := httptest.NewRecorder(), make(chan struct{})
			go func() { defer close(done); m.Gateway.Handler().ServeHTTP(w, r) }()
			return func() string { cancel(); <-done; return w.Body.String() }
		}
		var ends []func() string
		last := strings.Trim(m.as("ann", "GET", "/tasks/"+m.tasks[0], "").Header().Get("ETag"), `"`)
		for _, after := range []string{"", "0", "1", last, "18446744073709551615"} {
			ends = append(ends, listen("bob", after))
		}
		ann := listen("ann", "0")
		receivers := map[string]*meshtest.Receiver{"ann": m.Receive(nil), "bob": m.Receive(nil)}
		for who, r := range receivers {
			if w := m.as(who, "POST", "/webhooks", `{"url":"`+r.URL+`","events":["task.processing","task.completed"]}`); w.Code != 201 {
				t.Fatalf("POST /webhooks by %s = %d %s", who, w.Code, w.Body)
			}
		}
		time.Sleep(time.Second) // the notifier hears of them
		m.made("/tasks", `{"agent":"echo","instruction":"ann's"}`)
		m.turn(m.sessions[0])
		time.Sleep(time.Minute)
		if heard := ann(); !strings.Contains(heard, "task.completed") {
			t.Errorf("ann hears %s", heard)
		}
		if to := receivers["ann"].All(); len(to) == 0 {
			t.Error("ann's webhook gets nothing")
		}
		for _, got := range receivers["bob"].All() {
			t.Errorf("bob's webhook gets %s", got.Body)
		}
		for i, end := range ends {
			if heard := end(); strings.Contains(heard, "data:") || anID.MatchString(heard) || strings.Contains(heard, "ann") {
				t.Errorf("bob's reader %d hears %s", i, heard)
			}
		}
	})
}

// A key, a parent, a webhook's secret and an event's number of one tenant mean
// nothing to another.
func TestWhatOneTenantKnowsDoesNotHelpAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTwoTenants(t)
		key := []string{"Idempotency-Key", "one"}
		for path, of := range map[string]struct{ body, id string }{
			"/tasks": {`{"agent":"echo","input":{"a":1},"labels":{"team":"ann"}}`, m.tasks[0]}, "/sessions": {`{"agent":"counter"}`, m.sessions[0]},
		} {
			if again := m.as("ann", "POST", path, of.body, key...); anID.FindString(again.Body.String()) != of.id || again.Header().Get("Idempotent-Replayed") != "true" {
				t.Errorf("POST %s again by ann: %d %s", path, again.Code, again.Body)
			}
			w := m.as("bob", "POST", path, of.body, key...)
			if id := anID.FindString(w.Body.String()); w.Code > 202 || id == of.id || id == "" || w.Header().Get("Idempotent-Replayed") != "" {
				t.Errorf("POST %s by bob with ann's key: %d %s", path, w.Code, w.Body)
			}
			if other := m.as("bob", "POST", path, `{"agent":"holds"}`, key...); other.Code != 422 {
				t.Errorf("POST %s by bob with his own key and another body: %d", path, other.Code)
			}
		}
		parent := m.tasks[2]
		for _, tt := range []struct{ what, path, body, header, value string }{
			{"a parent", "/tasks", `{"agent":"echo","instruction":"x"}`, "Mesh-Parent-Task", parent},
			{"a webhook's secret", "/actions", `{"agent":"echo","instruction":"x","callback_url":"` + m.receiver.URL + `","callback_secret_ref":"` + m.webhooks[0] + `"}`, "", ""},
		} {
			ask := func(change func(string) string) *httptest.ResponseRecorder {
				var headers []string
				if tt.header != "" {
					headers = []string{tt.header, change(tt.value)}
				}
				return m.as("bob", "POST", tt.path, anID.ReplaceAllStringFunc(tt.body, change), headers...)
			}
			got, want := ask(func(id string) string { return id }), ask(unknown)
			if got.Code < 400 || plainAnswer(got) != plainAnswer(want) {
				t.Errorf("%s of ann's:\n%s\none of nobody's:\n%s", tt.what, plainAnswer(got), plainAnswer(want))
			}
		}
		own := meshtest.Decode[api.Accepted](t, m.as("bob", "POST", "/tasks", `{"agent":"echo","instruction":"bob's"}`).Body).TaskID
		time.Sleep(time.Minute)
		rev, _ := strconv.Atoi(strings.Trim(m.as("bob", "GET", "/tasks/"+own, "").Header().Get("ETag"), `"`))
		for _, after := range []int{1, rev - 1, rev + 1000} {
			w := m.as("bob", "GET", "/tasks/"+own+"/events", "", "Last-Event-ID", strconv.Itoa(after))
			if body := w.Body.String(); w.Code > 204 || strings.Contains(body, "ann") {
				t.Errorf("bob's events after %d: %d %s", after, w.Code, body)
			}
		}
	})
}
