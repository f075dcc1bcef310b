package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"agentmesh/gateway"
	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/echo"
)

// documented lists what the OpenAPI document says is served.
func documented(m *meshtest.Mesh) map[string][]string {
	m.T.Helper()
	doc := meshtest.Decode[struct {
		Paths map[string]map[string]json.RawMessage
	}](m.T, m.Do("GET", "/openapi.json", "").Body)
	methods := map[string][]string{}
	for path, of := range doc.Paths {
		for method := range of {
			methods[path] = append(methods[path], strings.ToUpper(method))
		}
	}
	if len(methods) < 30 {
		m.T.Fatalf("%d paths", len(methods))
	}
	return methods
}

func TestHEADAnswersWhereGETDoes(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent(), meshtest.Counter())
	id := m.Create(`{"agent":"echo","input":1}`)
	m.End(id)
	session := meshtest.Decode[meshtest.SessionView](t, m.Do("POST", "/sessions", `{"agent":"counter"}`).Body).SessionID
	m.Do("PUT", "/tenants/echo", `{}`, "Content-Type", "application/json")
	srv, _ := m.Serve()
	quick := &http.Client{Timeout: 10 * time.Second}
	for path, methods := range documented(m) {
		if !slices.Contains(methods, "GET") {
			continue
		}
		for _, prefix := range []string{"", "/v1"} {
			to := prefix + path
			switch {
			case strings.HasPrefix(path, "/tasks"):
				to = strings.Replace(to, "{id}", id, 1)
			case strings.HasPrefix(path, "/sessions"):
				to = strings.Replace(to, "{id}", session, 1)
			}
			to = strings.NewReplacer("{name}", "echo", "{code}", "not_found").Replace(to)
			want := http.StatusOK
			switch {
			case strings.Contains(to, "{"): // one that there is not
				want = http.StatusNotFound
			case path == "/readyz": // it does not run, it only answers
				want = http.StatusServiceUnavailable
			}
			resp, err := quick.Head(srv.URL + to)
			if err != nil {
				t.Errorf("HEAD %s: %v", to, err)
				continue
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != want && !strings.HasSuffix(to, "/input") && !strings.HasSuffix(to, "/value") || len(body) > 0 || err != nil || resp.Header.Get("Content-Type") == "" {
				t.Errorf("HEAD %s = %d %v with %d bytes, %v", to, resp.StatusCode, resp.Header, len(body), err)
			}
		}
	}
	get, head := m.Do("GET", "/tasks/"+id, ""), m.Do("HEAD", "/tasks/"+id, "")
	if head.Code != 200 || head.Header().Get("ETag") != get.Header().Get("ETag") || head.Header().Get("Content-Length") != get.Header().Get("Content-Length") || head.Body.Len() > 0 {
		t.Errorf("HEAD = %d %v, GET says %v", head.Code, head.Header(), get.Header())
	}
}

func TestAWrongMethodLearnsTheRightOnes(t *testing.T) {
	natstest.Long(t)
	m := meshtest.New(t)
	for path, methods := range documented(m) {
		to := strings.NewReplacer("{id}", "tsk_1", "{name}", "echo", "{code}", "x", "{turn_id}", "trn_1").Replace(path)
		for other, also := range documented(m) { // /schedules/preview is also a /schedules/{id}
			if other != path && regexp.MustCompile(`^`+regexp.MustCompile(`\{[a-z_]+\}`).ReplaceAllString(other, `[^/]+`)+`$`).MatchString(to) {
				methods = append(methods, also...)
			}
		}
		if slices.Contains(methods, "GET") {
			methods = append(methods, "HEAD")
		}
		slices.Sort(methods)
		methods = slices.Compact(methods)
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
			if slices.Contains(methods, method) {
				continue
			}
			for _, prefix := range []string{"", "/v1"} {
				w := m.Do(method, prefix+to, "")
				allow := strings.Split(w.Header().Get("Allow"), ", ")
				slices.Sort(allow)
				if p := meshtest.Problem(t, w); w.Code != 405 || p.Code != "method_not_allowed" || !slices.Equal(allow, methods) {
					t.Errorf("%s %s = %d, Allow: %v, want %v", method, prefix+to, w.Code, allow, methods)
				}
			}
		}
	}
	if w := m.Do("BREW", "/nothing", ""); w.Code != 404 {
		t.Errorf("an unknown method on an unknown path = %d", w.Code)
	}
}

// chunked hides the length of a body.
type chunked struct{ io.Reader }

func TestAnEmptyChunkedBodyIsNoBody(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent(), meshtest.Counter())()
	post := func(path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", path, chunked{strings.NewReader(body)})
		r.ContentLength = -1
		w := httptest.NewRecorder()
		m.Gateway.Handler().ServeHTTP(w, r)
		return w
	}
	hook := meshtest.Decode[client.Webhook](t, m.Do("POST", "/webhooks", `{"url":"http://127.0.0.1:9/x"}`).Body)
	for path, want := range map[string]int{"/sessions": 201, "/webhooks/" + hook.WebhookID + "/rotate-secret": 200, "/webhooks/" + hook.WebhookID + "/redeliver": 202, "/tasks": 415} {
		if w := post(path, ""); w.Code != want {
			t.Errorf("POST %s with nothing = %d %s, want %d", path, w.Code, w.Body, want)
		}
		if w := post(path, "{}"); w.Code != 415 {
			t.Errorf("POST %s with a body of no type = %d %s", path, w.Code, w.Body)
		}
	}
}

func TestLinksKeepThePrefixOfTheRequest(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent(), meshtest.Counter())
	public := with(m, func(c *gateway.Config) { c.PublicURL = "https://mesh.example.com/base/" })
	large := `{"agent":"echo","input":{"status_url":"/tasks/x","text":"` + strings.Repeat("x", 300<<10) + `"}}`
	for base, front := range map[string]struct {
		h    http.Handler
		path string
	}{
		"": {m.Gateway.Handler(), ""}, "/v1": {m.Gateway.Handler(), "/v1"}, "https://mesh.example.com/base": {public, ""}, "https://mesh.example.com/base/v1": {public, "/v1"},
	} {
		do := func(method, path, body string, headers ...string) *httptest.ResponseRecorder {
			return meshtest.Call(front.h, method, front.path+path, body, headers...)
		}
		w := do("POST", "/tasks", large, "Idempotency-Key", "the-key")
		accepted := meshtest.Decode[client.Task](t, bytes.NewReader(w.Body.Bytes()))
		want := base + "/tasks/" + accepted.TaskID
		if w.Code != 202 || accepted.StatusURL != want || w.Header().Get("Location") != want {
			t.Fatalf("%q: %d %s, Location %s, want %s", base, w.Code, w.Body, w.Header().Get("Location"), want)
		}
		m.End(accepted.TaskID)
		got := meshtest.Decode[client.Task](t, do("GET", "/tasks/"+accepted.TaskID, "").Body)
		if got.StatusURL != want || got.ResultURL != want+"/result" {
			t.Errorf("%q: read as %s and %s", base, got.StatusURL, got.ResultURL)
		}
		if result := do("GET", "/tasks/"+accepted.TaskID+"/result", "").Body.String(); !strings.Contains(result, `"status_url":"/tasks/x"`) {
			t.Errorf("%q: the result itself was changed", base)
		}
		w = do("GET", "/tasks?limit=1&agent=echo", "")
		page := meshtest.Decode[struct{ Tasks []client.Task }](t, w.Body)
		if len(page.Tasks) != 1 || page.Tasks[0].StatusURL != want {
			t.Errorf("%q: listed as %+v", base, page)
		}
		if link := w.Header().Get("Link"); link != "" && !strings.HasPrefix(link, "<"+base+"/tasks?") {
			t.Errorf("%q: Link: %s", base, link)
		}
		for _, accept := range []string{"application/json", "text/event-stream"} {
			if events := do("GET", "/tasks/"+accepted.TaskID+"/events", "", "Accept", accept).Body.String(); !strings.Contains(events, `"status_url":"`+want+`"`) {
				t.Errorf("%q: events as %s: %s", base, accept, meshtest.Clipped([]byte(events)))
			}
		}
		session := meshtest.Decode[meshtest.SessionView](t, do("POST", "/sessions", `{"agent":"counter"}`).Body).SessionID
		w = do("POST", "/sessions/"+session+"/messages", `{"text":"hi"}`, "Prefer", "respond-async")
		if to := w.Header().Get("Location"); !strings.HasPrefix(to, base+"/sessions/"+session+"/turns/") || !strings.Contains(w.Body.String(), `"status_url":"`+to+`"`) {
			t.Errorf("%q: turn = %s %s", base, to, w.Body)
		}
	}
}

func TestBrowsersOfOtherOriginsAreLetInByNameOnly(t *testing.T) {
	m := meshtest.New(t)
	named := with(m, func(c *gateway.Config) { c.CORSOrigins = "https://app.example.com, http://localhost:3000" })
	any := with(m, func(c *gateway.Config) { c.CORSOrigins = "*" })
	for _, tt := range []struct {
		h      http.Handler
		origin string
		ok     bool
	}{
		{m.Gateway.Handler(), "https://app.example.com", false}, {named, "https://app.example.com", true}, {named, "http://localhost:3000", true},
		{named, "https://evil.example.com", false}, {named, "https://app.example.com.evil.com", false}, {named, "null", false}, {any, "https://x.example", true},
	} {
		want := ""
		if tt.ok {
			want = tt.origin
		}
		w := meshtest.Call(tt.h, "GET", "/agents", "", "Origin", tt.origin)
		if got := w.Header().Get("Access-Control-Allow-Origin"); w.Code != 200 || got != want || tt.ok && !strings.Contains(w.Header().Get("Access-Control-Expose-Headers"), "Location") {
			t.Errorf("GET from %s = %d %v", tt.origin, w.Code, w.Header())
		}
		w = meshtest.Call(tt.h, "OPTIONS", "/tasks", "", "Origin", tt.origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "idempotency-key")
		if got := w.Header().Get("Access-Control-Allow-Headers"); tt.ok != (w.Code == 204 && strings.Contains(got, "Idempotency-Key") && w.Header().Get("Access-Control-Allow-Origin") == want) {
			t.Errorf("preflight from %s = %d %v", tt.origin, w.Code, w.Header())
		}
	}
	cfg := gateway.Default()
	for _, bad := range []string{"app.example.com", "https://app.example.com/", "ftp://x", "https://"} {
		if cfg.CORSOrigins = bad; cfg.Validate() == nil {
			t.Errorf("cors-origins %q is taken", bad)
		}
	}
	cfg = gateway.Default()
	for _, bad := range []string{"mesh.example.com", "/base", "https://mesh.example.com/?x=1", "ftp://mesh.example.com"} {
		if cfg.PublicURL = bad; cfg.Validate() == nil {
			t.Errorf("public-url %q is taken", bad)
		}
	}
}

func TestTheInputIsReadAsItWasSent(t *testing.T) {
	m := meshtest.New(t)
	stop := m.Work(echo.Agent())
	const small = `{"b":[1.50,"é"],"a":null}`
	large := `{"text":"` + strings.Repeat("x", 300<<10) + `"}`
	done, big := m.Create(`{"agent":"echo","input":`+small+`}`), m.Create(`{"agent":"echo","input":`+large+`}`)
	m.End(done)
	m.End(big)
	stop()
	waiting, told := m.Create(`{"agent":"echo","input":`+small+`}`), m.Create(`{"agent":"echo","instruction":"x"}`)
	for id, want := range map[string]string{done: small, big: large, waiting: small} {
		if w := m.Do("GET", "/tasks/"+id+"/input", ""); w.Code != 200 || w.Body.String() != want || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("input = %d %s", w.Code, meshtest.Clipped(w.Body.Bytes()))
		}
		got := meshtest.Decode[struct {
			Input    json.RawMessage
			InputURL string `json:"input_url"`
		}](t, m.Do("GET", "/tasks/"+id+"?include=error_detail&include=input", "").Body)
		if id == big && (got.Input != nil || got.InputURL != "/tasks/"+id+"/input") || id != big && string(got.Input) != want {
			t.Errorf("include=input: %s %s", meshtest.Clipped(got.Input), got.InputURL)
		}
		if w := m.Do("GET", "/tasks/"+id, ""); strings.Contains(w.Body.String(), `"input`) {
			t.Errorf("without include: %s", meshtest.Clipped(w.Body.Bytes()))
		}
	}
	if w := m.Do("GET", "/tasks/"+told+"/input", ""); meshtest.Problem(t, w).Code != "no_input" {
		t.Errorf("without an input: %d", w.Code)
	}
	if w := m.Do("GET", "/tasks/"+done+"?include=secrets", ""); meshtest.Problem(t, w).Code != "bad_query" {
		t.Errorf("an unknown part: %d", w.Code)
	}
}

func TestTheBuildAndEachCodeCanBeReadUp(t *testing.T) {
	m := meshtest.New(t)
	v := meshtest.Decode[map[string]string](t, m.Do("GET", "/version", "").Body)
	if v["version"] == "" || v["commit"] == "" || !strings.HasPrefix(v["go"], "go1.") || !strings.HasPrefix(v["nats"], "2.") {
		t.Errorf("GET /version = %v", v)
	}
	list := meshtest.Decode[struct{ Problems []api.ProblemPage }](t, m.Do("GET", "/problems", "").Body)
	if len(list.Problems) < 40 {
		t.Errorf("%d codes", len(list.Problems))
	}
	for _, want := range list.Problems {
		got := meshtest.Decode[api.ProblemPage](t, m.Do("GET", "/problems/"+want.Code, "").Body)
		if got != want || got.Title == "" {
			t.Errorf("GET /problems/%s = %+v, listed as %+v", want.Code, got, want)
		}
	}
}

func TestAFailedTurnHasNoMessageButItsError(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Named("moody", func(context.Context, *agent.Job) (any, error) {
		return nil, agent.Permanent(errors.New("not today"))
	}))
	w := m.Do("POST", "/sessions/"+m.Session("moody")+"/messages", `{"text":"hi"}`)
	got := meshtest.Decode[map[string]json.RawMessage](t, w.Body)
	if w.Code != 200 || string(got["message"]) != "null" || string(got["status"]) != `"failed"` || !strings.Contains(string(got["error"]), "not today") {
		t.Errorf("= %d %s", w.Code, got)
	}
}
