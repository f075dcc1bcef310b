// Package auth says who asks: the caller of every operation of the core. It
// knows neither HTTP nor a store.
package auth

import "slices"

// Caller is who asks, and for which tenant. A face makes one; the core checks it.
// Nothing below the core sees a tenant that did not come from a caller.
type Caller struct {
	Tenant  string
	Subject string   // for the log; empty: nobody was asked
	KeyID   string   // of the API key, if one was shown
	Scopes  []string // the permissions of the caller
}

// All is the scope of a caller that may do everything.
const All = "all"

// DefaultTenant is the tenant of a mesh without authentication.
const DefaultTenant = "default"

// Local is the caller of a mesh that asks nobody who they are.
func Local() Caller { return Caller{Tenant: DefaultTenant, Scopes: []string{All}} }

// May reports whether the caller has a scope.
func (c Caller) May(scope string) bool {
	return slices.Contains(c.Scopes, scope) || slices.Contains(c.Scopes, All)
}
