// Package oidc knows the callers that an OpenID Connect issuer vouches for: it
// verifies their JWTs and makes callers of the claims.
//
// It promises that a token counts only when a key of a configured issuer has signed
// it with a pinned algorithm, for this audience and this time; that what the claims
// do not say or the configuration does not map is not granted; that no token makes
// it ask an issuer more than once a minute; and that an issuer which is down keeps
// nobody out whose key is known. It knows neither HTTP requests nor a store.
package oidc

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/sync/errgroup"

	"agentmesh/shared/auth"
	"agentmesh/shared/egress"
)

// MaxToken is the longest token in bytes.
const MaxToken = 8 << 10

// Leeway is how far the clocks of issuers and gateways may be apart.
const Leeway = 30 * time.Second

// Options are what an Authenticator needs besides its configuration.
type Options struct {
	// Policy is the operator's for requests of the mesh: its proxy and what it
	// denies hold for issuers, too.
	Policy egress.Policy
	// Guard makes the guard of a policy; nil: egress.New with the system's names.
	Guard func(egress.Policy) *egress.Guard
	// ClientSecret is that of Config.ClientID; empty: the client is a public one.
	ClientSecret string

	Log *slog.Logger
	// Resource is the URL of the gateway: tokens for it and its endpoints of MCP count,
	// too. Empty: for the configured audience only.
	Resource string
}

// Authenticator knows the callers of the configured issuers. It knows nobody
// until it runs.
type Authenticator struct {
	cfg        Config
	secret     string // of the client at which people sign in
	resource   string
	algorithms []string
	issuers    map[string]*issuer
	known      known
}

// New makes an authenticator. It asks no issuer: Run does.
func New(cfg Config, opts Options) (*Authenticator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	var id egress.Identity
	if cfg.CA != "" {
		pem, err := os.ReadFile(cfg.CA)
		if err != nil {
			return nil, fmt.Errorf("configure oidc: oidc-ca: %w", err)
		}
		if id.CA = string(pem); id.Check() != nil {
			return nil, fmt.Errorf("configure oidc: oidc-ca is %q, which has no certificate in PEM form", cfg.CA)
		}
	}
	if opts.Guard == nil {
		opts.Guard = func(p egress.Policy) *egress.Guard { return egress.New(p, nil) }
	}
	a := &Authenticator{cfg: cfg, secret: opts.ClientSecret, resource: strings.TrimSuffix(opts.Resource, "/"), algorithms: list(cfg.Algorithms), issuers: map[string]*issuer{}}
	for _, name := range list(cfg.Issuer) {
		u, err := url.Parse(name)
		if err != nil {
			return nil, fmt.Errorf("configure oidc: oidc-issuer: %w", err)
		}
		way, err := newWay(u, cfg.PlainHTTP, id, opts)
		if err != nil {
			return nil, fmt.Errorf("configure oidc: oidc-issuer %s: %w", name, err)
		}
		a.issuers[name] = newIssuer(name, way, a.algorithms, opts.Log)
	}
	return a, nil
}

// Run fetches the keys of the issuers, and again when they are old or a token
// names another one, until ctx is done.
func (a *Authenticator) Run(ctx context.Context) error {
	parts, ctx := errgroup.WithContext(ctx)
	for _, i := range a.issuers {
		parts.Go(func() error { return i.run(ctx) })
	}
	return parts.Wait()
}

// Authenticate makes a caller of a JWT; a bearer token of another form is none of
// its kind. Its error is also auth.ErrUnavailable, where nobody can tell: the
// issuer does not answer.
func (a *Authenticator) Authenticate(ctx context.Context, c auth.Credentials) (auth.Caller, error) {
	if strings.Count(c.Bearer, ".") != 2 || strings.HasPrefix(c.Bearer, auth.KeyPrefix) || strings.HasPrefix(c.Bearer, auth.TaskKeyPrefix) {
		return auth.Caller{}, auth.ErrNoCredentials
	}
	sum := sha256.Sum256([]byte(c.Bearer))
	if caller, ok := a.known.find(sum); ok {
		return caller, nil
	}
	accepted, err := a.verify(ctx, c.Bearer)
	if err == nil {
		a.known.keep(sum, accepted)
	}
	if err != nil && !errors.Is(err, auth.ErrUnavailable) {
		err = fmt.Errorf("token: %w: %w", err, auth.ErrUnauthenticated)
	}
	return accepted.caller, err
}

func (a *Authenticator) verify(ctx context.Context, token string) (none acceptance, _ error) {
	claims, err := a.read(token)
	if err != nil {
		return none, err
	}
	name, _ := claims.text("iss")
	from := a.issuers[name]
	if from == nil {
		return none, errors.New("its issuer is none of oidc-issuer")
	}
	keys := from.generation() // before they are used: a token that races with newer ones is looked at again
	payload, err := from.payload(ctx, token)
	if err != nil {
		return none, err
	}
	// The library looks at a time without leeway: the clock is put back instead.
	verified, err := oidc.NewVerifier(name, signed(payload), &oidc.Config{
		SkipClientIDCheck: true, SupportedSigningAlgs: a.algorithms, Now: func() time.Time { return time.Now().Add(-Leeway) },
	}).Verify(ctx, token)
	if err != nil {
		return none, err
	}
	if !slices.ContainsFunc(verified.Audience, a.isAudience) {
		return none, errors.New("it is for another audience than oidc-audience")
	}
	caller, err := a.caller(verified, claims)
	if err != nil {
		return none, err
	}
	return acceptance{caller, verified.Expiry.Add(Leeway), from, keys}, nil
}

// isAudience reports whether a token for an audience is for this gateway. Clients of
// MCP ask for one by the URL of the endpoint (RFC 8707).
func (a *Authenticator) isAudience(name string) bool {
	if name == a.cfg.Audience {
		return true
	}
	below, ok := strings.CutPrefix(name, a.resource)
	return ok && a.resource != "" && (below == "" || below == "/" || strings.HasPrefix(below, "/") && strings.HasSuffix(below, "/mcp"))
}

// signed is the payload of a token whose signature was looked at.
type signed []byte

// VerifySignature implements oidc.KeySet.
func (s signed) VerifySignature(context.Context, string) ([]byte, error) { return s, nil }

// caller is who the claims of a verified token name.
func (a *Authenticator) caller(token *oidc.IDToken, c claims) (none auth.Caller, _ error) {
	if !printable(token.Subject) {
		return none, errors.New("sub must have 1 to 255 printable characters")
	}
	tenant, err := a.tenant(c)
	if err != nil {
		return none, err
	}
	return auth.Caller{Tenant: tenant, Subject: token.Subject, Scopes: a.scopes(c)}, nil
}

func (a *Authenticator) tenant(c claims) (string, error) {
	if a.cfg.Tenant != "" {
		return a.cfg.Tenant, nil
	}
	var found []string
	for _, value := range c.values(a.cfg.Claim) {
		if name, ok := strings.CutPrefix(value, a.cfg.Prefix); ok {
			found = append(found, name)
		}
	}
	switch {
	case len(found) == 0:
		return "", fmt.Errorf("claim %s names no tenant", a.cfg.Claim)
	case len(found) > 1:
		return "", fmt.Errorf("claim %s names %d tenants", a.cfg.Claim, len(found))
	case !auth.ValidTenant(found[0]):
		return "", fmt.Errorf("claim %s is no name of a tenant", a.cfg.Claim)
	}
	return found[0], nil
}

// scopes are those that the configuration gives for the claims. A word that it
// does not know gives nothing: an issuer has words of its own.
func (a *Authenticator) scopes(c claims) (all []auth.Scope) {
	for _, word := range c.words(a.cfg.ScopeClaim) {
		s := auth.Scope(word)
		switch {
		case len(a.cfg.Scopes) > 0:
			all = append(all, a.cfg.Scopes[word]...)
		case s.Valid() && s != auth.All && s != auth.Admin:
			all = append(all, s)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
