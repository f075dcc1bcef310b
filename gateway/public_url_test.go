package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"agentmesh/gateway"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
)

// foreign is a request that names another host in every way there is.
func foreign(method, path, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "evil.example"
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Server", "X-Original-Host", "X-Host", "X-Http-Host-Override", "X-Rewrite-Url", "X-Original-Url"} {
		r.Header.Set(name, "evil.example")
	}
	r.Header.Set("Forwarded", "for=203.0.113.9;host=evil.example;proto=https")
	r.Header.Set("X-Forwarded-Prefix", "/evil.example")
	r.Header.Set("X-Forwarded-Proto", "https")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

var absolute = regexp.MustCompile(`https?://[A-Za-z0-9.:\[\]-]+`)

// Absolute URLs come from --public-url and from nothing that a request says.
func TestNoAnswerRepeatsTheHostOfARequest(t *testing.T) {
	m := meshtest.New(t)
	requests := everything(m)
	m.Notify() // a test of a webhook waits for it
	requests = append(requests, [3]string{"GET", "/openapi.json", ""}, [3]string{"GET", "/nowhere", ""}, [3]string{"TRACE", "/tasks", ""}, [3]string{"GET", "/tasks?limit=1", ""},
		[3]string{"GET", "/tasks?x=y", ""}, [3]string{"POST", "/tasks", "{"}, [3]string{"GET", "/problems", ""}, [3]string{"GET", "/whoami", ""}, [3]string{"GET", "/sessions?limit=1", ""})
	for name, h := range map[string]http.Handler{
		"without a public URL": m.Gateway.Handler(),
		"with one":             with(m, func(c *gateway.Config) { c.PublicURL = "https://mesh.example.com/base" }),
	} {
		links := 0
		for _, prefix := range []string{"", "/v1"} {
			for _, request := range requests {
				for _, accept := range []string{"application/json", "text/event-stream"} {
					if accept == "text/event-stream" && (request[0] != "GET" || !strings.HasSuffix(request[1], "/events")) {
						continue
					}
					w := httptest.NewRecorder()
					h.ServeHTTP(w, foreign(request[0], prefix+request[1], request[2], "Accept", accept))
					answer := headerText(w.Header()) + w.Body.String()
					if strings.Contains(answer, "evil") {
						t.Errorf("%s: %s %s repeats the host: %s", name, request[0], prefix+request[1], meshtest.Clipped([]byte(answer)))
					}
					for _, url := range absolute.FindAllString(answer, -1) {
						switch url {
						case "https://mesh.example.com":
							links++
						case "http://127.0.0.1:9", "https://json-schema.org", "https://example.com": // what clients and agents said
						default:
							t.Errorf("%s: %s %s has %s", name, request[0], prefix+request[1], url)
						}
					}
				}
			}
		}
		if name == "with one" && links < 50 || name != "with one" && links > 0 {
			t.Errorf("%s: %d absolute links", name, links)
		}
	}
}

func headerText(h http.Header) string {
	var b strings.Builder
	_ = h.Write(&b)
	return b.String()
}

// What a receiver is told is where the operator says that the mesh is.
func TestACallbackLinksToThePublicURL(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Named("says", meshtest.Says("x")))
	receiver := m.Receive(nil)
	m.Notify()
	w := httptest.NewRecorder()
	m.Gateway.Handler().ServeHTTP(w, foreign("POST", "/actions", `{"agent":"says","input":1,"callback_url":"`+receiver.URL+`"}`))
	if w.Code != http.StatusAccepted {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	natstest.Until(t, "a callback", func() bool { return len(receiver.All()) > 0 })
	for _, got := range receiver.All() {
		if strings.Contains(string(got.Body), "evil") || strings.Contains(headerText(got.Header), "evil") {
			t.Errorf("%s %s", got.Header, got.Body)
		}
	}
}

func TestTheDocumentNamesThePublicURL(t *testing.T) {
	m := meshtest.New(t)
	public := with(m, func(c *gateway.Config) { c.PublicURL = "https://mesh.example.com/base/" })
	if body := meshtest.Call(public, "GET", "/openapi.json", "").Body.String(); !regexp.MustCompile(`"servers":\s*\[\s*\{\s*"url":\s*"https://mesh.example.com/base"`).MatchString(body) {
		t.Error("the document has no servers")
	}
	if body := meshtest.Call(m.Gateway.Handler(), "GET", "/openapi.json", "").Body.String(); strings.Contains(body, `"servers"`) {
		t.Error("the document has servers that nobody named")
	}
}
