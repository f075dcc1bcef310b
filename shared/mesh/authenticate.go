package mesh

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"agentmesh/shared/auth"
	"agentmesh/shared/pause"
	"agentmesh/shared/store"
)

// KeyAuthenticator knows callers by their API keys. It has a copy of all keys that one watch of the store keeps up to date.
//
// It promises that a key that was revoked is refused within 5 seconds, whatever
// becomes of the watch: every second it asks for the newest change, and while it does
// not know that it has seen that, it asks the store for each request.
type KeyAuthenticator struct {
	store *store.Store
	log   *slog.Logger
	lock  lockout
	uses  uses

	mu    sync.RWMutex
	known map[string]*store.APIKey
	seen  uint64    // the newest change that is in known
	fresh time.Time // known was complete then

	asking singleflight.Group // requests with one key share a read
}

// Times of the copy of the keys.
const (
	lookEvery  = time.Second
	freshFor   = 3 * time.Second // with lookEvery under the 5 s of the promise
	behindMost = 5               // looks that find the watch behind: then it begins anew
)

// NewKeyAuthenticator makes one; it knows no key until it runs, and asks the store.
func NewKeyAuthenticator(st *store.Store, log *slog.Logger) *KeyAuthenticator {
	return &KeyAuthenticator{store: st, log: log, lock: lockout{log: log}, known: map[string]*store.APIKey{}}
}

// Authenticate implements auth.Authenticator.
func (a *KeyAuthenticator) Authenticate(ctx context.Context, c auth.Credentials) (auth.Caller, error) {
	id, matches, err := shownKey(c)
	if err != nil {
		return auth.Caller{}, err
	}
	if wait := a.lock.Wait(id, c.Addr); wait > 0 {
		return auth.Caller{}, fmt.Errorf("API key %s: %w", id, &auth.Locked{Wait: wait})
	}
	k, err := a.key(ctx, id, c.Addr)
	switch {
	case errors.Is(err, store.ErrNoAPIKey):
		a.lock.failed(ctx, unknownIDs, c.Addr)
		return auth.Caller{}, refusedKey("API key "+id, "there is none with this id")
	case err != nil:
		return auth.Caller{}, err
	case !matches(k.Hash):
		a.lock.failed(ctx, id, c.Addr)
		return auth.Caller{}, refusedKey("API key "+id, "its secret is wrong")
	}
	a.lock.Passed(id, c.Addr)
	if now := time.Now(); !k.Live(now) {
		return auth.Caller{}, refusedKey("API key "+id, "it ended at "+k.Ended(now).Format(time.RFC3339))
	}
	a.uses.note(id)
	return auth.Caller{Tenant: k.Tenant, Subject: k.Name, KeyID: id, Scopes: k.Scopes}, nil
}

// shownKey is the id of the key that credentials show, and how its hash is compared.
func shownKey(c auth.Credentials) (id string, matches func(hash string) bool, err error) {
	if kept := c.Kept; kept != nil && c.Bearer == "" {
		if !auth.ValidKeyID(kept.ID) {
			return "", nil, refusedKey("API key that was kept", "its id is none")
		}
		return kept.ID, func(hash string) bool { return subtle.ConstantTimeCompare([]byte(hash), []byte(kept.Hash)) == 1 }, nil
	}
	if !strings.HasPrefix(c.Bearer, auth.KeyPrefix) {
		return "", nil, auth.ErrNoCredentials
	}
	shown, err := auth.ParseKey(c.Bearer)
	if err != nil {
		return "", nil, refusedKey("API key", err.Error())
	}
	return shown.ID(), shown.Matches, nil
}

// unknownIDs is the name under which ids are counted that there are not: those of one
// address lock it out from guessing more of them, and from nothing else.
const unknownIDs = "unknown"

// lockout is one that says in the log whom it locks out.
type lockout struct {
	auth.Lockout
	log *slog.Logger
}

// failed counts a wrong secret.
func (l *lockout) failed(ctx context.Context, name string, addr netip.Addr) {
	if l.Failed(name, addr) {
		l.log.WarnContext(ctx, "an address is locked out for a while: it showed too many wrong secrets", "address", addr, "of", name)
	}
}

// refusedKey says for the log why a key is refused.
func refusedKey(what, why string) error {
	return fmt.Errorf("%s: %s: %w", what, why, auth.ErrUnauthenticated)
}

// key finds a key in the copy, or in the store: where the copy may be behind, and
// where it has none, for that may have been made a moment ago.
func (a *KeyAuthenticator) key(ctx context.Context, id string, addr netip.Addr) (*store.APIKey, error) {
	a.mu.RLock()
	k, fresh := a.known[id], time.Since(a.fresh) < freshFor
	a.mu.RUnlock()
	if k != nil && fresh {
		return k, nil
	}
	if k == nil {
		if wait := a.lock.Wait(unknownIDs, addr); wait > 0 {
			return nil, fmt.Errorf("API key %s: %w", id, &auth.Locked{Wait: wait})
		}
	}
	v, err, _ := a.asking.Do(id, func() (any, error) { return a.store.APIKeys.Get(context.WithoutCancel(ctx), id) })
	k, _ = v.(*store.APIKey)
	return k, err
}

// Run keeps the copy of the keys up to date and notes when they were used, until ctx
// ends.
func (a *KeyAuthenticator) Run(ctx context.Context) error {
	parts, ctx := errgroup.WithContext(ctx)
	parts.Go(func() error { a.noteUses(ctx); return nil })
	parts.Go(func() error {
		for ctx.Err() == nil {
			if err := a.follow(ctx); ctx.Err() == nil {
				a.log.WarnContext(ctx, "API keys not watched, trying again: each request asks the store meanwhile", "error", err)
				pause.For(ctx, time.Second)
			}
		}
		return nil
	})
	return parts.Wait()
}

// follow watches the keys until ctx ends, the watch does, or it has fallen behind.
func (a *KeyAuthenticator) follow(ctx context.Context) error {
	parts, ctx := errgroup.WithContext(ctx)
	parts.Go(func() error { return a.watch(ctx) })
	parts.Go(func() error { return a.look(ctx) })
	return parts.Wait()
}

// watch fills a new copy, and has it in place of the old one when it is whole.
func (a *KeyAuthenticator) watch(ctx context.Context) error {
	filling, seen, whole := map[string]*store.APIKey{}, uint64(0), false
	return a.store.APIKeys.Watch(ctx, func(id string, k *store.APIKey, rev uint64) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if k != nil {
			filling[id] = k
		} else {
			delete(filling, id)
		}
		if seen = rev; whole {
			a.seen = seen
		}
	}, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.known, a.seen, whole = filling, seen, true
	})
}

// look asks for the newest change, again and again. The copy is fresh as of the last
// question whose answer it has seen.
func (a *KeyAuthenticator) look(ctx context.Context) error {
	for behind := 0; behind < behindMost; {
		asked := time.Now()
		newest, err := a.store.APIKeys.Revision(ctx)
		if err == nil && a.saw(newest, asked) {
			behind = 0
		} else if err == nil {
			behind++
		}
		if !pause.For(ctx, lookEvery) {
			return nil
		}
	}
	return errors.New("the watch has fallen behind")
}

// saw reports whether the copy has a change, and notes that it is fresh then.
func (a *KeyAuthenticator) saw(rev uint64, asked time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen < rev {
		return false
	}
	a.fresh = asked
	return true
}
