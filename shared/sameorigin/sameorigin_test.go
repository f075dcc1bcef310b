package sameorigin_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"agentmesh/shared/sameorigin"
)

func TestPagesOfOtherSitesAreRefused(t *testing.T) {
	refused := map[sameorigin.Reason]int{sameorigin.WrongHost: 421, sameorigin.CrossSite: 403}
	h, err := sameorigin.Guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		sameorigin.Rules{Hosts: []string{"mesh.example.com"}, Origins: []string{"https://app.example.com"}},
		func(w http.ResponseWriter, _ *http.Request, why sameorigin.Reason) { w.WriteHeader(refused[why]) })
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		method, host, origin, site string
		want                       int
	}{
		{"POST", "127.0.0.1:8080", "", "", 200}, // curl, an SDK
		{"POST", "127.1.2.3", "", "", 200},
		{"POST", "[::1]:8080", "", "", 200},
		{"POST", "[::ffff:127.0.0.1]:8080", "", "", 200},
		{"POST", "localhost:8080", "", "", 200},
		{"POST", "LOCALHOST.:8080", "", "", 200},
		{"POST", "a.localhost", "", "", 200},
		{"POST", "Mesh.Example.com", "", "", 200},
		{"POST", "", "", "", 200},
		// A name that its owner points at loopback.
		{"GET", "evil.example", "", "", 421},
		{"POST", "evil.example:8080", "http://evil.example:8080", "same-origin", 421},
		{"GET", "127.0.0.1.evil.example", "", "", 421},
		{"GET", "localhost.evil.example", "", "", 421},
		{"GET", "10.0.0.1", "", "", 421},
		{"GET", "0.0.0.0:8080", "", "", 421},
		{"GET", "[fe80::1]", "", "", 421},
		// A page of another site, with and without what new browsers say.
		{"POST", "127.0.0.1:8080", "https://evil.example", "cross-site", 403},
		{"POST", "127.0.0.1:8080", "https://evil.example", "", 403},
		{"POST", "127.0.0.1:8080", "null", "", 403},
		{"DELETE", "127.0.0.1:8080", "", "cross-site", 403},
		{"PATCH", "127.0.0.1:8080", "http://localhost:3000", "same-site", 403},
		{"POST", "127.0.0.1:8080", "http://127.0.0.1:9999", "", 403},
		{"GET", "127.0.0.1:8080", "https://evil.example", "cross-site", 200}, // it cannot read the answer
		// The own pages, and those of a site that is trusted.
		{"POST", "127.0.0.1:8080", "http://127.0.0.1:8080", "same-origin", 200},
		{"POST", "127.0.0.1:8080", "https://app.example.com", "cross-site", 200},
	} {
		r := httptest.NewRequest(tt.method, "/tasks", nil)
		r.Host = tt.host
		for name, value := range map[string]string{"Origin": tt.origin, "Sec-Fetch-Site": tt.site} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("%s for %q from %q (%s) = %d, want %d", tt.method, tt.host, tt.origin, tt.site, w.Code, tt.want)
		}
	}
}
