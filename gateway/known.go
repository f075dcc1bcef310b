package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/pause"
)

// askAgain is how often it is asked whether who reads a stream is still known.
const askAgain = 2 * time.Second

// streams reports whether an answer may go on without an end.
func (k *given) streams() bool {
	return slices.ContainsFunc(k.answers, func(a givenAnswer) bool { return a.media == mediaEvents })
}

// whileKnown is the request of an admitted caller, whose context ends when its
// credentials do: a stream lives longer than the look at them at its beginning.
// Call end when the request is over.
func (f *front) whileKnown(r *http.Request, who auth.Caller, need auth.Scope) (known *http.Request, end func()) {
	if f.cfg.Authenticator == nil {
		return r, func() {}
	}
	ctx, cancel := context.WithCancel(r.Context())
	var looks sync.WaitGroup
	looks.Go(func() {
		for pause.For(ctx, askAgain) {
			if err := f.stillMay(ctx, r, who, need); err != nil && ctx.Err() == nil {
				f.log.InfoContext(ctx, "stream ended: its caller may not read it any more", "path", r.URL.Path, "tenant", who.Tenant, "key", who.KeyID, "error", err)
				cancel()
			}
		}
	})
	return r.WithContext(ctx), func() { cancel(); looks.Wait() }
}

// errOtherCaller is that of credentials that mean something else by now.
var errOtherCaller = errors.New("the tenant or the scopes of the credentials have changed")

// stillMay says why who sends a request may not go on. While nobody can tell, it
// may.
func (f *front) stillMay(ctx context.Context, r *http.Request, who auth.Caller, need auth.Scope) error {
	shown, err := credentials(r)
	var now auth.Caller
	if err == nil {
		now, err = f.authenticate(ctx, shown)
	}
	switch {
	case errors.Is(err, auth.ErrUnauthenticated), errors.Is(err, auth.ErrNoCredentials):
		return err
	case err != nil:
		return nil
	case !now.May(need), now.Tenant != who.Tenant && !now.May(auth.Admin):
		return errOtherCaller
	}
	return nil
}
