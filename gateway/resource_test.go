package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"agentmesh/gateway"
	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
)

// A client of MCP that has no token finds out where tokens come from (RFC 9728).
func TestAClientOfToolsLearnsWhereTokensComeFrom(t *testing.T) {
	m := meshtest.New(t)
	h := with(m, func(c *gateway.Config) {
		c.Auth, c.PublicURL, c.Issuers = "oidc", "https://mesh.example.com/base/", []string{"https://login.example.com/one"}
		c.Authenticator = meshtest.Callers{"ann": {Tenant: "ann", Scopes: []auth.Scope{auth.AgentsRead, auth.EventsRead}}}
	})
	const at = "https://mesh.example.com/base/.well-known/oauth-protected-resource"
	every := `scope="agents:read sessions:write tasks:input tasks:read tasks:write"`
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{}}}`
	for _, tt := range []struct {
		path, token string
		status      int
		challenge   string
	}{
		{"/mcp", "", 401, `Bearer resource_metadata="` + at + `/mcp", ` + every},
		{"/v1/mcp", "", 401, `Bearer resource_metadata="` + at + `/v1/mcp", ` + every},
		{"/agents/echo/mcp", "Bearer nobody", 401, `Bearer error="invalid_token", resource_metadata="` + at + `/agents/echo/mcp", ` + every},
		{"/mcp", "Bearer ann", 403, `Bearer error="insufficient_scope", scope="agents:read tasks:write", resource_metadata="` + at + `/mcp"`},
		{"/tasks", "", 401, `Bearer`},
	} {
		headers := []string{"Accept", "application/json, text/event-stream"}
		if tt.token != "" {
			headers = append(headers, "Authorization", tt.token)
		}
		w := meshtest.Call(h, "POST", tt.path, body, headers...)
		if got := w.Header().Get("WWW-Authenticate"); w.Code != tt.status || got != tt.challenge {
			t.Errorf("%s with %q: %d %s\nwant %d %s", tt.path, tt.token, w.Code, got, tt.status, tt.challenge)
		}
	}
	for _, path := range []string{"", "/mcp", "/v1/mcp", "/agents/echo/mcp", "/v1/agents/echo/mcp"} {
		got := meshtest.Decode[map[string]any](t, meshtest.Call(h, "GET", "/.well-known/oauth-protected-resource"+path, "").Body)
		if got["resource"] != "https://mesh.example.com/base"+path || got["authorization_servers"].([]any)[0] != "https://login.example.com/one" ||
			got["bearer_methods_supported"].([]any)[0] != "header" || len(got["scopes_supported"].([]any)) != 5 {
			t.Errorf("%s: %v", path, got)
		}
	}
	for name, h := range map[string]http.Handler{"keys": with(m, func(c *gateway.Config) { c.Auth, c.Authenticator = "keys", meshtest.Callers{} }), "no agent": h} {
		path := map[string]string{"keys": "/mcp", "no agent": "/agents/A%20b/mcp"}[name]
		if w := meshtest.Call(h, "GET", "/.well-known/oauth-protected-resource"+path, ""); w.Code != 404 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}

// A page that calls tools may send and see what that takes.
func TestABrowserMaySendTheHeadersOfTools(t *testing.T) {
	m := meshtest.New(t)
	h := with(m, func(c *gateway.Config) { c.CORSOrigins = "https://app.example.com" })
	w := meshtest.Call(h, "OPTIONS", "/mcp", "", "Origin", "https://app.example.com", "Access-Control-Request-Method", "POST")
	for _, name := range []string{"MCP-Protocol-Version", "Mcp-Method", "Mcp-Name", "Authorization"} {
		if !strings.Contains(w.Header().Get("Access-Control-Allow-Headers"), name) {
			t.Errorf("%s is not allowed: %v", name, w.Header())
		}
	}
	if w = meshtest.Call(h, "POST", "/mcp", `{}`, "Origin", "https://app.example.com"); !strings.Contains(w.Header().Get("Access-Control-Expose-Headers"), "WWW-Authenticate") {
		t.Errorf("%v", w.Header())
	}
}
