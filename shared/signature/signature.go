// Package signature signs and verifies webhooks by Standard Webhooks 1.0.0
// (standardwebhooks.com): v1 is HMAC-SHA256 with a shared secret, v1a is ed25519.
// Receivers import it: it needs the standard library only.
//
//	secret, err := signature.ParseSecret(os.Getenv("WEBHOOK_SECRET"))
//	...
//	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
//	msg, err := signature.Verifier{Keys: []signature.VerifyingKey{secret}}.Verify(r.Header, body, time.Now())
//	if err != nil {
//		http.Error(w, "bad signature", http.StatusUnauthorized)
//		return
//	}
//	// msg.ID is the same on every repeat: do the work once for each.
//
// It promises constant-time comparison, and that what it signs means one thing:
// an id has no dot, a timestamp one form. It stores nothing, so that telling
// repeats apart is the receiver's.
package signature

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Headers of a signed request.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// Tolerance is how far the clocks of sender and receiver may be apart.
const Tolerance = 5 * time.Minute

// Why a request is not accepted; ask with errors.Is.
var (
	ErrMissing   = errors.New("webhook headers are missing")
	ErrMalformed = errors.New("webhook headers are malformed")
	ErrTimestamp = errors.New("webhook timestamp is too far from now")
	ErrMismatch  = errors.New("no webhook signature matches")
)

// SigningKey makes signatures: a Secret or a PrivateKey.
type SigningKey interface {
	sign(content []byte) (entry string, err error)
}

// VerifyingKey checks signatures: a Secret or a PublicKey.
type VerifyingKey interface {
	scheme() string
	verify(content, signature []byte) bool
}

// Sign sets the three headers for a body that is sent at a time: the id, the
// time in Unix seconds, and one signature for each key, the current one first.
// The id must not be empty and has letters, digits, _ and - only.
func Sign(h http.Header, id string, at time.Time, body []byte, keys ...SigningKey) error {
	switch {
	case !validID.MatchString(id):
		return fmt.Errorf("sign webhook: id %q must match %s", id, validID)
	case at.Unix() <= 0:
		return fmt.Errorf("sign webhook %s: time %v is before 1970", id, at)
	case len(keys) == 0:
		return fmt.Errorf("sign webhook %s: no key", id)
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	content := content(id, stamp, body)
	parts := make([]string, len(keys))
	for i, k := range keys {
		var err error
		if parts[i], err = k.sign(content); err != nil {
			return fmt.Errorf("sign webhook %s: %w", id, err)
		}
	}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, stamp)
	h.Set(HeaderSignature, strings.Join(parts, " "))
	return nil
}

var (
	validID    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)
	validStamp = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)
)

// content is what is signed.
func content(id, stamp string, body []byte) []byte {
	b := make([]byte, 0, len(id)+len(stamp)+len(body)+2)
	b = append(append(append(append(b, id...), '.'), stamp...), '.')
	return append(b, body...)
}

// Message is what a verified request says of itself.
type Message struct {
	ID string    // the same on every repeat
	At time.Time // of this attempt, in seconds
}

// Verifier checks requests with the keys that it trusts; never take a key from
// the request itself.
type Verifier struct {
	Keys      []VerifyingKey
	Tolerance time.Duration // 0: Tolerance
}

// maxSignatures bounds the work that a request can ask for.
const maxSignatures = 32

// Verify checks the headers of a request against its body, as it was received,
// at time now. The error is one of the package's, wrapped with what was wrong.
func (v Verifier) Verify(h http.Header, body []byte, now time.Time) (Message, error) {
	id, stamp := h.Values(HeaderID), h.Values(HeaderTimestamp)
	signatures := strings.Fields(strings.Join(h.Values(HeaderSignature), " "))
	if len(id) == 0 || len(stamp) == 0 || len(signatures) == 0 {
		return Message{}, fmt.Errorf("%w: a request has %s, %s and %s", ErrMissing, HeaderID, HeaderTimestamp, HeaderSignature)
	}
	if len(id) > 1 || len(stamp) > 1 || !validID.MatchString(id[0]) || !validStamp.MatchString(stamp[0]) || len(signatures) > maxSignatures {
		return Message{}, fmt.Errorf("%w: one id without dots, one time in Unix seconds, at most %d signatures", ErrMalformed, maxSignatures)
	}
	seconds, err := strconv.ParseInt(stamp[0], 10, 64)
	if err != nil {
		return Message{}, fmt.Errorf("%w: time %s", ErrMalformed, stamp[0])
	}
	msg := Message{ID: id[0], At: time.Unix(seconds, 0)}
	tolerance := v.Tolerance
	if tolerance == 0 {
		tolerance = Tolerance
	}
	if off := seconds - now.Unix(); off > int64(tolerance/time.Second) || off < -int64(tolerance/time.Second) {
		return msg, fmt.Errorf("%w: %v, allowed is %v", ErrTimestamp, time.Duration(min(max(off, -1e9), 1e9))*time.Second, tolerance)
	}
	content := content(msg.ID, stamp[0], body)
	for _, s := range signatures {
		scheme, encoded, _ := strings.Cut(s, ",")
		raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if err != nil {
			continue // a scheme of somebody else's
		}
		for _, k := range v.Keys {
			if k.scheme() == scheme && k.verify(content, raw) {
				return msg, nil
			}
		}
	}
	return msg, fmt.Errorf("%w of %d, with %d keys", ErrMismatch, len(signatures), len(v.Keys))
}

// Prefixes of the text forms of keys.
const (
	prefixSecret  = "whsec_"
	prefixPrivate = "whsk_"
	prefixPublic  = "whpk_"
)

// decodeKey reads the text form of a key of one kind.
func decodeKey(text, prefix string) ([]byte, error) {
	kinds := map[string]string{prefixSecret: "a shared secret", prefixPrivate: "a private key", prefixPublic: "a public key"}
	encoded, ok := strings.CutPrefix(text, prefix)
	if !ok {
		for other, kind := range kinds {
			if strings.HasPrefix(text, other) {
				return nil, fmt.Errorf("webhook key: it is %s (%s), wanted is %s (%s)", kind, other, kinds[prefix], prefix)
			}
		}
		return nil, fmt.Errorf("webhook key: it must start with %s", prefix)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("webhook key: after %s it must be standard base64", prefix)
	}
	return raw, nil
}

// Secret is the shared key of v1. The zero Secret signs and verifies nothing.
type Secret struct{ key []byte }

// Lengths of a secret in bytes.
const (
	minSecret = 24
	maxSecret = 64
)

// NewSecret makes a random secret of 32 bytes.
func NewSecret() Secret {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return Secret{key}
}

// ParseSecret reads the form whsec_<base64> of 24 to 64 bytes.
func ParseSecret(text string) (Secret, error) {
	raw, err := decodeKey(text, prefixSecret)
	if err != nil {
		return Secret{}, err
	}
	if len(raw) < minSecret || len(raw) > maxSecret {
		return Secret{}, fmt.Errorf("webhook key: a secret has %d to %d bytes, this one %d", minSecret, maxSecret, len(raw))
	}
	return Secret{raw}, nil
}

// Reveal is the text form. String hides it.
func (s Secret) Reveal() string { return prefixSecret + base64.StdEncoding.EncodeToString(s.key) }

// String hides the secret from logs.
func (s Secret) String() string { return prefixSecret + "***" }

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

func (s Secret) mac(content []byte) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write(content)
	return h.Sum(nil)
}

func (s Secret) scheme() string { return "v1" }

func (s Secret) sign(content []byte) (string, error) {
	if len(s.key) < minSecret {
		return "", errors.New("the secret is empty")
	}
	return "v1," + base64.StdEncoding.EncodeToString(s.mac(content)), nil
}

func (s Secret) verify(content, signature []byte) bool {
	return len(s.key) >= minSecret && hmac.Equal(s.mac(content), signature)
}

// PrivateKey is the sender's key of v1a.
type PrivateKey struct{ key ed25519.PrivateKey }

// NewPrivateKey makes a random key.
func NewPrivateKey() PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // never fails
	return PrivateKey{ed25519.NewKeyFromSeed(seed)}
}

// ParsePrivateKey reads the form whsk_<base64> of a seed (32 bytes) or of a seed
// and its public key (64 bytes).
func ParsePrivateKey(text string) (PrivateKey, error) {
	raw, err := decodeKey(text, prefixPrivate)
	if err != nil {
		return PrivateKey{}, err
	}
	if len(raw) != ed25519.SeedSize && len(raw) != ed25519.PrivateKeySize {
		return PrivateKey{}, fmt.Errorf("webhook key: a private key has 32 or 64 bytes, this one %d", len(raw))
	}
	k := PrivateKey{ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])}
	if len(raw) == ed25519.PrivateKeySize && !hmac.Equal(raw, k.key) {
		return PrivateKey{}, errors.New("webhook key: the public half of the private key is not its own")
	}
	return k, nil
}

// Public is the key that receivers trust.
func (k PrivateKey) Public() PublicKey {
	public, _ := k.key.Public().(ed25519.PublicKey)
	return PublicKey{public}
}

// Reveal is the text form, of 64 bytes. String hides it.
func (k PrivateKey) Reveal() string { return prefixPrivate + base64.StdEncoding.EncodeToString(k.key) }

// String hides the key from logs.
func (k PrivateKey) String() string { return prefixPrivate + "***" }

// GoString hides the key from %#v.
func (k PrivateKey) GoString() string { return k.String() }

func (k PrivateKey) sign(content []byte) (string, error) {
	if len(k.key) != ed25519.PrivateKeySize {
		return "", errors.New("the private key is empty")
	}
	return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(k.key, content)), nil
}

// PublicKey is the receiver's key of v1a.
type PublicKey struct{ key ed25519.PublicKey }

// ParsePublicKey reads the form whpk_<base64> of 32 bytes.
func ParsePublicKey(text string) (PublicKey, error) {
	raw, err := decodeKey(text, prefixPublic)
	if err != nil {
		return PublicKey{}, err
	}
	if len(raw) != ed25519.PublicKeySize {
		return PublicKey{}, fmt.Errorf("webhook key: a public key has 32 bytes, this one %d", len(raw))
	}
	return PublicKey{raw}, nil
}

// String is the text form.
func (k PublicKey) String() string { return prefixPublic + base64.StdEncoding.EncodeToString(k.key) }

// Bytes is the key itself, as a JWK shows it.
func (k PublicKey) Bytes() []byte { return append([]byte(nil), k.key...) }

func (k PublicKey) scheme() string { return "v1a" }

func (k PublicKey) verify(content, signature []byte) bool {
	return len(k.key) == ed25519.PublicKeySize && ed25519.Verify(k.key, content, signature)
}
