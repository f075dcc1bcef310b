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
	sum, digits := crc32.ChecksumIEEE([]byte(text)), [checksumSize]byte{}
	for i := checksumSize - 1; i >= 0; i-- {
		digits[i] = base62[sum%62]
		sum /= 62
	}
	return string(digits[:])
}

// parts cuts a text into the three parts of a key and its checksum, where that is the one
// of all before it.
func parts(text, prefix, between string) (first, name, secret string, ok bool) {
	rest, known := strings.CutPrefix(text, prefix)
	first, rest, _ = strings.Cut(rest, between)
	name, rest, _ = strings.Cut(rest, between)
	secret, sum, whole := strings.Cut(rest, between)
	return first, name, secret, known && whole && checked(sum, checksum(strings.TrimSuffix(text, between+sum)))
}

// ParseKey reads a key, or returns ErrBadKey.
func ParseKey(text string) (Key, error) {
	if len(text) > maxKey {
		return Key{}, ErrBadKey
	}
	env, id, secret, ok := parts(text, KeyPrefix, "_")
	if !ok || env == "" || len(env) > maxEnv || !only(base36, env) || !ValidKeyID(id) || !validSecret(secret) {
		return Key{}, ErrBadKey
	}
	return Key{env, id, secret}, nil
}

// ParseTaskKey reads the key of an attempt, or returns ErrBadKey. Its reader
// checks the names in it.
func ParseTaskKey(text string) (TaskKey, error) {
	if len(text) > maxTaskKey {
		return TaskKey{}, ErrBadKey
	}
	tenant, task, secret, ok := parts(text, TaskKeyPrefix, ".")
	if !ok || tenant == "" || task == "" || !validSecret(secret) {
		return TaskKey{}, ErrBadKey
	}
	return TaskKey{tenant, task, secret}, nil
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
	for i := range len(text) {
		if strings.IndexByte(digits, text[i]) < 0 {
			return false
		}
	}
	return true
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
func (k Key) Matches(hash string) bool { return hashes(k.secret, hash) }

// Matches reports whether hash is that of the key, in constant time.
func (k TaskKey) Matches(hash string) bool { return hashes(k.secret, hash) }

func hashOf(secret string) string {
	hash := hexOf(secret)
	return string(hash[:])
}

// hashes reports whether hash is that of a secret, in constant time.
func hashes(secret, hash string) bool {
	is := hexOf(secret)
	return subtle.ConstantTimeCompare([]byte(hash), is[:]) == 1
}

func hexOf(secret string) (hash [2 * sha256.Size]byte) {
	sum := sha256.Sum256([]byte(secret))
	hex.Encode(hash[:], sum[:])
	return hash
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
