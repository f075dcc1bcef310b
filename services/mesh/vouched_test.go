package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"agentmesh/gateway/api"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
)

// login is an OIDC issuer.
type login struct {
	*httptest.Server
	key *ecdsa.PrivateKey
}

func newLogin(t *testing.T) *login {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &login{key: key}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Use: "sig"}}})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	}))
	t.Cleanup(i.Close)
	return i
}

// token is one of a user in some groups.
func (i *login) token(t *testing.T, groups ...string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: i.key, KeyID: "1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(map[string]any{"iss": i.URL, "aud": "agentmesh", "sub": "u1", "exp": time.Now().Add(time.Hour).Unix(), "org": "acme", "groups": groups})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// sealed is a mesh that speaks TLS.
type sealed struct {
	*meshtest.Process
	t   *testing.T
	ca  *meshtest.Authority
	dir string // of its certificates
}

// files are the settings of a gateway's certificates.
func files(t *testing.T, ca *meshtest.Authority, dir string) []string {
	t.Helper()
	cert, key := ca.Issue(t, nil)
	return []string{"--tls-cert", meshtest.WriteFile(t, dir, "tls.pem", cert), "--tls-key", meshtest.WriteFile(t, dir, "tls.key", key), "--client-ca", meshtest.WriteFile(t, dir, "ca.pem", ca.PEM)}
}

// through makes a client with certificates of its own.
func through(ca *meshtest.Authority, own ...tls.Certificate) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), Certificates: own}}}
}

func orders(c *x509.Certificate) {
	c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/orders"}}
}

// who asks who it is.
func (m sealed) who(c *http.Client, bearer string) (status int, me api.WhoAmI) {
	m.t.Helper()
	r, err := http.NewRequestWithContext(m.t.Context(), "GET", m.Gateway+"/whoami", nil)
	if err != nil {
		m.t.Fatal(err)
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := c.Do(r)
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	_ = json.NewDecoder(resp.Body).Decode(&me) // a refusal has no such members
	return resp.StatusCode, me
}

func TestTokensCertificatesAndKeysAreCallersBesideEachOther(t *testing.T) {
	data, dir, ca, issuer := t.TempDir(), t.TempDir(), meshtest.NewAuthority(t), newLogin(t)
	const names = "- uri: spiffe://example.com/orders\n  tenant: orders\n  scopes: [tasks:read]\n"
	args := append(files(t, ca, dir), "--client-cert-map", meshtest.WriteFile(t, dir, "names.yaml", []byte(names)), "--auth", "keys,oidc", "--oidc-issuer", issuer.URL,
		"--oidc-audience", "agentmesh", "--oidc-tenant-claim", "org", "--oidc-scope-claim", "groups", "--oidc-scopes", "mesh-admin=* admin; mesh-user=tasks:read")
	m := sealed{startUp(t, data, args...), t, ca, dir}
	plain, service := through(ca), through(ca, ca.Pair(t, orders))
	for name, tt := range map[string]struct {
		c       *http.Client
		bearer  string
		status  int
		tenant  string
		subject string
		scopes  string
	}{
		"nobody":                        {plain, "", 401, "", "", ""},
		"a user":                        {plain, issuer.token(t, "staff", "mesh-user"), 200, "acme", "u1", "tasks:read"},
		"an admin":                      {plain, issuer.token(t, "mesh-admin"), 200, "acme", "u1", "* admin"},
		"another's token":               {plain, newLogin(t).token(t, "mesh-admin"), 401, "", "", ""},
		"a service":                     {service, "", 200, "orders", "uri:spiffe://example.com/orders", "tasks:read"},
		"a service with a user's token": {service, issuer.token(t, "mesh-user"), 200, "acme", "u1", "tasks:read"},
		"a service with a bad token":    {service, "a.b.c", 401, "", "", ""},
		"a certificate without a name":  {through(ca, ca.Pair(t, nil)), "", 401, "", "", ""},
		"the operator's key":            {plain, fileKey(t, data), 200, "default", "", "* admin"},
	} {
		status, me := m.who(tt.c, tt.bearer)
		if status != tt.status || me.Tenant != tt.tenant || tt.subject != "" && me.Subject != tt.subject || strings.Join(me.Scopes, " ") != tt.scopes {
			t.Errorf("%s: %d %+v", name, status, me)
		}
	}
	var out bytes.Buffer
	cert, key := ca.Issue(t, orders)
	if code := run(t.Context(), []string{"task", "list", "--gateway", m.Gateway, "--ca", dir + "/ca.pem", "--cert", meshtest.WriteFile(t, dir, "c.pem", cert), "--cert-key", meshtest.WriteFile(t, dir, "c.key", key)}, &out, &out); code != 0 {
		t.Errorf("mesh task list with a certificate: %d %s", code, &out)
	}
	if out := m.Output.String(); strings.Contains(out, "panic") || strings.Contains(out, issuer.token(t)[:40]) {
		t.Errorf("the output has a token in it, or worse: %s", out)
	}

	// Files that change count without a restart.
	renewed, key := ca.Issue(t, func(c *x509.Certificate) { c.Subject.CommonName = "renewed" })
	meshtest.WriteFile(t, dir, "tls.pem", renewed)
	meshtest.WriteFile(t, dir, "tls.key", key)
	natstest.Until(t, "the new certificate", func() bool {
		c, err := tls.Dial("tcp", strings.TrimPrefix(m.Gateway, "https://"), &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName == "renewed"
	})
	meshtest.WriteFile(t, dir, "names.yaml", nil)
	natstest.Until(t, "the service is out", func() bool { status, _ := m.who(service, ""); return status == 401 })
}

func TestCertificatesAloneMayAsk(t *testing.T) {
	dir, ca := t.TempDir(), meshtest.NewAuthority(t)
	args := append(files(t, ca, dir), "--client-cert", "required", "--auth", "certs", "--client-cert-map",
		meshtest.WriteFile(t, dir, "names.yaml", []byte("- {uri: 'spiffe://example.com/orders', tenant: orders, scopes: ['*']}\n")))
	m := sealed{startUp(t, t.TempDir(), args...), t, ca, dir}
	if status, me := m.who(through(ca, ca.Pair(t, orders)), ""); status != 200 || me.Tenant != "orders" || me.Auth != "certs" {
		t.Errorf("%d %+v", status, me)
	}
	if resp, err := through(ca).Get(m.Gateway + "/healthz"); err == nil {
		_ = resp.Body.Close()
		t.Errorf("without a certificate: %s", resp.Status)
	}
}

func TestSettingsOfCallersThatDoNotFitEndTheStart(t *testing.T) {
	dir, ca := t.TempDir(), meshtest.NewAuthority(t)
	tlsFiles := files(t, ca, dir)
	names := meshtest.WriteFile(t, dir, "names.yaml", nil)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--auth", "oidc"}, "oidc-issuer and oidc-audience"},
		{[]string{"--auth", "oidc", "--oidc-issuer", "http://login.example.com", "--oidc-audience", "x", "--oidc-algorithms", "HS256"}, "HS256"},
		{[]string{"--auth", "oidc", "--oidc-issuer", "http://login.example.com", "--oidc-audience", "x", "--oidc-client-id", "c", "--oidc-login-scope", "profile"}, "openid must be among"},
		{[]string{"--oidc-client-secret", "x"}, "needs oidc-client-id"},
		{[]string{"--auth", "certs"}, "client-cert-map"},
		{append([]string{"--client-cert-map", names}, tlsFiles...), "choose --auth certs"},
		{[]string{"--tls-cert", names}, "need each other"},
		{[]string{"--tls-cert", names, "--tls-key", names}, "tls-cert and tls-key"},
		{[]string{"--auth", "none"}, "allowed are off"},
	} {
		for _, role := range [][]string{{"up", "--nats", "off", "--admin", "off", "--data", t.TempDir()}, {"gateway", "--admin", "off"}} {
			code, _, errs := command(t, append(append(role, "--http", "127.0.0.1:0"), tt.args...)...)
			if code == 0 || !strings.Contains(errs, tt.want) {
				t.Errorf("mesh %s %v: exit %d %s, want %s", role[0], tt.args, code, errs, tt.want)
			}
		}
	}
}

func TestAGatewayThatWaitsForNATSSpeaksTLSToo(t *testing.T) {
	dir, ca := t.TempDir(), meshtest.NewAuthority(t)
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	nats, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	g, output := meshtest.Spawn(t, []string{"MESH_TEST_MAIN=1", "NATS_URL=nats://" + nats}, append(files(t, ca, dir), "gateway", "--http", address, "--admin", "off")...)
	go g.Drain(output)
	natstest.Until(t, "the lobby", func() bool {
		resp, err := through(ca).Get("https://" + address + "/readyz")
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode == 503 && strings.Contains(string(body), `"nats"`)
	})
}

// Programs that call the mesh are told where clients reach it.
func TestAgentsAreToldThePublicURL(t *testing.T) {
	dir := t.TempDir()
	agents := meshtest.WriteFile(t, dir, "agents.yaml", []byte("agents:\n  - name: where\n    exec: {command: [sh, -c, 'cat > /dev/null; printf %s \"$MESH_GATEWAY_URL\"']}\n"))
	for want, args := range map[string][]string{
		"https://mesh.example.com":  {"--public-url", "https://mesh.example.com"},
		"https://inner.example.com": {"--public-url", "https://mesh.example.com", "--gateway-url", "https://inner.example.com"},
	} {
		p := startUp(t, t.TempDir(), append(args, "--agents", agents)...)
		var out bytes.Buffer
		if code := run(t.Context(), []string{"task", "run", "--agent", "where", "x", "--wait", "--gateway", p.Gateway}, &out, &out); code != 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%v: exit %d %s, want %s", args, code, &out, want)
		}
		p.Kill()
	}
}
