package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"agentmesh/gateway"
	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
)

// asked is a mesh that asks, with a caller of each kind.
func asked(t *testing.T) *meshtest.Mesh {
	t.Helper()
	m := meshtest.New(t)
	m.Ask(meshtest.Callers{
		"reader":  {Tenant: "blue", Subject: "reader", KeyID: "k1", Scopes: []auth.Scope{auth.TasksRead}},
		"blue":    {Tenant: "blue", Subject: "blue", Scopes: []auth.Scope{auth.All}},
		"admin":   {Tenant: "default", Subject: "root", Scopes: []auth.Scope{auth.All, auth.Admin}},
		"nothing": {Tenant: "blue", Subject: "nothing"},
		"broken":  {Tenant: "a.>", Subject: "broken", Scopes: []auth.Scope{auth.All}},
	})
	return m
}

func TestARequestSaysWhoAsks(t *testing.T) {
	m := asked(t)
	for _, tt := range []struct {
		name, header string
		status       int
		challenge    string
	}{
		{"no credentials", "", 401, "Bearer"},
		{"known", "Bearer reader", 200, ""},
		{"scheme of any case", "bEARER   reader", 200, ""},
		{"unknown", "Bearer stranger", 401, `Bearer error="invalid_token"`},
		{"another scheme", "Basic cmVhZGVyOg==", 401, `Bearer error="invalid_token"`},
		{"no scheme", "reader", 401, `Bearer error="invalid_token"`},
		{"no token", "Bearer ", 401, `Bearer error="invalid_token"`},
		{"two tokens", "Bearer reader blue", 401, `Bearer error="invalid_token"`},
		{"no token of ours", "Bearer re\tader", 401, `Bearer error="invalid_token"`},
		{"over 8 KiB", "Bearer " + strings.Repeat("a", 8<<10), 401, `Bearer error="invalid_token"`},
		{"of a tenant that is none", "Bearer broken", 401, `Bearer error="invalid_token"`},
	} {
		var headers []string
		if tt.header != "" {
			headers = []string{"Authorization", tt.header}
		}
		w := m.Do("GET", "/whoami", "", headers...)
		if w.Code != tt.status || w.Header().Get("WWW-Authenticate") != tt.challenge {
			t.Errorf("%s: %d, WWW-Authenticate %q, want %d and %q", tt.name, w.Code, w.Header().Get("WWW-Authenticate"), tt.status, tt.challenge)
		}
		if w.Code == 401 && meshtest.Problem(t, w).Code != "unauthenticated" {
			t.Errorf("%s: another code", tt.name)
		}
	}
	r := httptest.NewRequest("GET", "/whoami", nil)
	r.Header["Authorization"] = []string{"Bearer reader", "Bearer reader"}
	w := httptest.NewRecorder()
	m.Gateway.Handler().ServeHTTP(w, r)
	if w.Code != 401 {
		t.Errorf("two Authorization headers: %d", w.Code)
	}
}

func TestWhoAmITellsTheCallerWhatItIs(t *testing.T) {
	m := asked(t)
	me := meshtest.Decode[api.WhoAmI](t, m.Do("GET", "/whoami", "", meshtest.As("reader")...).Body)
	want := api.WhoAmI{Tenant: "blue", Subject: "reader", KeyID: "k1", Scopes: []string{"tasks:read"}, Auth: "keys"}
	if fmt.Sprint(me) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", me, want)
	}
	local := meshtest.Decode[api.WhoAmI](t, meshtest.New(t).Do("GET", "/whoami", "").Body)
	if local.Tenant != "default" || local.Auth != "off" || fmt.Sprint(local.Scopes) != "[* admin]" {
		t.Errorf("without authentication: %+v", local)
	}
	if w := m.Do("GET", "/whoami", "", meshtest.As("nothing")...); w.Code != 200 {
		t.Errorf("a caller without scopes: %d", w.Code)
	}
}

func TestARefusalNamesTheMissingScope(t *testing.T) {
	m := asked(t)
	w := m.Do("POST", "/tasks", `{"agent":"echo","instruction":"x"}`, meshtest.As("reader")...)
	p := meshtest.Problem(t, w)
	if w.Code != 403 || p.Code != "forbidden" || !strings.Contains(p.Detail, "tasks:write") || w.Header().Get("WWW-Authenticate") != `Bearer error="insufficient_scope", scope="tasks:write"` {
		t.Errorf("%d %+v %q", w.Code, p, w.Header().Get("WWW-Authenticate"))
	}
}

func TestOnlyAnAdminActsForAnotherTenant(t *testing.T) {
	m := asked(t)
	tenant := func(headers ...string) string {
		return meshtest.Decode[api.WhoAmI](t, m.Do("GET", "/whoami", "", headers...).Body).Tenant
	}
	if got := tenant(append(meshtest.As("admin"), "Mesh-Tenant", "green")...); got != "green" {
		t.Errorf("an admin is of tenant %q", got)
	}
	for _, name := range []string{"green", "blue"} {
		w := m.Do("GET", "/whoami", "", append(meshtest.As("blue"), "Mesh-Tenant", name)...)
		if p := meshtest.Problem(t, w); w.Code != 403 || !strings.Contains(p.Detail, "admin") || !strings.Contains(p.Detail, "Mesh-Tenant") || !strings.Contains(p.Detail, "Leave it out") {
			t.Errorf("a caller of tenant blue acts for %s: %d %+v", name, w.Code, p)
		}
	}
	for _, name := range []string{"", "_mesh", "_listeners", "a.b", "*", ">", strings.Repeat("a", 65)} {
		w := m.Do("GET", "/whoami", "", append(meshtest.As("admin"), "Mesh-Tenant", name)...)
		if w.Code != 400 || meshtest.Problem(t, w).Code != "bad_tenant" {
			t.Errorf("Mesh-Tenant %q: %d", name, w.Code)
		}
	}
}

// What an agent printed when it failed is for callers with tasks:debug.
func TestAnErrorsDetailIsForThoseWhoDebug(t *testing.T) {
	m := asked(t)
	if w := m.Do("GET", "/tasks/tsk_0190f3c0a0007000800000000000abcd?include=error_detail", "", meshtest.As("reader")...); w.Code != 403 || !strings.Contains(meshtest.Problem(t, w).Detail, "tasks:debug") {
		t.Errorf("without tasks:debug: %d", w.Code)
	}
	if w := m.Do("GET", "/tasks/tsk_0190f3c0a0007000800000000000abcd?include=error_detail", "", meshtest.As("blue")...); w.Code != 404 {
		t.Errorf("with it: %d", w.Code)
	}
}

// authenticator is a function.
type authenticator func(auth.Credentials) (auth.Caller, error)

func (f authenticator) Authenticate(_ context.Context, c auth.Credentials) (auth.Caller, error) {
	return f(c)
}

func TestAnAuthenticatorsTroubleIsNotTheCallers(t *testing.T) {
	m := meshtest.New(t)
	for _, tt := range []struct {
		err    error
		status int
		code   string
		after  string
	}{
		{fmt.Errorf("read key: %w", task.ErrUnavailable), 503, "store_unavailable", "1"},
		{&auth.Locked{Wait: 89500 * time.Millisecond}, 429, "too_many_attempts", "90"},
		{fmt.Errorf("keys of an issuer: %w", auth.ErrUnavailable), 503, "issuer_unavailable", "5"},
		{errors.New("a fault"), 500, "internal", ""},
	} {
		w := httptest.NewRecorder()
		m.Ask(authenticator(func(auth.Credentials) (auth.Caller, error) { return auth.Caller{}, tt.err }))
		m.Gateway.Handler().ServeHTTP(w, httptest.NewRequest("POST", "/tasks", strings.NewReader("{}")))
		var p api.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != tt.status || p.Code != tt.code || w.Header().Get("Retry-After") != tt.after {
			t.Errorf("%v: %d %s, Retry-After %q", tt.err, w.Code, w.Body, w.Header().Get("Retry-After"))
		}
		if strings.Contains(w.Body.String(), tt.err.Error()) {
			t.Errorf("%v is told: %s", tt.err, w.Body)
		}
	}
}

func TestAnAuthenticatorLearnsWhereARequestComesFrom(t *testing.T) {
	m := meshtest.New(t)
	var got auth.Credentials
	m.Ask(authenticator(func(c auth.Credentials) (auth.Caller, error) { got = c; return auth.Caller{}, auth.ErrNoCredentials }))
	r := httptest.NewRequest("GET", "/whoami", nil)
	r.RemoteAddr = "[::ffff:192.0.2.7]:4711"
	r.Header.Set("X-Forwarded-For", "198.51.100.1")
	m.Gateway.Handler().ServeHTTP(httptest.NewRecorder(), r)
	if got.Addr != netip.MustParseAddr("192.0.2.7") || got.Bearer != "" || got.Certs != nil {
		t.Errorf("%+v", got)
	}
}

// A gateway that is told to ask and does not know whom must not serve everybody.
func TestAGatewayThatAsksHasSomebodyToAsk(t *testing.T) {
	m := meshtest.New(t)
	for _, mode := range []string{"keys", "oidc", "keys,oidc"} {
		cfg := gateway.Default()
		cfg.HTTP, cfg.Auth = "127.0.0.1:0", mode
		if g, err := gateway.New(cfg, m.Store, meshtest.Quiet()); err == nil || !strings.Contains(err.Error(), mode) {
			t.Errorf("--auth %s without an authenticator: %v", mode, err)
			g.Close()
		}
	}
	cfg := gateway.Default()
	cfg.HTTP, cfg.Authenticator = "127.0.0.1:0", meshtest.Callers{}
	if _, err := gateway.New(cfg, m.Store, meshtest.Quiet()); err == nil {
		t.Error("an authenticator that nobody asks")
	}
	for mode, want := range map[string]bool{"off": false, "keys": true, "oidc": true, "keys,oidc": true, "oidc,keys": false, "": false, "on": false} {
		cfg := gateway.Default()
		cfg.HTTP, cfg.Auth = "0.0.0.0:8080", mode
		if got := cfg.Validate() == nil; got != want {
			t.Errorf("--auth %q on all addresses: %v, want %v", mode, got, want)
		}
	}
}
