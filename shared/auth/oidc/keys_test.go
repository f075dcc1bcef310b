package oidc_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/auth/oidc"
)

// benchmark shows a token: for the first time, or again.
func benchmark(b *testing.B, alg string, first bool) {
	i := newIssuer()
	srv := httptest.NewServer(i)
	defer srv.Close()
	i.url = srv.URL
	a, err := oidc.New(configOf(i), oidc.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var ran sync.WaitGroup
	ran.Go(func() { _ = a.Run(ctx) })
	defer ran.Wait()
	defer cancel()
	key := map[string]any{"RS256": rsaKey(), "ES256": ecKey(), "EdDSA": edKey()}[alg]
	tokens := []string{sign(m{"alg": alg}, i.claimed(), key)}
	for n := 0; first && n < 5000; n++ { // more than are kept in mind
		tokens = append(tokens, sign(m{"alg": alg, "n": n}, i.claimed(), key))
	}
	for n := 0; b.Loop(); n++ {
		token := tokens[n%len(tokens)]
		if _, err := a.Authenticate(ctx, auth.Credentials{Bearer: token}); err != nil {
			b.Fatal(err)
		}
	}
}

func rotated(i *issuer, kid string, key crypto.Signer) {
	i.change(func() { i.keys = map[string]crypto.Signer{kid: key} })
}

func signedBy(i *issuer, kid string, key *rsa.PrivateKey) string {
	return sign(m{"alg": "RS256", "kid": kid}, i.claimed(), key)
}

func TestRotatedKeysAreFoundAndTheOldOnesForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, n, cfg := inside(t)
		n.serve(t, "10.0.0.5:5556", i)
		a := run(t, cfg, n.options())
		if _, err := ask(t, a, signedBy(i, "r1", rsaKey())); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		rotated(i, "r2", rsaNext())
		if _, err := ask(t, a, signedBy(i, "r2", rsaNext())); err != nil {
			t.Errorf("the new key is not asked for: %v", err)
		}
		if _, err := ask(t, a, signedBy(i, "r1", rsaKey())); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("the key that is gone counts: %v", err)
		}
		// A key that takes the place of another one under its name.
		time.Sleep(2 * time.Minute)
		rotated(i, "r2", rsaKey())
		if _, err := ask(t, a, signedBy(i, "r2", rsaKey())); err != nil {
			t.Errorf("a new key with the old name: %v", err)
		}
		// One that is taken back without another in its place.
		rotated(i, "r3", rsaNext())
		time.Sleep(11 * time.Minute)
		if _, err := ask(t, a, signedBy(i, "r2", rsaKey())); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("the key that was taken back counts after 11 minutes: %v", err)
		}
	})
}

func TestUnknownKeysAreAskedForOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, n, cfg := inside(t)
		n.serve(t, "10.0.0.5:5556", i)
		a := run(t, cfg, n.options())
		synctest.Wait()
		begun := runtime.NumGoroutine()
		for k := range 300 { // 5 minutes
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() { _, _ = ask(t, a, signedBy(i, fmt.Sprintf("k%d", k), rsaKey())) })
			}
			all.Wait()
			time.Sleep(time.Second)
		}
		if asked := i.fetches(); asked < 5 || asked > 7 {
			t.Errorf("1200 tokens with unknown keys in 5 minutes: asked %d times, want about 6", asked)
		}
		if now := runtime.NumGoroutine(); now > begun+5 {
			t.Errorf("%d goroutines, %d before", now, begun)
		}
		// A key that came within the minute is found at its end.
		time.Sleep(2 * time.Minute)
		_, _ = ask(t, a, signedBy(i, "x", rsaKey()))
		rotated(i, "r2", rsaNext())
		if _, err := ask(t, a, signedBy(i, "r2", rsaNext())); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("within the minute: %v", err)
		}
		time.Sleep(time.Minute + time.Second)
		if _, err := ask(t, a, signedBy(i, "r2", rsaNext())); err != nil {
			t.Errorf("after it: %v", err)
		}
	})
}

func TestAnIssuerThatIsDownIsWaitedForAndSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, n, cfg := inside(t)
		var log bytes.Buffer
		opts := n.options()
		opts.Log = slog.New(slog.NewTextHandler(&log, nil))
		a := run(t, cfg, opts)
		synctest.Wait()
		if _, err := ask(t, a, i.token()); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("while it is down: %v", err)
		}
		time.Sleep(10 * time.Minute)
		if tries := len(n.dialed()); tries < 10 || tries > 20 {
			t.Errorf("tried %d times in 10 minutes", tries)
		}
		n.serve(t, "10.0.0.5:5556", i)
		time.Sleep(time.Minute + time.Second)
		if _, err := ask(t, a, i.token()); err != nil {
			t.Errorf("once it is up: %v", err)
		}
		// Down again: whose key is known comes in for a day, of others nobody can tell.
		i.change(func() {
			i.answer = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusServiceUnavailable) }
		})
		time.Sleep(time.Hour)
		if _, err := ask(t, a, i.token()); err != nil {
			t.Errorf("a known key while it is down: %v", err)
		}
		if _, err := ask(t, a, signedBy(i, "new", rsaNext())); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("an unknown key while it is down: %v", err)
		}
		time.Sleep(24 * time.Hour)
		if _, err := ask(t, a, i.token()); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("a key of yesterday: %v", err)
		}
		if said := strings.Count(log.String(), "does not answer"); said != 2 {
			t.Errorf("two outages were said %d times:\n%s", said, log.String())
		}
	})
}

func TestASlowIssuerDelaysNobodyForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, n, cfg := inside(t)
		n.serve(t, "10.0.0.5:5556", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		a := run(t, cfg, n.options())
		begun := time.Now()
		if _, err := ask(t, a, i.token()); !errors.Is(err, auth.ErrUnavailable) || time.Since(begun) > 5*time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun = time.Now()
		if _, err := a.Authenticate(ctx, auth.Credentials{Bearer: i.token()}); err == nil || time.Since(begun) > time.Second {
			t.Errorf("a client that leaves waits %v: %v", time.Since(begun), err)
		}
	})
}

func TestAnIssuersAnswerLeadsNowhereElse(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*issuer)
		fails  bool
	}{
		"keys on its own host":            {func(*issuer) {}, false},
		"keys in the cloud's metadata":    {func(i *issuer) { i.jwks = "http://169.254.169.254/keys" }, true},
		"keys on another private host":    {func(i *issuer) { i.jwks = "https://10.0.0.6/keys" }, true},
		"keys at another port of its own": {func(i *issuer) { i.jwks = "http://login.test:9090/keys" }, true},
		"keys on a name that is private":  {func(i *issuer) { i.jwks = "https://other.test/keys" }, true},
		"keys in a file":                  {func(i *issuer) { i.jwks = "file:///etc/passwd" }, true},
		"keys that redirect":              {func(i *issuer) { i.redirect = "http://10.0.0.6/keys" }, true},
		"keys that redirect to itself":    {func(i *issuer) { i.redirect = "http://login.test:5556/other" }, true},
		"the name of another issuer":      {func(i *issuer) { i.url += "/" }, true},
		"no keys":                         {func(i *issuer) { i.keys = nil }, true},
		"an endless answer": {func(i *issuer) {
			i.answer = func(w http.ResponseWriter, r *http.Request) {
				for r.Context().Err() == nil {
					if _, err := w.Write(make([]byte, 1<<16)); err != nil {
						return
					}
				}
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i, n, cfg := inside(t)
				n.hosts["other.test"] = netip.MustParseAddr("192.168.0.1")
				token := i.token()
				tt.change(i)
				n.serve(t, "10.0.0.5:5556", i)
				n.serve(t, "10.0.0.6:80", http.NotFoundHandler())
				a := run(t, cfg, n.options())
				synctest.Wait()
				if _, err := ask(t, a, token); errors.Is(err, auth.ErrUnavailable) != tt.fails {
					t.Errorf("%v", err)
				}
				if others := slices.DeleteFunc(n.dialed(), func(to string) bool { return to == "10.0.0.5:5556" }); len(others) > 0 {
					t.Errorf("it was led to %v", others)
				}
			})
		})
	}
}

func TestATrustedAuthorityIsForTheIssuerOnly(t *testing.T) {
	i := newIssuer()
	srv := httptest.NewTLSServer(i)
	t.Cleanup(srv.Close)
	i.url = srv.URL
	cfg := configOf(i)
	if _, err := ask(t, run(t, cfg, oidc.Options{}), i.token()); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("a certificate of nobody's: %v", err)
	}
	cfg.CA = pemOf(t, srv.Certificate())
	if _, err := ask(t, run(t, cfg, oidc.Options{}), i.token()); err != nil {
		t.Errorf("with oidc-ca: %v", err)
	}
}

// A token that was accepted is kept in mind, until it or its key has ended.
func TestAnAcceptedTokenEndsWithItsTimeAndItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, n, cfg := inside(t)
		n.serve(t, "10.0.0.5:5556", i)
		a := run(t, cfg, n.options())
		short, long := i.token(m{"exp": time.Now().Add(time.Minute).Unix()}), i.token(m{"exp": time.Now().Add(100 * time.Hour).Unix()})
		for name, token := range map[string]string{"short": short, "long": long} {
			if _, err := ask(t, a, token); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		time.Sleep(time.Minute + oidc.Leeway - time.Second)
		if _, err := ask(t, a, short); err != nil {
			t.Errorf("within the leeway: %v", err)
		}
		time.Sleep(2 * time.Second)
		if _, err := ask(t, a, short); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("past its time: %v", err)
		}
		rotated(i, "r2", rsaNext())
		time.Sleep(10 * time.Minute)
		if _, err := ask(t, a, long); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("its key is gone: %v", err)
		}
		if _, err := ask(t, a, long+"x"); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("another signature: %v", err)
		}
	})
}

func TestAnAcceptedTokenDoesNotOutliveItsIssuersSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, n, cfg := inside(t)
		n.serve(t, "10.0.0.5:5556", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			i.ServeHTTP(w, r)
		}))
		a := run(t, cfg, n.options())
		long := i.token(m{"exp": time.Now().Add(100 * time.Hour).Unix()})
		if _, err := ask(t, a, long); err != nil { // it waits for the first keys
			t.Fatal(err)
		}
		i.change(func() {
			i.answer = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusBadGateway) }
		})
		time.Sleep(25 * time.Hour)
		if _, err := ask(t, a, long); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("after a day: %v", err)
		}
	})
}

// Clocks may be half a minute apart, and no more.
func TestAClockMayBeALittleWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, n, cfg := inside(t)
		n.serve(t, "10.0.0.5:5556", i)
		a := run(t, cfg, n.options())
		for claim, off := range map[string]time.Duration{"exp": -oidc.Leeway, "nbf": oidc.Leeway} {
			for beyond, fine := range map[time.Duration]bool{-time.Second: true, 0: true, 2 * time.Second: false} {
				at := time.Now().Add(off + beyond)
				if claim == "exp" {
					at = time.Now().Add(off - beyond)
				}
				if _, err := ask(t, a, i.token(m{claim: at.Unix()})); (err == nil) != fine {
					t.Errorf("%s %v beyond the leeway: %v", claim, beyond, err)
				}
			}
		}
	})
}
