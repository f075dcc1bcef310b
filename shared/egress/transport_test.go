package egress_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"agentmesh/shared/egress"
)

func get(t *testing.T, ts *egress.Transports, tenant, to string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := ts.Do(req, tenant, egress.Identity{})
	if err == nil {
		t.Cleanup(func() { _ = resp.Body.Close() })
	}
	return resp, err
}

// loopback allows what httptest listens on.
func loopback(p egress.Policy) *egress.Transports {
	p.Allow = egress.Loopback()
	return egress.NewTransports(egress.New(p, nil))
}

// No redirect is followed, nothing is unpacked, headers have a limit, and the
// environment's proxy is not asked.
func TestTransport(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	var elsewhere atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.URL.Query().Get("code"))
		http.Redirect(w, r, "/elsewhere", code)
	})
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	mux.HandleFunc("/gzip", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" {
			t.Error("we ask for encodings")
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(make([]byte, 10<<20))
		_ = z.Close()
	})
	mux.HandleFunc("/headers", func(w http.ResponseWriter, _ *http.Request) {
		for i := range 100 {
			w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 1000))
		}
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	ts := loopback(egress.Policy{})
	defer ts.Close()
	for _, code := range []int{301, 302, 303, 307, 308} { // case 86
		if resp, err := get(t, ts, "a", fmt.Sprintf("%s/redirect?code=%d", srv.URL, code)); err != nil || resp.StatusCode != code || elsewhere.Load() != 0 {
			t.Errorf("redirect: %v, %v", resp, err)
		}
	}
	resp, err := get(t, ts, "a", srv.URL+"/gzip")
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(resp.Body); len(body) > 64<<10 {
		t.Errorf("%d bytes came out of a packed answer", len(body))
	}
	if resp, err := get(t, ts, "a", srv.URL+"/headers"); err == nil {
		t.Errorf("100 KB of headers: %v", resp.Status)
	}
}

// A connection never serves two tenants.
func TestConnectionsAreNotShared(t *testing.T) {
	var opened atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	ts := loopback(egress.Policy{})
	defer ts.Close()
	for _, tenant := range []string{"a", "a", "b", "a", "b"} {
		resp, err := get(t, ts, tenant, srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	if n := opened.Load(); n != 2 {
		t.Errorf("%d connections for two tenants", n)
	}
}

// The egress proxy carries requests; its own faults are told apart, and it is
// not asked for what is blocked.
func TestProxy(t *testing.T) {
	receiver := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	defer receiver.Close()
	var asked atomic.Int32
	answer := atomic.Int32{}
	answer.Store(200)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if code := answer.Load(); code != 200 || r.Method != http.MethodConnect {
			w.WriteHeader(int(code))
			return
		}
		there, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", r.Host)
		if err != nil {
			w.WriteHeader(502)
			return
		}
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(there, here); _ = there.Close() }()
		_, _ = io.Copy(here, there)
		_ = here.Close()
	}))
	defer proxy.Close()
	via, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	ts := loopback(egress.Policy{Proxy: via})
	defer ts.Close()
	// The receiver's certificate is not trusted: the TLS behind the tunnel fails,
	// and that is not the proxy's fault.
	if _, err := get(t, ts, "a", receiver.URL); err == nil || errors.Is(err, egress.ErrProxy) || asked.Load() != 1 {
		t.Errorf("through the proxy: %v, asked %d times", err, asked.Load())
	}
	answer.Store(503)
	if _, err := get(t, ts, "a", receiver.URL); !errors.Is(err, egress.ErrProxy) {
		t.Errorf("a proxy that answers 503: %v", err)
	}
	// A gateway's error is about the receiver: it must cost its attempts.
	for _, code := range []int32{502, 504} {
		answer.Store(code)
		var op *net.OpError
		if _, err := get(t, ts, "a", receiver.URL); errors.Is(err, egress.ErrProxy) || !errors.As(err, &op) || op.Op != "dial" {
			t.Errorf("a proxy that answers %d: %v", code, err)
		}
	}
	answer.Store(407)
	if _, err := get(t, ts, "a", strings.Replace(receiver.URL, "https", "http", 1)); !errors.Is(err, egress.ErrProxy) {
		t.Errorf("a proxy that wants a password: %v", err)
	}
	before := asked.Load()
	if _, err := get(t, ts, "a", "https://169.254.169.254/"); !errors.Is(err, egress.ErrBlocked) || asked.Load() != before {
		t.Errorf("a blocked address: %v", err)
	}
	proxy.Close()
	if _, err := get(t, ts, "a", receiver.URL); !errors.Is(err, egress.ErrProxy) {
		t.Errorf("no proxy: %v", err)
	}
}

func TestPrefixes(t *testing.T) {
	var p egress.Prefixes
	if err := p.UnmarshalText([]byte("10.1.2.3/8, 192.168.1.1 ,::1/128")); err != nil || p.String() != "10.0.0.0/8,192.168.1.1/32,::1/128" {
		t.Errorf("%s, %v", p, err)
	}
	for _, bad := range []string{"10.0.0.0/33", "loopback", "10.0.0.0/8;::1"} {
		if err := p.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is taken for %s", bad, p)
		}
	}
	if err := p.UnmarshalText([]byte("none")); err != nil || p == nil || len(p) != 0 {
		t.Errorf("none: %v, %v", p, err)
	}
	var own egress.Names
	if err := own.UnmarshalText([]byte("mesh.example.com, api.example.com")); err != nil || own.String() != "mesh.example.com,api.example.com" {
		t.Errorf("%s, %v", own, err)
	}
	if err := own.UnmarshalText([]byte("https://mesh.example.com")); err == nil {
		t.Error("a URL is taken for a name")
	}
	policy, err := egress.Config{Own: egress.Names{"mesh.example.com"}}.Policy()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := egress.New(policy, nil).CheckURL("https://MESH.example.com./x"); !errors.Is(err, egress.ErrBlocked) {
		t.Errorf("the mesh's own name: %v", err)
	}
	for _, bad := range []string{"proxy", "ftp://proxy:1", "://"} {
		if _, err := (egress.Config{Proxy: bad}).Policy(); err == nil {
			t.Errorf("proxy %q is taken", bad)
		}
	}
}
