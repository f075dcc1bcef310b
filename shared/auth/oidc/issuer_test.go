package oidc_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"agentmesh/shared/auth"
	"agentmesh/shared/auth/oidc"
	"agentmesh/shared/egress"
)

// The keys of the tests, made once.
var (
	rsaKey    = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	rsaNext   = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	ecKey     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	edKey     = sync.OnceValue(func() ed25519.PrivateKey { _, k, err := ed25519.GenerateKey(rand.Reader); return must(k, err) })
	unrelated = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// issuer is a real one: it publishes keys and signs.
type issuer struct {
	url string

	mu       sync.Mutex
	keys     map[string]crypto.Signer
	jwks     string // where it says that its keys are; empty: where they are
	answer   http.HandlerFunc
	asked    int // for keys
	redirect string
	grants   func(*http.Request) (status int, answer map[string]any) // of its token endpoint
}

func newIssuer() *issuer {
	return &issuer{keys: map[string]crypto.Signer{"r1": rsaKey(), "e1": ecKey(), "d1": edKey()}}
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.answer != nil {
		i.answer(w, r)
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		at := i.jwks
		if at == "" {
			at = i.url + "/keys"
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": i.url, "jwks_uri": at, "authorization_endpoint": i.url + "/authorize?x=1", "token_endpoint": i.url + "/token", "id_token_signing_alg_values_supported": []string{"none", "HS256", "RS256"}})
	case "/token":
		status, answer := i.grants(r)
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer)
	case "/keys":
		i.asked++
		if i.redirect != "" {
			http.Redirect(w, r, i.redirect, http.StatusFound)
			return
		}
		var set jose.JSONWebKeySet
		for kid, key := range i.keys {
			set.Keys = append(set.Keys, jose.JSONWebKey{KeyID: kid, Key: key.Public(), Use: "sig"})
		}
		_ = json.NewEncoder(w).Encode(set)
	default:
		http.NotFound(w, r)
	}
}

func (i *issuer) change(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
}

func (i *issuer) fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

// claimed is the payload of a good token.
func (i *issuer) claimed(change ...map[string]any) map[string]any {
	c := map[string]any{"iss": i.url, "aud": "agentmesh", "sub": "u1", "tenant": "acme", "scope": "openid tasks:read tasks:write", "exp": time.Now().Add(time.Hour).Unix()}
	for _, m := range change {
		for k, v := range m {
			if c[k] = v; v == nil {
				delete(c, k)
			}
		}
	}
	return c
}

// token is a good one but for the changes.
func (i *issuer) token(change ...map[string]any) string {
	return sign(map[string]any{"alg": "RS256", "kid": "r1"}, i.claimed(change...), rsaKey())
}

// sign makes a token with any header. A payload that is a string is sent as it is.
func sign(header map[string]any, payload any, key any) string {
	part := func(v any) string {
		raw, ok := v.(string)
		if !ok {
			raw = string(must(json.Marshal(v)))
		}
		return base64.RawURLEncoding.EncodeToString([]byte(raw))
	}
	text := part(header) + "." + part(payload)
	sum := sha256.Sum256([]byte(text))
	var signature []byte
	switch k := key.(type) {
	case *rsa.PrivateKey:
		signature = must(rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:]))
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
		signature = append(must(r, err).FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case ed25519.PrivateKey:
		signature = ed25519.Sign(k, []byte(text))
	case []byte:
		mac := hmac.New(sha256.New, k)
		mac.Write([]byte(text))
		signature = mac.Sum(nil)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// publicForms are how a public key may be taken for a password.
func publicForms(k *rsa.PrivateKey) [][]byte {
	der := must(x509.MarshalPKIXPublicKey(k.Public()))
	return [][]byte{der, x509.MarshalPKCS1PublicKey(&k.PublicKey), []byte("-----BEGIN PUBLIC KEY-----\n" + base64.StdEncoding.EncodeToString(der) + "\n-----END PUBLIC KEY-----\n"),
		must(json.Marshal(jose.JSONWebKey{KeyID: "r1", Key: k.Public(), Use: "sig"}))}
}

func configOf(i *issuer) oidc.Config {
	cfg := oidc.Default()
	cfg.Issuer, cfg.Audience = i.url, "agentmesh"
	return cfg
}

// run runs an authenticator until the test ends.
func run(t *testing.T, cfg oidc.Config, opts oidc.Options) *oidc.Authenticator {
	t.Helper()
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	a, err := oidc.New(cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
	return a
}

// onLoopback is an issuer on a socket, and who trusts it.
func onLoopback(t *testing.T, change ...func(*oidc.Config)) (*issuer, *oidc.Authenticator) {
	t.Helper()
	i := newIssuer()
	srv := httptest.NewServer(i)
	t.Cleanup(srv.Close)
	i.url = srv.URL
	cfg := configOf(i)
	for _, f := range change {
		f(&cfg)
	}
	return i, run(t, cfg, oidc.Options{})
}

// network is one of pipes, for fake time.
type network struct {
	hosts map[string]netip.Addr

	mu    sync.Mutex
	ports map[string]chan net.Conn
	dials []string
}

func (n *network) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a, ok := n.hosts[host]; ok {
		return []netip.Addr{a}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (n *network) dial(_ context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dials = append(n.dials, address)
	port := n.ports[address]
	n.mu.Unlock()
	if port == nil {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	port <- theirs
	return ours, nil
}

func (n *network) dialed() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.dials...)
}

func (n *network) options() oidc.Options {
	return oidc.Options{Guard: func(p egress.Policy) *egress.Guard { return egress.New(p, n).WithDial(n.dial) }}
}

// serve has a handler answer at an address.
func (n *network) serve(t *testing.T, address string, h http.Handler) {
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	n.ports[address] = l.conns
	n.mu.Unlock()
	srv := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
}

type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, io.EOF
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// inside is an issuer of the operator's own network, for fake time.
func inside(t *testing.T) (*issuer, *network, oidc.Config) {
	t.Helper()
	i := newIssuer()
	i.url = "http://login.test:5556"
	n := &network{hosts: map[string]netip.Addr{"login.test": netip.MustParseAddr("10.0.0.5")}, ports: map[string]chan net.Conn{}}
	cfg := configOf(i)
	cfg.PlainHTTP = true
	return i, n, cfg
}

func ask(t *testing.T, a *oidc.Authenticator, token string) (auth.Caller, error) {
	t.Helper()
	return a.Authenticate(t.Context(), auth.Credentials{Bearer: token})
}

// pemOf writes a certificate to a file.
func pemOf(t *testing.T, c *x509.Certificate) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
