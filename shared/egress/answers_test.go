package egress_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"agentmesh/shared/egress"
)

// post sends one request under an identity and returns the status and the body.
func post(t *testing.T, ts *egress.Transports, tenant string, id egress.Identity, to string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := ts.Do(req, tenant, id)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// certify makes a certificate that signs itself, and its key, for 127.0.0.1.
func certify(t *testing.T, serial int64, until time.Time) (pair tls.Certificate, id egress.Identity) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: until, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	id.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	id.Key = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
	if pair, err = tls.X509KeyPair([]byte(id.Certificate), []byte(id.Key)); err != nil {
		t.Fatal(err)
	}
	return pair, id
}

// secure starts a receiver that answers with the serial number of the client's
// certificate.
func secure(t *testing.T, address string, config *tls.Config) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) > 0 {
			_, _ = fmt.Fprint(w, r.TLS.PeerCertificates[0].SerialNumber)
		}
	}))
	_ = srv.Listener.Close()
	var err error
	if srv.Listener, err = net.Listen("tcp", address); err != nil {
		t.Skipf("no such loopback address here: %v", err)
	}
	srv.TLS, srv.Config.ErrorLog = config, log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL
}

// Case 87: a flood of interim answers ends the request.
func TestInterimAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var sent atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		if _, err := c.Read(make([]byte, 4096)); err != nil {
			return
		}
		flood := []byte("HTTP/1.1 103 Early Hints\r\nLink: <" + strings.Repeat("x", 1000) + ">\r\n\r\n")
		for range 20_000 {
			n, err := c.Write(flood)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}()
	ts := loopback(egress.Policy{})
	defer ts.Close()
	if code, _, err := post(t, ts, "a", egress.Identity{}, "http://"+l.Addr().String()); err == nil {
		t.Errorf("20 MB of interim answers end with %d", code)
	}
	_ = l.Close()
	<-done
	if n := sent.Load(); n > 8<<20 { // the sockets' buffers, and 64 KiB
		t.Errorf("%d bytes of interim answers were read", n)
	}
}

// Case 95: a blocked address looks the same whether anybody is there or not.
func TestBlockedTellsNothing(t *testing.T) {
	var reached atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + closed.Addr().String()
	_ = closed.Close()
	defer srv.Close()
	ts := egress.NewTransports(egress.New(egress.Policy{Allow: []netip.Prefix{}}, nil))
	defer ts.Close()
	_, _, there := post(t, ts, "a", egress.Identity{}, srv.URL)
	_, _, gone := post(t, ts, "a", egress.Identity{}, nobody)
	if !errors.Is(there, egress.ErrBlocked) || !errors.Is(gone, egress.ErrBlocked) || there.Error() != gone.Error() || reached.Load() != 0 {
		t.Errorf("%v where somebody listens, %v where nobody does; reached %d times", there, gone, reached.Load())
	}
}

// Case 96: certificates that are not right are refused, a private authority is
// trusted where it is asked for, and TLS below 1.2 is not spoken.
func TestCertificates(t *testing.T) {
	good, ca := certify(t, 1, time.Now().Add(time.Hour))
	expired, old := certify(t, 2, time.Now().Add(-time.Minute))
	trust := egress.Identity{CA: ca.Certificate}
	ts := loopback(egress.Policy{})
	defer ts.Close()
	for name, tt := range map[string]struct {
		url  string
		id   egress.Identity
		fine bool
	}{
		"private authority": {secure(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{good}}), trust, true},
		"self-signed":       {secure(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{good}}), egress.Identity{}, false},
		"another authority": {secure(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{good}}), egress.Identity{CA: old.Certificate}, false},
		"expired":           {secure(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{expired}}), egress.Identity{CA: old.Certificate}, false},
		"wrong host":        {secure(t, "127.0.0.2:0", &tls.Config{Certificates: []tls.Certificate{good}}), trust, false},
		"TLS 1.1":           {secure(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}), trust, false}, //nolint:gosec // the version that is refused
	} {
		if code, _, err := post(t, ts, "a", tt.id, tt.url); (err == nil && code == 200) != tt.fine {
			t.Errorf("%s: %d, %v", name, code, err)
		}
	}
}

// Cases 96 and 99: a client certificate goes to its own endpoint only, and a
// connection that is kept serves no other certificate.
func TestClientCertificates(t *testing.T) {
	server, ca := certify(t, 1, time.Now().Add(time.Hour))
	to := secure(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequestClientCert})
	ts := loopback(egress.Policy{})
	defer ts.Close()
	ids := map[string]egress.Identity{"": {CA: ca.Certificate}}
	for _, serial := range []int64{7, 8} {
		_, id := certify(t, serial, time.Now().Add(time.Hour))
		id.CA = ca.Certificate
		ids[fmt.Sprint(serial)] = id
	}
	for range 3 {
		for want, id := range ids {
			for _, tenant := range []string{"a", "b"} {
				if _, got, err := post(t, ts, tenant, id, to); err != nil || got != want {
					t.Errorf("the receiver saw certificate %q, want %q: %v", got, want, err)
				}
			}
		}
	}
}

// Case 98: a receiver that resets its streams costs this request, not the next.
func TestStreamReset(t *testing.T) {
	server, ca := certify(t, 1, time.Now().Add(time.Hour))
	var n atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.ProtoMajor != 2 {
			w.WriteHeader(http.StatusHTTPVersionNotSupported)
		} else if n.Add(1)%2 == 1 {
			panic(http.ErrAbortHandler)
		}
	}))
	srv.TLS, srv.EnableHTTP2 = &tls.Config{Certificates: []tls.Certificate{server}}, true
	srv.StartTLS()
	defer srv.Close()
	ts := loopback(egress.Policy{})
	defer ts.Close()
	for i := range 20 {
		code, _, err := post(t, ts, "a", egress.Identity{CA: ca.Certificate}, srv.URL)
		if i%2 == 0 && err == nil || i%2 == 1 && (err != nil || code != 200) {
			t.Errorf("request %d: %d, %v", i, code, err)
		}
	}
}

// Cases 89 and 92: a length that no answer has is not believed, and memory does
// not follow it.
func TestClaimedLength(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000000000000")
		_, _ = w.Write(bytes.Repeat([]byte("x"), 100<<10))
		panic(http.ErrAbortHandler)
	}))
	defer srv.Close()
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	ts := loopback(egress.Policy{})
	defer ts.Close()
	resp, err := get(t, ts, "a", srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)); err != nil || n != 64<<10 {
		t.Errorf("%d bytes, %v", n, err)
	}
}
