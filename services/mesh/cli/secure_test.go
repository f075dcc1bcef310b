package cli

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"agentmesh/shared/meshtest"
)

// closed is a gateway of a private authority, which takes clients of that only.
func closed(t *testing.T, ca *meshtest.Authority, callers *[]string) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*callers = append(*callers, r.TLS.PeerCertificates[0].Subject.CommonName+" "+r.Proto)
		_, _ = w.Write([]byte(`{"agents":[],"ready":true}`))
	}))
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.Pair(t, nil)}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestAPrivateAuthorityAndAClientCertificateAreNamedByFiles(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	ca := meshtest.NewAuthority(t)
	var callers []string
	url := closed(t, ca, &callers)
	plain := httptest.NewServer(nil)
	t.Cleanup(plain.Close)
	issued := func(name string) (cert, key string) {
		c, k := ca.Issue(t, func(c *x509.Certificate) { c.Subject.CommonName = name })
		return meshtest.WriteFile(t, home, name+".pem", c), meshtest.WriteFile(t, home, name+".key", k)
	}
	authority := meshtest.WriteFile(t, home, "ca.pem", ca.PEM)
	oneCert, oneKey := issued("one")
	twoCert, twoKey := issued("two")
	nonsense := meshtest.WriteFile(t, home, "nonsense", []byte("x"))
	elsewhere := t.TempDir()
	for _, tt := range []struct {
		env    string
		args   []string
		code   int
		want   string
		caller string
	}{
		{"", []string{"agents", "list", "--gateway", url}, 1, "name its authority with --ca", ""},
		{"", []string{"agents", "list", "--gateway", url, "--ca", authority}, 1, "name it with --cert and --cert-key", ""},
		{"", []string{"agents", "list", "--gateway", url, "--ca", authority, "--cert", oneCert}, 2, "need each other", ""},
		{"", []string{"agents", "list", "--gateway", url, "--ca", nonsense}, 2, "no certificate", ""},
		{"", []string{"agents", "list", "--gateway", url, "--ca", authority, "--cert", nonsense, "--cert-key", oneKey}, 2, "--cert and --cert-key", ""},
		{"", []string{"agents", "list", "--gateway", url, "--ca", authority, "--cert", oneCert, "--cert-key", oneKey}, 0, "", "one HTTP/2.0"},
		{"", []string{"agents", "list", "--gateway", "https://" + plain.Listener.Addr().String()}, 1, "speaks plain HTTP", ""},
		{"", []string{"agents", "list", "--gateway", "https://127.0.0.1:1"}, 1, "no gateway at", ""},
		{"", []string{"healthcheck", "--gateway", url}, 1, "name its authority with --ca", ""},
		{"", []string{"healthcheck", "--gateway", url, "--ca", authority, "--cert", oneCert, "--cert-key", oneKey}, 0, "", "one HTTP/2.0"},
		{"", []string{"healthcheck", "--url", url + "/readyz", "--ca", authority, "--cert", oneCert, "--cert-key", oneKey}, 0, "", "one HTTP/2.0"},
		{"two", []string{"agents", "list", "--gateway", url}, 0, "", "two HTTP/2.0"},
		{"two", []string{"agents", "list", "--gateway", url, "--cert", oneCert, "--cert-key", oneKey}, 0, "", "one HTTP/2.0"},
		{"", []string{"context", "add", "bad", url, "--ca", nonsense}, 2, "no certificate", ""},
		{"", []string{"context", "add", "closed", url, "--ca", "ca.pem", "--cert", "two.pem", "--cert-key", "two.key"}, 0, "", ""},
		{"", []string{"agents", "list"}, 0, "", "two HTTP/2.0"},
		{"", []string{"agents", "list", "--gateway", url}, 1, "--ca", ""}, // what a context has is for its URL
		{"", []string{"agents", "list", "--curl"}, 0, "curl -sS --cacert '" + authority + "' --cert '" + twoCert + "' --key '" + twoKey + "' '" + url, ""},
	} {
		if callers = nil; tt.env != "" {
			t.Setenv("MESH_CA", authority)
			t.Setenv("MESH_CERT", twoCert)
			t.Setenv("MESH_CERT_KEY", twoKey)
		} else {
			t.Setenv("MESH_CA", "")
			t.Setenv("MESH_CERT", "")
			t.Setenv("MESH_CERT_KEY", "")
		}
		if t.Chdir(elsewhere); tt.args[0] == "context" { // which is given names that are true here
			t.Chdir(home)
		}
		code, out, errs := cli(t, tt.args...)
		if code != tt.code || !strings.Contains(out+errs, tt.want) || strings.Join(callers, ",") != tt.caller {
			t.Errorf("mesh %s: exit %d, %v\n%s%s\nwant %d, %s and %s", strings.Join(tt.args, " "), code, callers, out, errs, tt.code, tt.caller, tt.want)
		}
	}
}
