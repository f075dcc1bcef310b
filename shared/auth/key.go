package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math/big"
	"strings"
)

// Key is an API key, with its secret:
//
//	amk_<env>_<id>_<secret>_<checksum>
//
// The id names the key everywhere, the secret is shown once. The checksum is of all
// before it, so that a typo costs no look-up. Printed, a key hides its secret.
type Key struct{ env, id, secret string }

// TaskKey is the key of one attempt of a task, by which its agent calls the mesh:
//
//	amt_<tenant>.<task id>.<secret>.<checksum>
type TaskKey struct{ Tenant, Task, secret string }

// Beginnings of keys, which say of which kind a bearer token is.
const (
	KeyPrefix     = "amk_"
	TaskKeyPrefix = "amt_"
)

// ErrBadKey is a text that is no key: it was cut off, or has a typo.
var ErrBadKey = errors.New("it is no key: its form or its checksum is wrong")

// Sizes of the parts of a key.
const (
	keyIDSize    = 10
	secretSize   = 43 // 32 bytes in base62
	checksumSize = 6  // 4 bytes in base62
	maxEnv       = 12
	maxKey       = len(KeyPrefix) + maxEnv + keyIDSize + secretSize + checksumSize + 3
	maxTaskKey   = len(TaskKeyPrefix) + 64 + 36 + secretSize + checksumSize + 3
)

// keyEnv stands in new keys.
const keyEnv = "live"

const (
	base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	base36 = "0123456789abcdefghijklmnopqrstuvwxyz"
)

// NewKey makes a key with a random id.
func NewKey() Key {
	id := make([]byte, 8)
	_, _ = rand.Read(id) // never fails
	return Key{keyEnv, inBase(base36, id, keyIDSize), newSecret()}
}

// NewKeyFor makes a key whose id follows from a text: the same from the same one.
func NewKeyFor(text string) Key {
	sum := sha256.Sum256([]byte(text))
	return Key{keyEnv, inBase(base36, sum[:8], keyIDSize), newSecret()}
}

// NewTaskKey makes the key of an attempt.
func NewTaskKey(tenant, task string) TaskKey { return TaskKey{tenant, task, newSecret()} }

func newSecret() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	return inBase(base62, raw, secretSize)
}

// inBase writes raw as a number, its last digits, so many.
func inBase(digits string, raw []byte, size int) string {
	n, base, digit := new(big.Int).SetBytes(raw), big.NewInt(int64(len(digits))), new(big.Int)
	text := make([]byte, size)
	for i := size - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		text[i] = digits[digit.Int64()]
	}
	return string(text)
}

// checksum is of what stands before it.
func checksum(text string) string {
	sum := crc32.ChecksumIEEE([]byte(text))
	return inBase(base62, []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}, checksumSize)
}

// ParseKey reads a key, or returns ErrBadKey.
func ParseKey(text string) (Key, error) {
	rest, ok := strings.CutPrefix(text, KeyPrefix)
	parts := strings.SplitN(rest, "_", 5)
	if !ok || len(text) > maxKey || len(parts) != 4 {
		return Key{}, ErrBadKey
	}
	k := Key{parts[0], parts[1], parts[2]}
	if k.env == "" || len(k.env) > maxEnv || !only(base36, k.env) || !ValidKeyID(k.id) || !validSecret(k.secret) || !checked(text, k.Reveal()) {
		return Key{}, ErrBadKey
	}
	return k, nil
}

// ParseTaskKey reads the key of an attempt, or returns ErrBadKey. Its reader
// checks the names in it.
func ParseTaskKey(text string) (TaskKey, error) {
	rest, ok := strings.CutPrefix(text, TaskKeyPrefix)
	parts := strings.SplitN(rest, ".", 5)
	if !ok || len(text) > maxTaskKey || len(parts) != 4 {
		return TaskKey{}, ErrBadKey
	}
	k := TaskKey{parts[0], parts[1], parts[2]}
	if k.Tenant == "" || k.Task == "" || !validSecret(k.secret) || !checked(text, k.Reveal()) {
		return TaskKey{}, ErrBadKey
	}
	return k, nil
}

// checked compares a text with what it should be: nothing is learned from the time
// that takes.
func checked(text, whole string) bool {
	return subtle.ConstantTimeCompare([]byte(text), []byte(whole)) == 1
}

// ValidKeyID reports whether id can be that of a key.
func ValidKeyID(id string) bool { return len(id) == keyIDSize && only(base36, id) }

func validSecret(s string) bool { return len(s) == secretSize && only(base62, s) }

func only(digits, text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool { return !strings.ContainsRune(digits, c) })
}

// ID names the key; it is no secret.
func (k Key) ID() string { return k.id }

// Reveal is the whole key.
func (k Key) Reveal() string {
	text := KeyPrefix + k.env + "_" + k.id + "_" + k.secret
	return text + "_" + checksum(text)
}

// Reveal is the whole key.
func (k TaskKey) Reveal() string {
	text := TaskKeyPrefix + k.Tenant + "." + k.Task + "." + k.secret
	return text + "." + checksum(text)
}

// Hash is what is stored of the key: SHA-256 of its secret, in hex. The secret is
// random and long, so that a slow hash would protect nothing more.
func (k Key) Hash() string { return hashOf(k.secret) }

// Hash is what is stored of the key.
func (k TaskKey) Hash() string { return hashOf(k.secret) }

// Matches reports whether hash is that of the key, in constant time.
func (k Key) Matches(hash string) bool { return checked(hash, k.Hash()) }

// Matches reports whether hash is that of the key, in constant time.
func (k TaskKey) Matches(hash string) bool { return checked(hash, k.Hash()) }

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// String hides the secret.
func (k Key) String() string { return KeyPrefix + k.env + "_" + k.id + "_***" }

// GoString hides the secret from %#v.
func (k Key) GoString() string { return k.String() }

// MarshalText hides the secret from encoders and loggers.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// String hides the secret.
func (k TaskKey) String() string { return TaskKeyPrefix + k.Tenant + "." + k.Task + ".***" }

// GoString hides the secret from %#v.
func (k TaskKey) GoString() string { return k.String() }

// MarshalText hides the secret from encoders and loggers.
func (k TaskKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
