package gateway_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"agentmesh/gateway/api"
	"agentmesh/shared/meshtest"
)

// Who comes to the root is led on: a browser to the console, if there is one, by a way
// that also leads there below a path; a program to what there is.
func TestTheRootLeadsOn(t *testing.T) {
	m := meshtest.New(t)
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	if w := m.Do("GET", "/", "", "Accept", browser); w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		t.Errorf("without a console: %d %v", w.Code, w.Header())
	}
	m.Gateway.Handler().(chi.Router).Get("/console", func(http.ResponseWriter, *http.Request) {})
	for accept, want := range map[string]int{
		browser: 303, "text/html": 303, "text/html;q=0.9, application/json;q=0.5": 303,
		"": 200, "*/*": 200, "application/json": 200, "text/html;q=0.5,application/json": 200, "text/html;q=0": 200,
	} {
		w := m.Do("GET", "/", "", "Accept", accept)
		if w.Code != want || (w.Header().Get("Location") == "console/") != (want == 303) || w.Header().Get("Vary") == "" {
			t.Errorf("Accept %q: %d %v", accept, w.Code, w.Header())
		}
	}
	for from, want := range map[string]string{"/v1": "/console/", "/v1/": "/console/"} {
		to, err := url.Parse(m.Do("GET", from, "", "Accept", browser).Header().Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		if got := (&url.URL{Path: from}).ResolveReference(to).Path; got != want {
			t.Errorf("a browser at %s is led to %s", from, got)
		}
		if got := meshtest.Decode[api.Index](t, m.Do("GET", from, "").Body).Console; got != want {
			t.Errorf("%s names the console %s", from, got)
		}
	}
	v := meshtest.Decode[api.Index](t, m.Do("GET", "/", "").Body)
	if v.Name != "agentmesh" || v.Console != "/console/" || len(v.Routes) < 80 || v.Routes[0].Path == "" || v.Routes[0].Scope == "" {
		t.Errorf("%+v", v)
	}
}

// The page of the API has every operation and every type of the document, and nothing
// that a strict policy would stop.
func TestThePageOfTheAPIHasAllAndNeedsNothing(t *testing.T) {
	m := meshtest.New(t)
	w := m.Do("GET", "/docs", "")
	text, policy := w.Body.String(), w.Header().Get("Content-Security-Policy")
	if w.Code != 200 || !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	i := newInspector(t, m)
	for path, methods := range i.doc.Paths {
		for _, op := range methods {
			if !strings.Contains(text, `<article id="`+op.ID+`"`) {
				t.Errorf("%s of %s is not there", op.ID, path)
			}
		}
	}
	for name := range i.doc.Components.Schemas {
		if !strings.Contains(text, `<article id="type-`+name+`"`) {
			t.Errorf("the type %s is not there", name)
		}
	}
	ids := map[string]bool{}
	for _, id := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(text, -1) {
		if ids[id[1]] {
			t.Errorf("the id %s is there twice", id[1])
		}
		ids[id[1]] = true
	}
	for _, link := range regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(text, -1) {
		if to, inside := strings.CutPrefix(link[1], "#"); inside && !ids[to] || !inside && link[1] != "openapi.json" && link[1] != "problems" {
			t.Errorf("a link leads to %s", link[1])
		}
	}
	for _, not := range []string{"<script", " style=", " onclick", "ZgotmplZ"} {
		if strings.Contains(text, not) {
			t.Errorf("the page has %s", not)
		}
	}
}
