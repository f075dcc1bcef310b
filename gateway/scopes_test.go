package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
)

// public is what everybody may read, and nothing else is.
var public = []string{
	"GET /", "GET /docs", "GET /healthz", "GET /readyz", "GET /version", "GET /openapi.json", "GET /problems", "GET /problems/{code}", "GET /.well-known/webhooks/jwks.json",
	"POST /hooks/{id}", "GET /.well-known/agent-card.json", "GET /agents/{name}/a2a/.well-known/agent-card.json",
	"GET /.well-known/oauth-protected-resource", "GET /.well-known/oauth-protected-resource/mcp", "GET /.well-known/oauth-protected-resource/agents/{name}/mcp",
	"GET /.well-known/oauth-protected-resource/v1/mcp", "GET /.well-known/oauth-protected-resource/v1/agents/{name}/mcp",
}

// endpoint is a route that is served.
type endpoint struct {
	method, pattern string
	scope           auth.Scope // as the document says
}

var placeholder = regexp.MustCompile(`\{(\w+)\}`)

// path is one of the route's.
func (e endpoint) path() string {
	if below, ok := strings.CutSuffix(e.pattern, "/a2a/v1/*"); ok {
		e.pattern = below + "/a2a/v1/" + map[string]string{"GET": "tasks", "POST": "message:send", "DELETE": "tasks/{id}/pushNotificationConfigs/x"}[e.method]
	}
	return placeholder.ReplaceAllStringFunc(e.pattern, func(name string) string {
		switch {
		case name == "{name}":
			return "echo"
		case name == "{code}":
			return "not_found"
		case name == "{turn_id}":
			return "trn_01a20cd9e03b7276be6a181888e33e52"
		case strings.HasPrefix(e.pattern, "/actions"):
			return "act_01a20cd9e03b7276be6a181888e33e52"
		case strings.HasPrefix(e.pattern, "/sessions"):
			return "ses_01a20cd9e03b7276be6a181888e33e52"
		}
		return "tsk_01a20cd9e03b7276be6a181888e33e52"
	})
}

// streams are those whose answer does not end.
func (e endpoint) streams() bool { return e.method == "GET" && strings.HasSuffix(e.pattern, "/events") }

func (e endpoint) public() bool { return slices.Contains(public, e.method+" "+e.pattern) }

// endpoints walks every route of the handler, with the scope that the document
// says of it.
func endpoints(t *testing.T, m *meshtest.Mesh) (all []endpoint) {
	t.Helper()
	doc := meshtest.Decode[struct {
		Paths map[string]map[string]struct {
			Security []map[string][]auth.Scope
		}
	}](t, m.Do("GET", "/openapi.json", "").Body)
	routes, ok := m.Gateway.Handler().(chi.Routes)
	if !ok {
		t.Fatal("the handler is no router")
	}
	if err := chi.Walk(routes, func(method, pattern string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		e := endpoint{method: method, pattern: pattern}
		documented := doc.Paths[strings.TrimPrefix(pattern, "/v1")][strings.ToLower(method)].Security
		switch {
		case e.public(), strings.HasPrefix(pattern, "/v1"):
		case strings.HasSuffix(pattern, "/mcp"), strings.Contains(pattern, "/a2a/"): // each method of the protocol has its own
			e.scope = auth.Known
		case len(documented) != 1:
			t.Errorf("%s %s has no security in the document", method, pattern)
		case len(documented[0]["bearer"]) == 0:
			e.scope = auth.Known
		default:
			e.scope = documented[0]["bearer"][0]
		}
		all = append(all, e)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestNoRouteButThePublicOnesAnswersAStranger(t *testing.T) {
	m := asked(t)
	seen := map[string]bool{}
	for _, e := range endpoints(t, m) {
		e.pattern, seen[e.method+" "+e.pattern] = strings.TrimPrefix(e.pattern, "/v1"), true
		for _, prefix := range []string{"", "/v1"} {
			if prefix != "" && strings.Contains(e.pattern, "/a2a/") { // its version is in a header
				continue
			}
			for _, token := range []string{"", "Bearer unknown", "Basic YWRtaW46YWRtaW4="} {
				headers := []string{"Authorization", token}
				if token == "" {
					headers = nil
				}
				for _, method := range methodsOf(e) {
					w := briefly(t, m, method, prefix+e.path(), headers...)
					if (w.Code == 401) == e.public() || w.Code >= 500 && !strings.HasSuffix(e.pattern, "/readyz") {
						t.Errorf("%s %s with %q = %d", method, prefix+e.path(), token, w.Code)
					}
				}
			}
		}
	}
	for _, op := range public {
		if !seen[op] {
			t.Errorf("%s is public and not served", op)
		}
	}
}

// briefly asks, and leaves a stream that should not have begun.
func briefly(t *testing.T, m *meshtest.Mesh, method, path string, headers ...string) *httptest.ResponseRecorder {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(`{}`))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	m.Gateway.Handler().ServeHTTP(w, r)
	return w
}

// methodsOf are the methods by which a route is reached.
func methodsOf(e endpoint) []string {
	if e.method == "GET" {
		return []string{"GET", "HEAD"}
	}
	return []string{e.method}
}

// Every route by every scope: a caller gets through with the route's own scope or
// with *, which is none of the admin's, and is told what is missing otherwise.
func TestEveryRouteIsForItsScopeOnly(t *testing.T) {
	natstest.Long(t)
	m := meshtest.Started(t)
	callers := meshtest.Callers{}
	for _, s := range auth.Scopes {
		callers["only-"+named(s)] = auth.Caller{Tenant: "blue", Subject: "only " + string(s), Scopes: []auth.Scope{s}}
		rest := slices.DeleteFunc(slices.Clone(auth.Scopes), func(x auth.Scope) bool { return x == s || x == auth.All })
		callers["but-"+named(s)] = auth.Caller{Tenant: "blue", Subject: "all but " + string(s), Scopes: rest}
	}
	m.Ask(callers)
	all := endpoints(t, m)
	used := map[auth.Scope]bool{}
	for _, e := range all {
		if e.public() || strings.HasPrefix(e.pattern, "/v1") {
			continue
		}
		used[e.scope] = true
		if e.scope != auth.Known && !e.scope.Valid() {
			t.Errorf("%s %s has the scope %q, which nobody can have", e.method, e.pattern, e.scope)
		}
		for token, who := range callers {
			may := who.May(e.scope)
			if strings.HasPrefix(token, "but-") && may != (e.scope == auth.Known || token != "but-"+named(e.scope)) {
				t.Fatalf("%s may %s: %v", token, e.scope, may)
			}
			method := e.method
			if e.streams() && may {
				method = "HEAD"
			}
			w := briefly(t, m, method, e.path(), meshtest.As(token)...)
			if (w.Code == 403) == may || w.Code == 401 || w.Code >= 500 {
				t.Errorf("%s %s by %s = %d", method, e.pattern, token, w.Code)
			}
			if !may && !strings.Contains(w.Body.String(), "scope "+string(e.scope)) {
				t.Errorf("%s %s by %s says %s", method, e.pattern, token, w.Body)
			}
		}
	}
	for _, s := range []auth.Scope{auth.TasksRead, auth.TasksWrite, auth.SessionsRead, auth.SessionsWrite, auth.WebhooksRead, auth.WebhooksWrite, auth.DeliveriesWrite, auth.AgentsRead, auth.EventsRead, auth.Admin} {
		if !used[s] {
			t.Errorf("no route has the scope %s", s)
		}
	}
}

// named is a scope as a token may be named after it.
func named(s auth.Scope) string { return strings.NewReplacer(":", ".", "*", "all").Replace(string(s)) }

// A refused request has had no effect, whatever it claims to be.
func TestNothingGetsAroundAScope(t *testing.T) {
	m := asked(t)
	body := `{"agent":"echo","instruction":"x"}`
	override := func(method string) []string {
		return append(meshtest.As("reader"), "X-HTTP-Method-Override", method, "X-HTTP-Method", method, "X-Method-Override", method)
	}
	for _, tt := range []struct {
		method, path string
		headers      []string
		want         int
	}{
		{"POST", "/tasks", override("GET"), 403},
		{"POST", "/tasks?_method=GET", meshtest.As("reader"), 403},
		{"GET", "/tasks", override("POST"), 200}, // it lists
		{"OPTIONS", "/tasks", nil, 405},
		{"TRACE", "/tasks", meshtest.As("reader"), 405},
		{"CONNECT", "/tasks", meshtest.As("reader"), 405},
		{"post", "/tasks", meshtest.As("reader"), 405},
		{"POST", "/tasks/", meshtest.As("reader"), 404},
		{"POST", "//tasks", meshtest.As("reader"), 404},
		{"POST", "/v1/tasks", meshtest.As("reader"), 403},
		{"POST", "/v1/v1/tasks", meshtest.As("reader"), 404},
		{"POST", "/V1/tasks", meshtest.As("reader"), 404},
		{"POST", "/healthz/../tasks", meshtest.As("reader"), 404},
		{"POST", "/%74asks", meshtest.As("reader"), 404},
		{"HEAD", "/stats", meshtest.As("reader"), 403},
		{"HEAD", "/whoami", nil, 401},
	} {
		w := m.Do(tt.method, tt.path, body, tt.headers...)
		if w.Code != tt.want {
			t.Errorf("%s %s with %v = %d, want %d", tt.method, tt.path, tt.headers, w.Code, tt.want)
		}
	}
	for _, token := range []string{"reader", "admin"} {
		headers := meshtest.As(token)
		if token == "admin" {
			headers = append(headers, "Mesh-Tenant", "blue")
		}
		if w := m.Do("GET", "/tasks", "", headers...); w.Code != 200 || strings.Contains(w.Body.String(), "tsk_") {
			t.Errorf("a refused request made a task: %d %s", w.Code, w.Body)
		}
	}
}

// A refusal comes before the body is looked at, or even sent.
func TestAStrangersBodyIsNotRead(t *testing.T) {
	m := asked(t)
	for _, e := range endpoints(t, m) {
		if e.pattern = strings.TrimPrefix(e.pattern, "/v1"); e.public() || e.method == "GET" {
			continue
		}
		body := &untouched{}
		r := httptest.NewRequest(e.method, e.path(), body)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		m.Gateway.Handler().ServeHTTP(w, r)
		if w.Code != 401 || body.read {
			t.Errorf("%s %s = %d, body read: %v", e.method, e.pattern, w.Code, body.read)
		}
	}
}

// untouched is a body that nobody should read.
type untouched struct{ read bool }

func (b *untouched) Read([]byte) (int, error) {
	b.read = true
	return 0, fmt.Errorf("read")
}
