package oidc

import (
	"crypto/sha256"
	"sync"
	"time"

	"agentmesh/shared/auth"
)

// maxKnown is how many tokens are kept in mind. Beyond it all are forgotten: each
// is looked at again when it comes.
const maxKnown = 4096

// known are tokens that were accepted, by their hashes: a client sends its token
// with each request, and a signature takes longer to look at than a task to accept.
// One counts as long as it lasts and its issuer's keys are those that it was
// accepted with.
type known struct {
	mu     sync.Mutex
	tokens map[[sha256.Size]byte]acceptance
}

// acceptance is what an accepted token means.
type acceptance struct {
	caller auth.Caller
	until  time.Time
	from   *issuer
	keys   uint64 // those of the issuer; see issuer.generation
}

func (k *known) find(sum [sha256.Size]byte) (auth.Caller, bool) {
	k.mu.Lock()
	a, ok := k.tokens[sum]
	k.mu.Unlock()
	if !ok || time.Now().After(a.until) {
		return auth.Caller{}, false
	}
	if now := a.from.generation(); now == noKeys || now != a.keys {
		return auth.Caller{}, false
	}
	return a.caller, true
}

func (k *known) keep(sum [sha256.Size]byte, a acceptance) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.tokens == nil || len(k.tokens) >= maxKnown {
		k.tokens = map[[sha256.Size]byte]acceptance{}
	}
	k.tokens[sum] = a
}
