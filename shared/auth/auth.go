// Package auth says who asks: the caller of every operation of the core, what it
// may do, and how a face finds out who it is.
//
// It promises that a caller may do only what its scopes name. It knows neither
// HTTP nor a store: a face gathers credentials, an Authenticator makes a caller
// of them.
package auth

import (
	"context"
	"net/netip"
	"slices"
)

// Caller is who asks, and for which tenant. A face makes one; the core checks it.
// Nothing below the core sees a tenant that did not come from a caller.
type Caller struct {
	Tenant  string
	Subject string  // for the log; empty: nobody was asked
	KeyID   string  // of the API key, if one was shown
	Scopes  []Scope // the permissions of the caller
	// Task is whose steps an agent without scopes may tell, and read the values of.
	Task string

	// Addr is where the request came from; the zero Addr where the face does not know.
	Addr netip.Addr
}

// DefaultTenant is the tenant of a mesh without authentication.
const DefaultTenant = "default"

// Local is the caller of a mesh that asks nobody who they are.
func Local() Caller { return Caller{Tenant: DefaultTenant, Scopes: everything} }

var everything = []Scope{All, Admin}

// Stranger is the caller of what is public: it may do nothing else.
func Stranger() Caller { return Caller{Tenant: DefaultTenant} }

// May reports whether the caller has a scope.
func (c Caller) May(s Scope) bool {
	switch s {
	case Public:
		return true
	case Admin:
		return slices.Contains(c.Scopes, Admin)
	case Known:
		return len(c.Scopes) > 0 || c.Subject != "" || c.KeyID != ""
	}
	return slices.Contains(c.Scopes, s) || slices.Contains(c.Scopes, All)
}

// For is the caller of another tenant: of the one that an admin acts for, or whose
// public things are read.
func (c Caller) For(tenant string) Caller {
	c.Tenant = tenant
	return c
}

// ValidTenant reports whether a caller may be of a tenant of this name:
// [a-zA-Z0-9][a-zA-Z0-9_-]{0,63}. Names that begin with _ are the mesh's own.
func ValidTenant(name string) bool {
	for i, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && (i == 0 || c != '_' && c != '-') {
			return false
		}
	}
	return name != "" && len(name) <= 64
}

type callerKey struct{}

// With is ctx with the caller of a request.
func With(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// Of is the caller of a request, a stranger where nobody was asked.
func Of(ctx context.Context) Caller {
	if c, ok := ctx.Value(callerKey{}).(Caller); ok {
		return c
	}
	return Stranger()
}
