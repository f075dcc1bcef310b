package certs_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/auth/certs"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/reread"
)

// desk is a listener's certificates in files.
type desk struct {
	t   *testing.T
	dir string
	ca  *meshtest.Authority
	cfg certs.Config
	log bytes.Buffer
}

// newDesk has a certificate, and clients of one authority.
func newDesk(t *testing.T, names string) *desk {
	t.Helper()
	d := &desk{t: t, dir: t.TempDir(), ca: meshtest.NewAuthority(t), cfg: certs.Default()}
	d.renew(nil)
	d.cfg.ClientCA = d.write("ca.pem", d.ca.PEM)
	d.cfg.ClientMap = d.write("names.yaml", []byte(names))
	return d
}

func (d *desk) write(name string, text []byte) string {
	d.t.Helper()
	return meshtest.WriteFile(d.t, d.dir, name, text)
}

// renew gives the listener another certificate.
func (d *desk) renew(change func(*x509.Certificate)) {
	cert, key := d.ca.Issue(d.t, change)
	d.cfg.Cert, d.cfg.Key = d.write("tls.pem", cert), d.write("tls.key", key)
}

func (d *desk) open() *certs.Certs {
	d.t.Helper()
	c, err := certs.Open(d.cfg, slog.New(slog.NewTextHandler(&d.log, nil)))
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// shake has a client connect, and says what each side knows of the other.
func (d *desk) shake(c *certs.Certs, own ...tls.Certificate) (server, client tls.ConnectionState, err error) {
	here, there := net.Pipe()
	defer func() { _ = here.Close() }()
	s := tls.Server(there, c.TLS())
	done := make(chan error, 1)
	go func() {
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte{1}) // a client of TLS 1.3 hears with it whether it was accepted
		}
		_ = there.Close()
		done <- err
	}()
	k := tls.Client(here, &tls.Config{ServerName: "localhost", RootCAs: d.ca.Pool(), Certificates: own})
	err = k.Handshake()
	if err == nil {
		_, err = k.Read(make([]byte, 1))
	}
	_ = here.Close()
	err = errors.Join(err, <-done)
	return s.ConnectionState(), k.ConnectionState(), err
}

// who connects with a certificate, and asks who that is.
func (d *desk) who(c *certs.Certs, change func(*x509.Certificate)) (auth.Caller, error) {
	d.t.Helper()
	state, _, err := d.shake(c, d.ca.Pair(d.t, change))
	if err != nil {
		d.t.Fatal(err)
	}
	return c.Authenticate(d.t.Context(), auth.Credentials{Certs: state.VerifiedChains[0]})
}

func named(uri, dns, email string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		if c.DNSNames = nil; dns != "" {
			c.DNSNames = strings.Split(dns, ",")
		}
		if u, err := url.Parse(uri); err == nil && uri != "" {
			c.URIs = []*url.URL{u}
		}
		if email != "" {
			c.EmailAddresses = []string{email}
		}
	}
}

const names = `
- uri: spiffe://example.com/orders
  tenant: orders
  scopes: [tasks:read, tasks:write]
- dns: Billing.example.com
  tenant: billing
  scopes: ["*"]
- email: Ops@Example.com
  tenant: ops
  scopes: ["*", admin]
`

func TestACertificateIsTheCallerThatTheFileNames(t *testing.T) {
	d := newDesk(t, names)
	c := d.open()
	for _, tt := range []struct {
		uri, dns, email, tenant, subject string
	}{
		{"spiffe://example.com/orders", "", "", "orders", "uri:spiffe://example.com/orders"},
		{"", "billing.EXAMPLE.com", "", "billing", "dns:billing.example.com"},
		{"", "other,billing.example.com", "Ops@EXAMPLE.com", "billing", "dns:billing.example.com"}, // the first in the file
		{"", "", "Ops@example.COM", "ops", "email:Ops@example.com"},
		{"", "", "ops@example.com", "", ""},
		{"spiffe://example.com/orders/x", "example.com", "", "", ""},
		{"", "*.example.com", "", "", ""},
		{"", "", "", "", ""},
	} {
		who, err := d.who(c, named(tt.uri, tt.dns, tt.email))
		if who.Tenant != tt.tenant || who.Subject != tt.subject || errors.Is(err, auth.ErrUnauthenticated) != (tt.tenant == "") {
			t.Errorf("%+v is %+v, %v", tt, who, err)
		}
	}
	if who, _ := d.who(c, named("", "", "Ops@example.com")); !who.May(auth.Admin) {
		t.Errorf("an admin by the file: %v", who.Scopes)
	}
}

func TestACertificateIsTheCallerByItsKey(t *testing.T) {
	d := newDesk(t, names)
	pair := d.ca.Pair(t, nil)
	sum := sha256.Sum256(pair.Leaf.RawSubjectPublicKeyInfo)
	d.write("names.yaml", fmt.Appendf(nil, "- {spki: %s, tenant: a, scopes: [tasks:read]}\n", base64.StdEncoding.EncodeToString(sum[:])))
	c := d.open()
	state, _, err := d.shake(c, pair)
	if err != nil {
		t.Fatal(err)
	}
	if who, err := c.Authenticate(t.Context(), auth.Credentials{Certs: state.VerifiedChains[0]}); err != nil || who.Tenant != "a" {
		t.Errorf("%+v, %v", who, err)
	}
	if _, err := d.who(c, nil); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("another key: %v", err)
	}
}

func TestOnlyCertificatesOfTheAuthorityComeIn(t *testing.T) {
	d := newDesk(t, names)
	c := d.open()
	orders := named("spiffe://example.com/orders", "", "")
	bad := map[string]tls.Certificate{
		"of another authority": meshtest.NewAuthority(t).Pair(t, orders),
		"expired":              d.ca.Pair(t, func(c *x509.Certificate) { orders(c); c.NotAfter = time.Now().Add(-time.Second) }),
		"not valid yet": d.ca.Pair(t, func(c *x509.Certificate) {
			orders(c)
			c.NotBefore, c.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
		}),
		"for servers only": d.ca.Pair(t, func(c *x509.Certificate) { orders(c); c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
	}
	for name, pair := range bad {
		// A client sends what it has, also what was not asked for.
		if state, _, err := d.shake(c, pair); err == nil && len(state.VerifiedChains) > 0 {
			t.Errorf("%s: it comes in", name)
		}
	}
	state, _, err := d.shake(c)
	if err != nil {
		t.Errorf("none, where it is optional: %v", err)
	}
	if _, err := c.Authenticate(t.Context(), auth.Credentials{Certs: state.PeerCertificates}); !errors.Is(err, auth.ErrNoCredentials) {
		t.Errorf("none: %v", err)
	}
	d.cfg.ClientCert = "required"
	if _, _, err := d.shake(d.open()); err == nil {
		t.Error("none, where it is required")
	}
}

func TestABearerTokenIsLeftToOthers(t *testing.T) {
	d := newDesk(t, names)
	c := d.open()
	chain := []*x509.Certificate{d.ca.Cert}
	if _, err := c.Authenticate(t.Context(), auth.Credentials{Bearer: "amk_x", Certs: chain}); !errors.Is(err, auth.ErrNoCredentials) {
		t.Errorf("a token beside a certificate: %v", err)
	}
	d.cfg.ClientMap = ""
	if _, err := d.open().Authenticate(t.Context(), auth.Credentials{Certs: chain}); !errors.Is(err, auth.ErrNoCredentials) {
		t.Errorf("certificates that are no callers: %v", err)
	}
}

func TestWhatIsTakenOutOfTheFilesCountsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, names)
		c := d.open()
		orders := named("spiffe://example.com/orders", "", "")
		state, _, err := d.shake(c, d.ca.Pair(t, orders))
		if err != nil {
			t.Fatal(err)
		}
		ask := func() error { // on a connection that is open
			time.Sleep(reread.Every)
			_, err := c.Authenticate(t.Context(), auth.Credentials{Certs: state.VerifiedChains[0]})
			return err
		}
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		d.write("names.yaml", []byte(strings.Replace(names, "orders\n", "gone\n", 1)))
		if err := ask(); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("its entry is gone: %v", err)
		}
		d.write("names.yaml", []byte(names))
		if err := ask(); err != nil {
			t.Errorf("its entry is back: %v", err)
		}
		d.write("names.yaml", []byte("nonsense: ["))
		if err := ask(); err != nil {
			t.Errorf("a bad file takes callers away: %v", err)
		}
		next := meshtest.NewAuthority(t)
		d.write("ca.pem", next.PEM)
		if err := ask(); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("its authority is gone: %v", err)
		}
		if state, _, err := d.shake(c, next.Pair(t, orders)); err != nil || len(state.VerifiedChains) == 0 {
			t.Errorf("the new authority does not count: %v", err)
		}
		d.write("ca.pem", append(bytes.Clone(next.PEM), d.ca.PEM...))
		if err := ask(); err != nil {
			t.Errorf("two authorities: %v", err)
		}
		time.Sleep(2000 * time.Hour)
		if err := ask(); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("a connection outlives its certificate: %v", err)
		}
	})
}

func TestARenewedCertificateIsShownWithoutARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, names)
		c := d.open()
		serial := func() string {
			t.Helper()
			_, client, err := d.shake(c)
			if err != nil {
				t.Fatal(err)
			}
			return client.PeerCertificates[0].SerialNumber.String()
		}
		first := serial()
		d.renew(nil)
		time.Sleep(reread.Every)
		second := serial()
		if first == second {
			t.Error("the old one is shown")
		}
		d.write("tls.key", []byte("nonsense"))
		time.Sleep(reread.Every)
		for range 3 {
			if got := serial(); got != second {
				t.Errorf("a bad key: %s is shown, want %s", got, second)
			}
			time.Sleep(reread.Every)
		}
		if said := strings.Count(d.log.String(), "not read again"); said != 1 {
			t.Errorf("the bad key was said %d times:\n%s", said, d.log.String())
		}
	})
}

func TestTheListenerSpeaksNoOldTLS(t *testing.T) {
	d := newDesk(t, names)
	for version, fine := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		here, there := net.Pipe()
		done := make(chan error, 1)
		go func() { done <- tls.Server(there, d.open().TLS()).Handshake(); _ = there.Close() }()
		k := tls.Client(here, &tls.Config{ServerName: "localhost", RootCAs: d.ca.Pool(), MinVersion: version, MaxVersion: version, NextProtos: []string{"h2"}})
		err := k.Handshake()
		_ = here.Close()
		if <-done; (err == nil) != fine || fine && k.ConnectionState().NegotiatedProtocol != "h2" {
			t.Errorf("version %x: %v, %q", version, err, k.ConnectionState().NegotiatedProtocol)
		}
	}
}

func TestSettingsThatDoNotFitAreNamed(t *testing.T) {
	d := newDesk(t, names)
	for word, change := range map[string]func(*certs.Config){
		"tls-cert and tls-key need":        func(c *certs.Config) { c.Key = "" },
		"client-ca needs":                  func(c *certs.Config) { c.Cert, c.Key = "", "" },
		"allowed are optional":             func(c *certs.Config) { c.ClientCert = "maybe" },
		"required needs client-ca":         func(c *certs.Config) { c.ClientCA, c.ClientMap, c.ClientCert = "", "", "required" },
		"client-cert-map needs":            func(c *certs.Config) { c.ClientCA = "" },
		"tls-cert and tls-key: ":           func(c *certs.Config) { c.Cert = c.ClientCA },
		"client-ca: it has no certificate": func(c *certs.Config) { c.ClientCA = c.ClientMap },
		"no such file":                     func(c *certs.Config) { c.ClientMap += "x" },
	} {
		cfg := d.cfg
		change(&cfg)
		if _, err := certs.Open(cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", word, err)
		}
	}
	for text, word := range map[string]string{
		"- {tenant: a, scopes: [tasks:read]}":                                             "one of uri, dns, email and spki",
		"- {uri: x, dns: y, tenant: a, scopes: [tasks:read]}":                             "not two",
		"- {uri: x, tenant: a.>, scopes: [tasks:read]}":                                   "tenant is",
		"- {uri: x, tenant: a}":                                                           "must have scopes",
		"- {uri: x, tenant: a, scopes: [tasks]}":                                          "is no scope",
		"- {uri: x, tenant: a, scope: [tasks:read]}":                                      "scope",
		"- {spki: abc, tenant: a, scopes: [tasks:read]}":                                  "SHA-256",
		"- &x {uri: x, tenant: a, scopes: [tasks:read]}\n- *x":                            "entry 2: it stands there twice",
		"- {dns: A.b, tenant: a, scopes: ['*']}\n- {dns: a.B., tenant: b, scopes: ['*']}": "twice",
	} {
		d.write("names.yaml", []byte(text))
		if _, err := certs.Open(d.cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v, want %q", text, err, word)
		}
	}
	for _, text := range []string{"", "[]", "# nobody\n"} {
		d.write("names.yaml", []byte(text))
		if _, err := certs.Open(d.cfg, slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("a file that names nobody: %v", err)
		}
	}
}
