package auth

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Credentials are what a request shows of who sends it.
type Credentials struct {
	Bearer string              // the token of the Authorization header; empty: none
	Certs  []*x509.Certificate // the chain of the client's certificate, verified, leaf first; nil: none
	Addr   netip.Addr          // where the request comes from

	Kept    *KeptKey // an API key that was shown before; nil: none
	Vouched *Caller  // who a face of this process vouches for, which has seen a token; nil: nobody
}

// KeptKey is what a face keeps, sealed, of an API key that somebody has shown to it: as
// good as the key for as long as that is live, and no key.
type KeptKey struct{ ID, Hash string }

// Empty reports whether there are none.
func (c Credentials) Empty() bool { return c.Bearer == "" && len(c.Certs) == 0 && c.Kept == nil }

type credentialsKey struct{}

// Carry is ctx with what a request within this process shows. Nothing that comes over
// a network has a context, so that only a face of the same process can say so.
func Carry(ctx context.Context, c Credentials) context.Context {
	return context.WithValue(ctx, credentialsKey{}, c)
}

// Carried is what Carry has put into ctx.
func Carried(ctx context.Context) (c Credentials, ok bool) {
	c, ok = ctx.Value(credentialsKey{}).(Credentials)
	return c, ok
}

// Authenticator says who shows credentials. It answers ErrNoCredentials where
// there are none of its kind, and leaves a request with a bearer token of another
// kind to others, also when it knows the certificate.
type Authenticator interface {
	Authenticate(ctx context.Context, c Credentials) (Caller, error)
}

// Reasons not to know a caller. They are wrapped with what was wrong, for the log,
// and never with a secret.
var (
	ErrUnauthenticated = errors.New("credentials not accepted")
	ErrNoCredentials   = errors.New("no credentials")
	ErrLocked          = errors.New("too many wrong credentials")
	// ErrUnavailable says that nobody can tell: the issuer that vouches for the caller
	// does not answer.
	ErrUnavailable = errors.New("who vouches for the caller does not answer")
)

// Locked is ErrLocked with the time after which credentials are looked at again.
type Locked struct{ Wait time.Duration }

// Error implements error.
func (l *Locked) Error() string { return fmt.Sprintf("%s: wait %v", ErrLocked, l.Wait) }

// Is reports whether target is the reason.
func (l *Locked) Is(target error) bool { return target == ErrLocked }

// Chain asks one authenticator after the other, each for credentials of its kind.
// The first that knows the kind decides.
func Chain(all ...Authenticator) Authenticator { return chain(all) }

type chain []Authenticator

func (all chain) Authenticate(ctx context.Context, c Credentials) (Caller, error) {
	for _, a := range all {
		who, err := a.Authenticate(ctx, c)
		if !errors.Is(err, ErrNoCredentials) {
			return who, err
		}
	}
	if c.Empty() {
		return Caller{}, ErrNoCredentials
	}
	return Caller{}, fmt.Errorf("no authenticator takes this kind: %w", ErrUnauthenticated)
}
