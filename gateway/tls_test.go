package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// secured is what a server with a certificate speaks, and whom its clients trust.
func secured(t *testing.T) (server, trusts *tls.Config) {
	t.Helper()
	srv := httptest.NewTLSServer(nil)
	srv.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(srv.Certificate())
	shown := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: srv.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return shown, nil
	}}, &tls.Config{RootCAs: trusted, ServerName: "example.com"}
}

// browser sends requests over TLS through connections that dial makes, over
// HTTP/2 where the server speaks it.
func browser(t *testing.T, trusts *tls.Config, dial func() (net.Conn, error)) *http.Client {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: trusts.Clone(), ForceAttemptHTTP2: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return dial() }}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func dialer(l net.Listener) func() (net.Conn, error) {
	return func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }
}

func TestTheDoorHoldsWithTLS(t *testing.T) {
	cfg, l := Default(), loopback(t)
	server, trusts := secured(t)
	cfg.MaxConns, cfg.TLS = 3, server
	reached, release := make(chan bool), make(chan bool)
	serveOn(t, cfg, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			reached <- true
			<-release
		}
		_, _ = io.WriteString(w, r.Proto)
	}))
	get := func(c *http.Client, path string) (int, string, error) {
		resp, err := c.Get("https://localhost" + path)
		if err != nil {
			return 0, "", err
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body), err
	}
	busy := make(chan error, cfg.MaxConns)
	for range cfg.MaxConns {
		one := browser(t, trusts, dialer(l))
		go func() {
			status, body, err := get(one, "/slow")
			if err == nil && (status != 200 || body != "HTTP/2.0") {
				err = errors.New(body)
			}
			busy <- err
		}()
		<-reached
	}
	if status, body, err := get(browser(t, trusts, dialer(l)), "/quick"); err != nil || status != 503 || !strings.Contains(body, "too_many_connections") {
		t.Errorf("one too many: %d %s, %v", status, body, err)
	}
	close(release)
	for range cfg.MaxConns {
		if err := <-busy; err != nil {
			t.Error(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; { // those that are idle now make room
		if status, _, err := get(browser(t, trusts, dialer(l)), "/quick"); err == nil && status == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("idle connections keep others out")
		}
	}
}

func TestPlainHTTPIsToldThatTLSIsSpokenHere(t *testing.T) {
	cfg, l := Default(), loopback(t)
	cfg.TLS, _ = secured(t)
	serveOn(t, cfg, l, nil)
	c, err := dialer(l)()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	resp, body := ask(t, c, "GET /tasks HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if resp.StatusCode != 400 || !strings.Contains(body, "HTTPS") {
		t.Errorf("%s %s", resp.Status, body)
	}
}

func TestAClientThatIsSilentBeforeOrAfterItsHandshakeIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, p := Default(), make(pipes)
		server, trusts := secured(t)
		cfg.TLS = server
		serveOn(t, cfg, p, nil)
		defer close(p)
		silent := p.dial()
		greeted := tls.Client(p.dial(), trusts)
		if err := greeted.Handshake(); err != nil {
			t.Fatal(err)
		}
		if greeted.ConnectionState().NegotiatedProtocol != "" {
			t.Fatal("it was to speak HTTP/1.1")
		}
		for name, c := range map[string]net.Conn{"before": silent, "after": greeted} {
			began := time.Now()
			if _, err := io.Copy(io.Discard, c); time.Since(began) > 10*time.Second {
				t.Errorf("%s: cut after %v, %v", name, time.Since(began), err)
			}
			_ = c.Close()
		}
	})
}

func TestABodyThatStallsIsCutOverHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, p := Default(), make(pipes)
		server, trusts := secured(t)
		cfg.TLS = server
		serveOn(t, cfg, p, nil)
		defer close(p)
		stop := make(chan struct{})
		r, err := http.NewRequest("POST", "https://localhost/tasks", stalled{stop})
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		began := time.Now()
		resp, err := browser(t, trusts, func() (net.Conn, error) { return p.dial(), nil }).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { close(stop); _ = resp.Body.Close() }()
		body, _ := io.ReadAll(resp.Body)
		if resp.ProtoMajor != 2 || resp.StatusCode != 408 || !strings.Contains(string(body), "body_stalled") || time.Since(began) > bodyStall {
			t.Errorf("%s %s %s after %v", resp.Proto, resp.Status, body, time.Since(began))
		}
	})
}

// stalled is a body that never comes.
type stalled struct{ stop chan struct{} }

func (s stalled) Read([]byte) (int, error) { <-s.stop; return 0, io.EOF }

func TestAReaderThatDoesNotReadIsCutOverHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, p := Default(), make(pipes)
		server, trusts := secured(t)
		cfg.TLS = server
		failed := make(chan error, 1)
		serveOn(t, cfg, p, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			var err error
			for out := bufio.NewWriter(w); err == nil; {
				_, err = out.Write(make([]byte, 1<<20))
			}
			failed <- err
		}))
		defer close(p)
		began := time.Now()
		resp, err := browser(t, trusts, func() (net.Conn, error) { return p.dial(), nil }).Get("https://localhost/")
		if err != nil {
			t.Fatal(err)
		}
		if err := <-failed; resp.ProtoMajor != 2 || time.Since(began) > 2*slowReader {
			t.Errorf("%s: cut after %v, %v", resp.Proto, time.Since(began), err)
		}
		_ = resp.Body.Close()
	})
}
