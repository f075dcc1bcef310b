package gateway

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A mesh on loopback does not obey a web page that its owner visits.
func TestAPageOfAnotherSiteCommandsNothing(t *testing.T) {
	g := serveOn(t, Default(), loopback(t), nil)
	ask := func(method, path, host, origin string) int {
		t.Helper()
		conn, err := net.Dial("tcp", g.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", method, path, host, origin)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	for _, path := range []string{"/tasks", "/sessions", "/tasks/tsk_1/cancel", "/tasks/tsk_1/retry", "/webhooks/whk_1/rotate-secret"} {
		if got := ask("POST", path, "127.0.0.1", "https://evil.example"); got != http.StatusForbidden {
			t.Errorf("POST %s of another site = %d", path, got)
		}
		if got := ask("POST", path, "evil.example", "http://evil.example"); got != http.StatusMisdirectedRequest {
			t.Errorf("POST %s for another host = %d", path, got)
		}
	}
	for _, path := range []string{"/tasks", "/openapi.json", "/healthz"} {
		if got := ask("GET", path, "evil.example", "http://evil.example"); got != http.StatusMisdirectedRequest {
			t.Errorf("GET %s for another host = %d", path, got)
		}
	}
	if got := ask("GET", "/healthz", "localhost:8080", "http://localhost:8080"); got != http.StatusOK {
		t.Errorf("the own page = %d", got)
	}
}

// A page that may have tools run is named: any page is none.
func TestPagesThatCallToolsAreNamed(t *testing.T) {
	for _, tt := range []struct {
		origins, path string
		want          int
	}{
		{"*", "/mcp", 403}, {"*", "/v1/agents/echo/mcp", 403}, {"*", "/tasks", 200},
		{"https://app.example.com, *", "/mcp", 200}, {"https://app.example.com", "/mcp", 200}, {"", "/mcp", 403},
	} {
		cfg := Default()
		cfg.CORSOrigins = tt.origins
		h := (&front{cfg: cfg, log: slog.New(slog.DiscardHandler)}).guarded(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		r := httptest.NewRequest("POST", "http://127.0.0.1:8080"+tt.path, nil)
		r.Header.Set("Origin", "https://app.example.com")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("%q %s: %d, want %d", tt.origins, tt.path, w.Code, tt.want)
		}
	}
}
