package oidc_test

import (
	"errors"
	"fmt"
	"math"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"agentmesh/shared/auth"
	"agentmesh/shared/auth/oidc"
)

type m = map[string]any

func TestATokenOfTheIssuerIsItsCaller(t *testing.T) {
	i, a := onLoopback(t)
	for name, token := range map[string]string{
		"RS256":           i.token(),
		"ES256":           sign(m{"alg": "ES256", "kid": "e1", "typ": "JWT"}, i.claimed(), ecKey()),
		"EdDSA":           sign(m{"alg": "EdDSA", "kid": "d1", "typ": "at+jwt"}, i.claimed(), edKey()),
		"without a kid":   sign(m{"alg": "ES256"}, i.claimed(), ecKey()),
		"among audiences": i.token(m{"aud": []string{"account", "agentmesh"}}),
	} {
		who, err := ask(t, a, token)
		if err != nil || who.Tenant != "acme" || who.Subject != "u1" || !slices.Equal(who.Scopes, []auth.Scope{auth.TasksRead, auth.TasksWrite}) {
			t.Errorf("%s: %+v, %v", name, who, err)
		}
	}
}

// Clients of MCP ask for tokens for the URL of the endpoint.
func TestATokenForTheGatewayItselfCounts(t *testing.T) {
	i := newIssuer()
	srv := httptest.NewServer(i)
	t.Cleanup(srv.Close)
	i.url = srv.URL
	a := run(t, configOf(i), oidc.Options{Resource: "https://mesh.example.com/base/"})
	for aud, ok := range map[string]bool{
		"agentmesh": true, "https://mesh.example.com/base": true, "https://mesh.example.com/base/": true, "https://mesh.example.com/base/mcp": true, "https://mesh.example.com/base/v1/agents/x/mcp": true,
		"https://mesh.example.com/basement/mcp": false, "https://mesh.example.com": false, "https://mesh.example.com/base/tasks": false, "https://other.example.com/base/mcp": false, "/mcp": false, "": false,
	} {
		if _, err := ask(t, a, i.token(m{"aud": aud})); (err == nil) != ok {
			t.Errorf("%q: %v", aud, err)
		}
	}
	_, plain := onLoopback(t)
	if _, err := ask(t, plain, i.token(m{"aud": "/mcp"})); err == nil {
		t.Error("any audience of a gateway without a URL")
	}
}

func TestNoOtherTokenIsAccepted(t *testing.T) {
	i, a := onLoopback(t)
	good := i.token()
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	rs := m{"alg": "RS256", "kid": "r1"}
	with := func(k string, v any) m { return m{"alg": "RS256", "kid": "r1", k: v} }
	now := time.Now()
	text := func(format string, args ...any) string {
		return fmt.Sprintf(`{"iss":%q,"aud":"agentmesh","sub":"u1","tenant":"acme","exp":%d,`, i.url, now.Add(time.Hour).Unix()) + fmt.Sprintf(format, args...) + "}"
	}
	bad := map[string]string{
		"alg none":                      sign(m{"alg": "none"}, i.claimed(), nil),
		"alg None":                      sign(m{"alg": "None", "kid": "r1"}, i.claimed(), nil),
		"no alg":                        sign(m{"kid": "r1"}, i.claimed(), rsaKey()),
		"two algs":                      sign(m{"alg": []string{"RS256", "none"}, "kid": "r1"}, i.claimed(), rsaKey()),
		"no signature":                  head + "." + payload + ".",
		"another's payload":             head + "." + strings.Split(i.token(m{"sub": "root"}), ".")[1] + "." + signature,
		"RS512":                         sign(m{"alg": "RS512", "kid": "r1"}, i.claimed(), rsaKey()),
		"PS256":                         sign(m{"alg": "PS256", "kid": "r1"}, i.claimed(), rsaKey()),
		"the wrong kind of key":         sign(m{"alg": "ES256", "kid": "r1"}, i.claimed(), ecKey()),
		"expired":                       i.token(m{"exp": now.Add(-time.Hour).Unix()}),
		"no exp":                        i.token(m{"exp": nil}),
		"exp null":                      sign(rs, strings.Replace(text(`"x":1`), `"exp":`, `"exp":null,"x-exp":`, 1), rsaKey()),
		"exp a text":                    i.token(m{"exp": "9999999999"}),
		"not valid yet":                 i.token(m{"nbf": now.Add(time.Hour).Unix()}),
		"nbf a text":                    i.token(m{"nbf": "9999999999"}),
		"nbf without end":               i.token(m{"nbf": math.MaxFloat64}),
		"another audience":              i.token(m{"aud": "billing"}),
		"no audience":                   i.token(m{"aud": nil}),
		"a part of the audience":        i.token(m{"aud": []string{"agentmesh2", "agent"}}),
		"another issuer":                i.token(m{"iss": "https://login.example.com"}),
		"the issuer and a slash":        i.token(m{"iss": i.url + "/"}),
		"no issuer":                     i.token(m{"iss": nil}),
		"two issuers":                   i.token(m{"iss": []string{i.url}}),
		"unknown kid":                   sign(m{"alg": "RS256", "kid": "r9"}, i.claimed(), rsaKey()),
		"another's key":                 sign(rs, i.claimed(), unrelated()),
		"another's key without a kid":   sign(m{"alg": "RS256"}, i.claimed(), unrelated()),
		"kid a path":                    sign(m{"alg": "RS256", "kid": "../../../../dev/null"}, i.claimed(), []byte{}),
		"kid with SQL":                  sign(m{"alg": "RS256", "kid": "r1' OR '1'='1"}, i.claimed(), unrelated()),
		"kid with a line":               sign(m{"alg": "RS256", "kid": "r1\nlevel=INFO"}, i.claimed(), rsaKey()),
		"kid a list":                    sign(m{"alg": "RS256", "kid": []string{"r1"}}, i.claimed(), rsaKey()),
		"an own key in its header":      sign(with("jwk", jose.JSONWebKey{Key: unrelated().Public(), KeyID: "r1"}), i.claimed(), unrelated()),
		"a place of keys in its header": sign(with("jku", "https://evil.example/keys"), i.claimed(), unrelated()),
		"crit":                          sign(m{"alg": "RS256", "kid": "r1", "crit": []string{"exp"}, "exp": 1}, i.claimed(), rsaKey()),
		"crit b64":                      sign(m{"alg": "RS256", "kid": "r1", "crit": []string{"b64"}, "b64": true}, i.claimed(), rsaKey()),
		"crit empty":                    sign(with("crit", []string{}), i.claimed(), rsaKey()),
		"Crit":                          sign(with("Crit", []string{"x"}), i.claimed(), rsaKey()),
		"a logout token":                sign(with("typ", "logout+jwt"), i.claimed(), rsaKey()),
		"typ a number":                  sign(with("typ", 1), i.claimed(), rsaKey()),
		"a claim twice":                 sign(rs, text(`"tenant":"other"`), rsaKey()),
		"a claim twice, escaped":        sign(rs, text(`"tenan\u0074":"other"`), rsaKey()),
		"a claim twice, inside":         sign(rs, text(`"realm_access":{"roles":["a"],"roles":["admin"]}`), rsaKey()),
		"a claim in another case":       sign(rs, text(`"AUD":"agentmesh","Exp":99999999999`), rsaKey()),
		"two payloads":                  sign(rs, text(`"x":1`)+"{}", rsaKey()),
		"a payload that is a list":      sign(rs, "["+text(`"x":1`)+"]", rsaKey()),
		"a payload that is null":        sign(rs, "null", rsaKey()),
		"no subject":                    i.token(m{"sub": nil}),
		"a subject with a line":         i.token(m{"sub": "u1\nlevel=INFO"}),
		"padding":                       head + "==." + payload + "." + signature,
		"a blank":                       head + ". " + payload + "." + signature,
		"too long":                      i.token(m{"pad": strings.Repeat("x", oidc.MaxToken)}),
		"empty parts":                   "..",
	}
	for n, secret := range publicForms(rsaKey()) {
		bad[fmt.Sprintf("HS256 with the public key, form %d", n)] = sign(m{"alg": "HS256", "kid": "r1"}, i.claimed(), secret)
		bad[fmt.Sprintf("RS256 that is a MAC, form %d", n)] = sign(rs, i.claimed(), secret)
	}
	for name, token := range bad {
		who, err := ask(t, a, token)
		if !errors.Is(err, auth.ErrUnauthenticated) || who.Tenant != "" {
			t.Errorf("%s: %+v, %v", name, who, err)
		}
		if err != nil && (strings.Contains(err.Error(), signature) || strings.Contains(err.Error(), payload) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: the reason has the token in it: %v", name, err)
		}
	}
	if _, err := ask(t, a, good); err != nil {
		t.Errorf("the good one is not accepted: %v", err)
	}
	if n := i.fetches(); n != 1 {
		t.Errorf("%d bad tokens made it ask %d times for keys, want 1", len(bad), n)
	}
}

func TestOtherCredentialsAreLeftToOthers(t *testing.T) {
	_, a := onLoopback(t)
	for _, bearer := range []string{"", "amk_live_abc", "amk_a.b.c", "amt_a.b.c", "opaque", "a.b", "a.b.c.d.e"} {
		if _, err := ask(t, a, bearer); !errors.Is(err, auth.ErrNoCredentials) {
			t.Errorf("%q: %v", bearer, err)
		}
	}
}

func TestATenantIsWhatTheClaimNamesAndNothingElse(t *testing.T) {
	for name, tt := range map[string]struct {
		claim, prefix string
		value         any
		want          string
	}{
		"a text":                     {"org", "", "acme", "acme"},
		"of a list of one":           {"org", "", []string{"acme"}, "acme"},
		"two":                        {"org", "", []string{"acme", "other"}, ""},
		"none":                       {"org", "", []string{}, ""},
		"no text":                    {"org", "", 7, ""},
		"no texts":                   {"org", "", []any{"acme", 7}, ""},
		"a group":                    {"org", "mesh-", []string{"staff", "mesh-acme"}, "acme"},
		"two groups":                 {"org", "mesh-", []string{"mesh-acme", "mesh-other"}, ""},
		"the prefix alone":           {"org", "mesh-", []string{"mesh-"}, ""},
		"a subject of all":           {"org", "", ">", ""},
		"a subject of any":           {"org", "", "*", ""},
		"two tokens":                 {"org", "", "acme.other", ""},
		"the mesh's own":             {"org", "", "_mesh", ""},
		"a blank":                    {"org", "", "acme other", ""},
		"a line":                     {"org", "", "acme\n", ""},
		"empty":                      {"org", "", "", ""},
		"a path":                     {"org.name", "", nil, "acme"},
		"a name with dots":           {"https://example.com/org", "", nil, "acme"},
		"a path that is none":        {"org.name.x", "", nil, ""},
		"a claim that is not there":  {"organization", "", "acme", ""},
		"a claim of another's claim": {"tenant.org", "", "acme", ""},
	} {
		i, a := onLoopback(t, func(c *oidc.Config) { c.Claim, c.Prefix = tt.claim, tt.prefix })
		claims := m{"org": tt.value}
		if tt.value == nil {
			claims = m{"org": m{"name": "acme"}, "https://example.com/org": "acme"}
		}
		who, err := ask(t, a, i.token(claims))
		if who.Tenant != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: tenant %q, %v, want %q", name, who.Tenant, err, tt.want)
		}
	}
	i, a := onLoopback(t, func(c *oidc.Config) { c.Tenant = "fixed" })
	if who, err := ask(t, a, i.token(m{"tenant": "acme"})); err != nil || who.Tenant != "fixed" {
		t.Errorf("a static tenant: %q, %v", who.Tenant, err)
	}
}

func TestScopesAreWhatTheMappingSays(t *testing.T) {
	roles := oidc.ScopeMap{}
	if err := roles.UnmarshalText([]byte("mesh-admin=* admin\n cn=readers,ou=x = tasks:read agents:read;\n")); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		claim string
		roles oidc.ScopeMap
		value any
		want  []auth.Scope
	}{
		"words":                          {"scope", nil, "openid tasks:read profile agents:read", []auth.Scope{"agents:read", "tasks:read"}},
		"a list":                         {"scope", nil, []string{"tasks:read", "tasks:read"}, []auth.Scope{"tasks:read"}},
		"no scopes":                      {"scope", nil, "openid tasks tasks:* TASKS:READ tasks:read,tasks:write known public", nil},
		"admin without a mapping":        {"scope", nil, "admin tasks:read", []auth.Scope{"tasks:read"}},
		"all without a mapping":          {"scope", nil, []string{"*"}, nil},
		"admin by the mapping":           {"scope", roles, "mesh-admin", []auth.Scope{"*", "admin"}},
		"a scope beside the mapping":     {"scope", roles, "tasks:write admin *", nil},
		"a name of a directory":          {"scope", roles, []string{"cn=readers,ou=x"}, []auth.Scope{"agents:read", "tasks:read"}},
		"a group named like two":         {"scope", roles, []string{"x mesh-admin"}, nil},
		"a path":                         {"realm_access.roles", roles, nil, []auth.Scope{"*", "admin"}},
		"a claim that is no text":        {"scope", nil, m{"tasks:read": true}, nil},
		"a claim that is not there":      {"scp", nil, "tasks:read", nil},
		"a list with something else":     {"scope", nil, []any{"tasks:read", 1}, nil},
		"a mapped name in another case":  {"scope", roles, "MESH-ADMIN", nil},
		"the mesh's words for no scopes": {"scope", nil, "public known", nil},
	} {
		i, a := onLoopback(t, func(c *oidc.Config) { c.ScopeClaim, c.Scopes = tt.claim, tt.roles })
		who, err := ask(t, a, i.token(m{"scope": tt.value, "realm_access": m{"roles": []string{"mesh-admin"}}}))
		if err != nil || !slices.Equal(who.Scopes, tt.want) {
			t.Errorf("%s: %v, %v, want %v", name, who.Scopes, err, tt.want)
		}
	}
	if again := (oidc.ScopeMap{}); again.UnmarshalText([]byte(roles.String())) != nil || again.String() != roles.String() {
		t.Errorf("%q does not read back", roles)
	}
}

func TestAConfigurationThatTrustsTooMuchIsRefused(t *testing.T) {
	good := oidc.Default()
	good.Issuer, good.Audience = "https://login.example.com", "agentmesh"
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for word, change := range map[string]func(*oidc.Config){
		"oidc-issuer":       func(c *oidc.Config) { c.Issuer = "" },
		"oidc-audience":     func(c *oidc.Config) { c.Audience = "" },
		"without a query":   func(c *oidc.Config) { c.Issuer = "https://login.example.com?x" },
		"HS256":             func(c *oidc.Config) { c.Algorithms = "RS256,HS256" },
		"none":              func(c *oidc.Config) { c.Algorithms = "none" },
		"is empty":          func(c *oidc.Config) { c.Algorithms = "," },
		"oidc-tenant is":    func(c *oidc.Config) { c.Tenant = "a.b" },
		"oidc-tenant-claim": func(c *oidc.Config) { c.Claim = "" },
		"oidc-scope-claim":  func(c *oidc.Config) { c.ScopeClaim = "" },
		"must be https":     func(c *oidc.Config) { c.Issuer = "http://login.example.com" },
		"blocked":           func(c *oidc.Config) { c.Issuer = "https://169.254.169.254/" },
		"oidc-ca":           func(c *oidc.Config) { c.CA = "config.go" },
	} {
		cfg := good
		change(&cfg)
		if _, err := oidc.New(cfg, oidc.Options{}); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", word, err)
		}
	}
	for _, text := range []string{"x", "=admin", "x=", "x=tasks", "x=admin; y", "x=public"} {
		if (&oidc.ScopeMap{}).UnmarshalText([]byte(text)) == nil {
			t.Errorf("oidc-scopes %q is taken", text)
		}
	}
}

func FuzzToken(f *testing.F) {
	i := newIssuer()
	i.url = "https://login.test"
	for _, token := range []string{i.token(), sign(m{"alg": "none"}, i.claimed(), nil), "..", "e30.e30.", "a.b.c"} {
		f.Add(token)
	}
	cfg := configOf(i)
	cfg.Issuer = "https://other.test"
	a, err := oidc.New(cfg, oidc.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if who, err := a.Authenticate(t.Context(), auth.Credentials{Bearer: token}); err == nil || who.Tenant != "" {
			t.Errorf("%q is %+v", token, who)
		}
	})
}

func BenchmarkToken(b *testing.B) {
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		for _, first := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/first=%v", alg, first), func(b *testing.B) {
				b.ReportAllocs()
				benchmark(b, alg, first)
			})
		}
	}
}
