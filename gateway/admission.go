package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"agentmesh/gateway/problem"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
)

// maxAuthorization is the longest Authorization header that is looked at.
const maxAuthorization = 8 << 10

// tenantHeader names the tenant that an admin acts for.
const tenantHeader = "Mesh-Tenant"

// askedOnce is a request that has one patience with the store.
func askedOnce(r *http.Request) *http.Request { return r.WithContext(store.AskedOnce(r.Context())) }

// admit finds out who asks, and refuses who may not: before anything else of the
// request is looked at. Who is refused is a stranger.
func (f *front) admit(w http.ResponseWriter, r *http.Request, need auth.Scope) (auth.Caller, error) {
	if need == auth.Public {
		return auth.Stranger(), nil
	}
	who, err := f.identify(w, r)
	who.Addr = remote(r)
	if err == nil && !ownValue(r, who) {
		err = permit(w, who, need)
	}
	if err == nil {
		who, err = acting(w, r, who)
	}
	if err != nil {
		f.tokens.challenge(w, r, who, need)
		f.trail.Refused(r.Context(), who, r.Method+" "+chi.RouteContext(r.Context()).RoutePattern(), err)
		return auth.Stranger(), err
	}
	return who, nil
}

// identify says who shows the credentials of a request.
func (f *front) identify(w http.ResponseWriter, r *http.Request) (auth.Caller, error) {
	if f.cfg.Authenticator == nil {
		return auth.Local(), nil
	}
	shown, err := credentials(r)
	var who auth.Caller
	if err == nil {
		who, err = f.authenticate(r.Context(), shown)
	}
	if err == nil && !auth.ValidTenant(who.Tenant) {
		err = unacceptable("the tenant of the credentials is no tenant")
	}
	if err == nil {
		return who, nil
	}
	return auth.Caller{}, unknown(w, err)
}

// authenticate asks who shows credentials. A face of this process may vouch for a
// caller whose token it has seen.
func (f *front) authenticate(ctx context.Context, shown auth.Credentials) (auth.Caller, error) {
	if shown.Vouched != nil && shown.Bearer == "" {
		return *shown.Vouched, nil
	}
	return f.cfg.Authenticator.Authenticate(ctx, shown)
}

// unknown is the refusal of a caller who is not known, for a reason that only the
// log gets.
func unknown(w http.ResponseWriter, err error) error {
	var locked *auth.Locked
	switch {
	case errors.Is(err, auth.ErrNoCredentials):
		w.Header().Set("WWW-Authenticate", "Bearer")
		return mesh.Refuse(mesh.ErrUnauthenticated, "Say who asks: send Authorization: Bearer with an API key or a token.")
	case errors.Is(err, auth.ErrUnauthenticated):
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		e := mesh.Refuse(mesh.ErrUnauthenticated, "The credentials are not accepted: they are malformed, unknown, expired or revoked. The log of the gateway says which.")
		e.Cause = err
		return e
	case errors.As(err, &locked):
		e := mesh.Refuse(mesh.ErrTooManyAttempts, "Wrong credentials came too often. Wait, then send the right ones.")
		e.RetryAfter = locked.Wait
		return e
	case errors.Is(err, auth.ErrUnavailable):
		e := mesh.Refuse(mesh.ErrIssuerUnavailable, "The issuer of the token does not answer the gateway. Nothing was accepted: try again in a moment.")
		e.Cause = err
		return e
	case errors.Is(problemOf(err), mesh.ErrStoreUnavailable):
		e := mesh.Refuse(mesh.ErrStoreUnavailable, "It could not be found out who asks. Nothing was accepted: try again in a moment.")
		e.Cause = err
		return e
	}
	return err
}

// permit refuses a caller without a scope.
func permit(w http.ResponseWriter, who auth.Caller, need auth.Scope) error {
	if who.May(need) {
		return nil
	}
	w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="`+string(need)+`"`)
	return mesh.Refuse(mesh.ErrForbidden, "This needs the scope %s, and these credentials have %v. GET /whoami shows them.", need, who.Scopes)
}

// ownValue reports whether an agent that may only keep the steps of its task asks for the
// value of one: its object says value_url where that is large.
func ownValue(r *http.Request, who auth.Caller) bool {
	at := chi.RouteContext(r.Context())
	return who.Task != "" && at.URLParam("id") == who.Task && strings.HasSuffix(at.RoutePattern(), "/tasks/{id}/steps/value") &&
		(r.Method == http.MethodGet || r.Method == http.MethodHead)
}

// acting is the caller for the tenant that it acts for.
func acting(w http.ResponseWriter, r *http.Request, who auth.Caller) (auth.Caller, error) {
	names := r.Header[tenantHeader]
	if len(names) == 0 {
		return who, nil
	}
	if err := permit(w, who, auth.Admin); err != nil {
		return who, mesh.Refuse(mesh.ErrForbidden, "%s needs the scope %s, and these credentials have %v. Leave it out: they are of the tenant %s.", tenantHeader, auth.Admin, who.Scopes, who.Tenant)
	}
	if len(names) > 1 || !auth.ValidTenant(names[0]) {
		return who, mesh.Refuse(problem.ErrBadTenant, "%s is %q: send one name of [a-zA-Z0-9][a-zA-Z0-9_-]{0,63}.", tenantHeader, mesh.Clip(strings.Join(names, ", "), 64))
	}
	return who.For(names[0]), nil
}

// credentials are what a request shows.
func credentials(r *http.Request) (c auth.Credentials, err error) {
	if carried, ok := auth.Carried(r.Context()); ok {
		return carried, nil
	}
	if c.Bearer, err = bearer(r.Header["Authorization"]); err != nil {
		return c, err
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		c.Certs = r.TLS.VerifiedChains[0]
	}
	c.Addr = remote(r)
	return c, nil
}

// bearer is the token of the Authorization lines (RFC 6750, 2.1), empty where
// there are none. Errors do not repeat it.
func bearer(lines []string) (string, error) {
	switch {
	case len(lines) == 0:
		return "", nil
	case len(lines) > 1:
		return "", unacceptable("there is more than one Authorization header")
	case len(lines[0]) > maxAuthorization:
		return "", unacceptable("the Authorization header is too long")
	}
	scheme, token, _ := strings.Cut(lines[0], " ")
	token = strings.Trim(token, " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer"):
		return "", unacceptable("the Authorization header is no Bearer")
	case token == "" || strings.ContainsFunc(token, func(c rune) bool { return !tokenRune(c) }):
		return "", unacceptable("the token is malformed")
	}
	return token, nil
}

// tokenRune says what a token may have (RFC 6750, b64token).
func tokenRune(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-._~+/=", c)
}

// unacceptable is the error of credentials that are none.
func unacceptable(why string) error { return fmt.Errorf("%s: %w", why, auth.ErrUnauthenticated) }
