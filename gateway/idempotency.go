package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"

	"github.com/go-chi/chi/v5"
	"github.com/go-json-experiment/json/jsontext"

	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// requestKey is a request's Idempotency-Key (draft-ietf-httpapi-idempotency-
// key-header-06): where its answer is kept, and which request it belongs to.
type requestKey struct {
	hash        string // of tenant, method, route and key
	fingerprint string // of the request itself
}

// newKey reads the key of a request; nil when it has none.
func newKey(r *http.Request, body []byte) (*requestKey, error) {
	key, err := idempotencyKey(r.Header)
	if err != nil || key == "" {
		return nil, err
	}
	route := chi.RouteContext(r.Context()).RoutePattern()
	return &requestKey{
		hash:        digest(tenant, r.Method, unversioned(route), key),
		fingerprint: digest(r.Method, unversioned(r.URL.Path), mediaType(r), canonical(body)),
	}, nil
}

// mediaType is the content type without its parameters.
func mediaType(r *http.Request) string {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return media
}

// canonical is the one text of a JSON value, whatever the order of its members,
// its blanks and its escapes (RFC 8785). Whole numbers keep all their digits:
// ids over 2^53 must not become one another.
func canonical(body []byte) string {
	v := jsontext.Value(slices.Clone(body))
	if len(v) == 0 || v.Canonicalize(jsontext.CanonicalizeRawInts(false)) != nil {
		return string(body)
	}
	return string(v)
}

// under makes the key one of a parent's own: children of two parents may use the
// same keys.
func (k *requestKey) under(parent string) { k.hash = digest(k.hash, parent) }

// digest hashes parts so that no two lists of parts collide.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p))
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// claim makes answer the answer of the key, or replaces it by the one that the
// key has already. replayed says that the task exists: nothing is left to do.
// Otherwise the task is to be queued under answer.TaskID; whoever repeats the
// request does the same, and the queue stores it once. p is that of a
// turn.
func (g *Gateway) claim(ctx context.Context, key *requestKey, answer *Accepted, p place) (replayed bool, err error) {
	if key == nil {
		return false, nil
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return false, err
	}
	mine := store.Key{Fingerprint: key.fingerprint, TaskID: answer.TaskID, Answer: body}
	stored, ours, err := g.store.ClaimKey(ctx, tenant, key.hash, mine)
	if err != nil || ours {
		return false, err
	}
	if err := key.matches(stored); err != nil {
		return false, err
	}
	if err := json.Unmarshal(stored.Answer, answer); err != nil {
		return false, fmt.Errorf("decode stored answer: %w", err)
	}
	_, err = g.find(ctx, stored.TaskID, p)
	if errors.Is(err, task.ErrNotFound) {
		// The first request is still on its way to the queue, or died there.
		return false, nil
	}
	return err == nil, err
}

func (k *requestKey) matches(stored store.Key) error {
	if stored.Fingerprint != k.fingerprint {
		return mesh.Refuse(mesh.ErrIdempotencyKeyReused, "This key was used with another request within the last 24 hours. Use a new key for a new request.")
	}
	return nil
}

// recall looks up what a key stands for, without claiming it.
func (g *Gateway) recall(ctx context.Context, key *requestKey) (stored store.Key, ok bool, err error) {
	if key == nil {
		return store.Key{}, false, nil
	}
	return g.store.LookupKey(ctx, tenant, key.hash)
}

// answerAgain replays the answer of a key.
func (g *Gateway) answerAgain(w http.ResponseWriter, r *http.Request, stored store.Key, key *requestKey) error {
	if err := key.matches(stored); err != nil {
		return err
	}
	var answer Accepted
	if err := json.Unmarshal(stored.Answer, &answer); err != nil {
		return fmt.Errorf("decode stored answer: %w", err)
	}
	w.Header().Set("Idempotent-Replayed", "true")
	return g.answerAccepted(w, r, answer, preferred(r), nil)
}
