package mesh

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"agentmesh/shared/auth"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// Key is the idempotency key of a request: equal requests with one key have one
// effect for 24 hours. A nil Key is of a request that has none.
type Key struct {
	hash        string // of tenant, operation and key
	fingerprint string // of the request itself
}

// NewKey makes the key that a caller sends with an operation (such as its method
// and route). request is what equal requests have in common.
func NewKey(who auth.Caller, key string, operation []string, request ...string) *Key {
	return &Key{hash: digest(append(append([]string{who.Tenant}, operation...), key)...), fingerprint: digest(request...)}
}

// under makes the key one of a parent's own: children of two parents may use the
// same keys.
func (k *Key) under(parent task.ID) *Key {
	if k == nil {
		return nil
	}
	return &Key{digest(k.hash, string(parent)), k.fingerprint}
}

func (k *Key) matches(stored store.IdempotencyKey) error {
	if stored.Fingerprint != k.fingerprint {
		return Refuse(ErrIdempotencyKeyReused, "This key was used with another request within the last 24 hours. Use a new key for a new request.")
	}
	return nil
}

// Canonical is the one text of a JSON value, whatever the order of its members,
// its blanks and its escapes (RFC 8785). Whole numbers keep all their digits:
// ids over 2^53 must not become one another.
func Canonical(body []byte) string {
	v := jsontext.Value(slices.Clone(body))
	if len(v) == 0 || v.Canonicalize(jsontext.CanonicalizeRawInts(false)) != nil {
		return string(body)
	}
	return string(v)
}

// digest hashes parts so that no two lists of parts collide.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p))
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// claim makes a the answer of the key, or replaces it by the one that the key has
// already. Where a is Replayed, the task exists: nothing is left to do. Otherwise
// the task is to be queued under a.TaskID; a repeat of the request does the same,
// and the queue stores it once. at is that of a turn.
func (c answers) claim(ctx context.Context, tenant string, key *Key, a *Acceptance, at location) error {
	if key == nil {
		return nil
	}
	ours, err := c.claimAnswer(ctx, tenant, key, string(a.TaskID), a)
	if err != nil || ours {
		return err
	}
	_, err = c.find(ctx, tenant, a.TaskID, at)
	if errors.Is(err, task.ErrDeleted) { // it has ended: a repeat gets its first answer
		a.Replayed = true
		return nil
	}
	if errors.Is(err, task.ErrNotFound) {
		// The first request is still on its way to the queue, or died there.
		return nil
	}
	a.Replayed = err == nil
	return err
}

// claimAnswer makes answer that of the key, or replaces it by the one that the key
// has already: then it is not ours.
func (c answers) claimAnswer(ctx context.Context, tenant string, key *Key, id string, answer any) (ours bool, err error) {
	body, err := json.Marshal(answer)
	if err != nil {
		return false, err
	}
	stored, ours, err := c.store.Idempotency.Claim(ctx, tenant, key.hash, store.IdempotencyKey{Fingerprint: key.fingerprint, TaskID: id, Answer: body})
	if err != nil || ours {
		return ours, err
	}
	if err := key.matches(stored); err != nil {
		return false, err
	}
	if err := json.Unmarshal(stored.Answer, answer); err != nil {
		return false, fmt.Errorf("decode stored answer: %w", err)
	}
	return false, nil
}

// accepted reports whether an equal request with a key has come before: it may
// have been accepted.
func (c answers) accepted(ctx context.Context, tenant string, key *Key) (bool, error) {
	if key == nil {
		return false, nil
	}
	stored, ok, err := c.store.Idempotency.Lookup(ctx, tenant, key.hash)
	if err != nil || !ok {
		return false, err
	}
	return true, key.matches(stored)
}

// Once notes that a caller has done what may be done once, such as to show a signature,
// and reports whether it is the first time, whichever gateway it comes to. It is
// remembered for 24 hours.
func (c Tasks) Once(ctx context.Context, who auth.Caller, what ...string) (first bool, err error) {
	key := &Key{hash: digest(append([]string{who.Tenant, "once"}, what...)...)}
	_, first, err = c.store.Idempotency.Claim(ctx, who.Tenant, key.hash, store.IdempotencyKey{TaskID: rand.Text(), Answer: json.RawMessage("null")})
	return first, err
}

// recall is the answer that a key stands for, nil when it stands for none.
func (c answers) recall(ctx context.Context, who auth.Caller, key *Key) (*Acceptance, error) {
	a := &Acceptance{Replayed: true}
	if known, err := c.recallAnswer(ctx, who.Tenant, key, a); err != nil || !known {
		return nil, err
	}
	return a, nil
}

// repeated is the answer of an equal request that was accepted before, nil where none was:
// one that was refused, or died on its way, has left its key only.
func (c answers) repeated(ctx context.Context, who auth.Caller, key *Key) (*Acceptance, error) {
	a, err := c.recall(ctx, who, key)
	if err != nil || a == nil {
		return nil, err
	}
	if _, err := c.find(ctx, who.Tenant, a.TaskID, location{}); err != nil && !errors.Is(err, task.ErrDeleted) {
		return nil, nil // the refusal stands
	}
	return a, nil
}

// recallAnswer reads the answer that a key stands for, if it stands for one.
func (c answers) recallAnswer(ctx context.Context, tenant string, key *Key, answer any) (known bool, err error) {
	if key == nil {
		return false, nil
	}
	stored, ok, err := c.store.Idempotency.Lookup(ctx, tenant, key.hash)
	if err != nil || !ok {
		return false, nil // not known: the refusal stands
	}
	if err := key.matches(stored); err != nil {
		return false, err
	}
	if err := json.Unmarshal(stored.Answer, answer); err != nil {
		return false, fmt.Errorf("decode stored answer: %w", err)
	}
	return true, nil
}
