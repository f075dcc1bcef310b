package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"agentmesh/shared/auth"
)

// Times of an issuer's keys.
const (
	refreshEvery = 10 * time.Minute // a key that was taken back counts for so long
	refreshLeast = time.Minute      // between two fetches, whatever tokens name
	retryFirst   = time.Second      // after a fetch that failed; doubled up to refreshLeast
	keysLast     = 24 * time.Hour   // without an answer of the issuer
	waitForKeys  = 5 * time.Second  // of a request
	maxKeys      = 64
	minRSA       = 2048 // bits
)

// issuer has the keys of one.
type issuer struct {
	name       string
	client     *http.Client
	algorithms []jose.SignatureAlgorithm
	log        *slog.Logger
	wake       chan struct{} // a token wants keys that are newer

	mu      sync.Mutex
	at      endpoints // where people sign in; zero: it has not said so
	keys    []jose.JSONWebKey
	fetched time.Time     // when the keys were; zero: never
	count   uint64        // of the fetches that brought keys
	failed  error         // the last fetch
	round   chan struct{} // closed when the next fetch has ended
}

func newIssuer(name string, client *http.Client, algorithms []string, log *slog.Logger) *issuer {
	i := &issuer{name: name, client: client, log: log, wake: make(chan struct{}, 1), round: make(chan struct{})}
	for _, alg := range algorithms {
		i.algorithms = append(i.algorithms, jose.SignatureAlgorithm(alg))
	}
	return i
}

// run fetches the keys until ctx is done.
func (i *issuer) run(ctx context.Context) error {
	defer i.client.CloseIdleConnections()
	pause := retryFirst
	for {
		keys, err := i.fetch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		i.note(keys, err)
		next, wake := refreshEvery, i.wake
		if err != nil {
			next, wake = pause, nil
			pause = min(2*pause, refreshLeast)
		} else {
			pause = retryFirst
		}
		if !i.wait(ctx, next, wake) {
			return nil
		}
	}
}

// wait waits for d, or less where a token wants newer keys.
func (i *issuer) wait(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-t.C:
			return true
		case <-wake:
			wake = nil
			i.mu.Lock()
			t.Reset(max(0, refreshLeast-time.Since(i.fetched)))
			i.mu.Unlock()
		}
	}
}

// note keeps what a fetch brought, and tells those who wait for it.
func (i *issuer) note(keys []jose.JSONWebKey, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case err != nil && i.failed == nil:
		i.log.Warn("the OIDC issuer does not answer, trying again: tokens whose key is not known are not accepted until it does", "issuer", i.name, "error", fmt.Sprintf("%.300s", err)) // it may have the answer in it
	case err == nil && (i.failed != nil || i.fetched.IsZero()):
		i.log.Info("the OIDC issuer's keys are there", "issuer", i.name, "keys", len(keys))
	}
	if i.failed = err; err == nil {
		i.keys, i.fetched = keys, time.Now()
		i.count++
	}
	close(i.round)
	i.round = make(chan struct{})
}

// payload is that of a token which a key of the issuer has signed.
func (i *issuer) payload(ctx context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, i.algorithms)
	if err != nil {
		return nil, errors.New("it is malformed")
	}
	for {
		keys, round, err := i.known()
		if err == nil && keys != nil {
			if payload, ok := verify(jws, keys); ok {
				return payload, nil
			}
			err = i.want()
		}
		if err == nil {
			err = await(ctx, round)
		}
		if err != nil {
			return nil, fmt.Errorf("keys of %s: %w", i.name, err)
		}
	}
}

// noKeys is the generation of an issuer whose keys are not there, or count no more.
const noKeys = 0

// generation changes when the keys may have changed.
func (i *issuer) generation() uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.failed != nil && time.Since(i.fetched) > keysLast {
		return noKeys
	}
	return i.count
}

// known is the keys that there are, nil before the first fetch, and what is closed
// when the next one has ended.
func (i *issuer) known() (keys []jose.JSONWebKey, round <-chan struct{}, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.failed != nil && time.Since(i.fetched) > keysLast {
		return nil, nil, auth.ErrUnavailable
	}
	return i.keys, i.round, nil
}

// errNoKey is for a token whose key is none of its issuer's.
var errNoKey = errors.New("none fits")

// want asks for newer keys, which a token needs. Without an error they are on
// their way.
func (i *issuer) want() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.failed != nil {
		return auth.ErrUnavailable
	}
	select {
	case i.wake <- struct{}{}:
	default: // somebody has asked
	}
	if time.Since(i.fetched) < refreshLeast {
		return errNoKey
	}
	return nil
}

func await(ctx context.Context, round <-chan struct{}) error {
	t := time.NewTimer(waitForKeys)
	defer t.Stop()
	select {
	case <-round:
		return nil
	case <-t.C:
		return auth.ErrUnavailable
	case <-ctx.Done():
		return ctx.Err()
	}
}

// verify finds the key that a token names, or any where it names none.
func verify(jws *jose.JSONWebSignature, keys []jose.JSONWebKey) (payload []byte, ok bool) {
	head := jws.Signatures[0].Header
	for _, key := range keys {
		if head.KeyID != "" && key.KeyID != head.KeyID || key.Algorithm != head.Algorithm {
			continue
		}
		if payload, err := jws.Verify(key.Key); err == nil {
			return payload, true
		}
	}
	return nil, false
}

// fetch asks the issuer where its keys are, and for them.
func (i *issuer) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, i.client), i.name)
	if err != nil {
		return nil, fmt.Errorf("discover: %w", err)
	}
	var where struct {
		URL string `json:"jwks_uri"`
		endpoints
	}
	if err := provider.Claims(&where); err != nil || where.URL == "" {
		return nil, errors.New("discover: there is no jwks_uri")
	}
	i.mu.Lock()
	i.at = where.endpoints
	i.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where.URL, nil)
	if err != nil {
		return nil, fmt.Errorf("jwks_uri: %w", err)
	}
	resp, err := i.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("jwks_uri: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	if err != nil {
		return nil, fmt.Errorf("jwks_uri: %w", err)
	}
	return keySet(body)
}

// keySet reads the public keys that are for signatures of ours. A key of another
// kind is not of interest.
func keySet(body []byte) (keys []jose.JSONWebKey, _ error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) != nil || key.Use != "" && key.Use != "sig" {
			continue
		}
		if alg := algorithmOf(key.Key); alg != "" && (key.Algorithm == "" || key.Algorithm == alg) && len(keys) < maxKeys {
			key.Algorithm = alg
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("read keys: there is none for %v of %d bits or more", algorithms, minRSA)
	}
	return keys, nil
}

// algorithmOf is the one that a key is for; empty: none of ours.
func algorithmOf(key any) string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() >= minRSA {
			return "RS256"
		}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return "ES256"
		}
	case ed25519.PublicKey:
		return "EdDSA"
	}
	return ""
}
