package auth_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"testing"
	"time"

	"agentmesh/shared/auth"
)

func TestACallerMayOnlyDoWhatItsScopesName(t *testing.T) {
	of := func(scopes ...auth.Scope) auth.Caller { return auth.Caller{Tenant: "a", Subject: "s", Scopes: scopes} }
	for _, tt := range []struct {
		who  auth.Caller
		want auth.Scope
		may  bool
	}{
		{auth.Local(), auth.TasksWrite, true},
		{auth.Local(), auth.Admin, true},
		{auth.Stranger(), auth.Public, true},
		{auth.Stranger(), auth.Known, false},
		{auth.Stranger(), auth.TasksRead, false},
		{of(), auth.Known, true},
		{of(), auth.TasksRead, false},
		{of(auth.TasksRead), auth.TasksRead, true},
		{of(auth.TasksRead), auth.TasksWrite, false},
		{of(auth.All), auth.TasksDebug, true},
		{of(auth.All), auth.Admin, false},
		{of(auth.Admin), auth.TasksRead, false},
		{of(auth.TasksRead), "", false},
	} {
		if got := tt.who.May(tt.want); got != tt.may {
			t.Errorf("%v may %q: %v", tt.who, tt.want, got)
		}
	}
}

func TestNobodyCanBeGivenAScopeThatIsNone(t *testing.T) {
	for _, s := range []auth.Scope{auth.Public, auth.Known, "", "tasks", "tasks:*", "Admin", "all"} {
		if s.Valid() {
			t.Errorf("%q is valid", s)
		}
	}
	for _, s := range auth.Scopes {
		if !s.Valid() {
			t.Errorf("%q is not valid", s)
		}
	}
}

func TestTheMeshsOwnNamesAreNoTenants(t *testing.T) {
	for name, want := range map[string]bool{
		"default": true, "A-b_c9": true, "": false, "_mesh": false, "_listeners": false, "-a": false, "a.b": false, "a*": false, "a>": false, "a b": false, "a/b": false, "é": false,
	} {
		if auth.ValidTenant(name) != want {
			t.Errorf("ValidTenant(%q) = %v", name, !want)
		}
	}
}

func TestTheCallerOfARequestTravelsWithItsContext(t *testing.T) {
	who := auth.Caller{Tenant: "a", Scopes: []auth.Scope{auth.TasksRead}}
	if got := auth.Of(auth.With(t.Context(), who)); got.Tenant != "a" || !got.May(auth.TasksRead) {
		t.Errorf("%+v", got)
	}
	if got := auth.Of(t.Context()); got.May(auth.Known) {
		t.Errorf("without a caller: %+v", got)
	}
}

type answers struct {
	who auth.Caller
	err error
}

func (a answers) Authenticate(context.Context, auth.Credentials) (auth.Caller, error) {
	return a.who, a.err
}

func TestTheFirstWhoKnowsTheKindDecides(t *testing.T) {
	pass := answers{err: fmt.Errorf("no key: %w", auth.ErrNoCredentials)}
	knows := answers{who: auth.Caller{Tenant: "a"}}
	refuses := answers{err: auth.ErrUnauthenticated}
	shown := auth.Credentials{Bearer: "x"}
	if who, err := auth.Chain(pass, knows, refuses).Authenticate(t.Context(), shown); err != nil || who.Tenant != "a" {
		t.Errorf("%v %v", who, err)
	}
	if _, err := auth.Chain(pass, refuses, knows).Authenticate(t.Context(), shown); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("a refusal is passed over: %v", err)
	}
	if _, err := auth.Chain(pass).Authenticate(t.Context(), shown); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("credentials that nobody takes: %v", err)
	}
	if _, err := auth.Chain(pass).Authenticate(t.Context(), auth.Credentials{Certs: []*x509.Certificate{{}}}); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("a certificate that nobody takes: %v", err)
	}
	if _, err := auth.Chain(pass).Authenticate(t.Context(), auth.Credentials{}); !errors.Is(err, auth.ErrNoCredentials) {
		t.Errorf("no credentials: %v", err)
	}
}

func TestALockSaysHowLong(t *testing.T) {
	var locked *auth.Locked
	err := fmt.Errorf("key k1: %w", &auth.Locked{Wait: time.Minute})
	if !errors.Is(err, auth.ErrLocked) || !errors.As(err, &locked) || locked.Wait != time.Minute {
		t.Error(err)
	}
}
