// Package secret keeps secrets sealed while they are stored. A [Keeper] has the
// mesh's own keys: the first seals, every one opens, so that a key is replaced
// by putting a new one in front.
//
// It promises that what is sealed for one purpose opens for no other, and that
// a changed text does not open. It does not know what the secrets are for, and
// stores nothing.
package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

// ErrOpen is a text that none of the keys opens.
var ErrOpen = errors.New("secret does not open: it was sealed with another key")

const keySize = 32

type key struct {
	id   [idSize]byte
	raw  []byte
	aead cipher.AEAD
}

const idSize = 4

// Keeper seals and opens. It is safe for concurrent use.
type Keeper struct{ keys []key }

// NewKey makes a random key in its text form.
func NewKey() string {
	raw := make([]byte, keySize)
	_, _ = rand.Read(raw) // never fails
	return base64.StdEncoding.EncodeToString(raw)
}

// New makes a keeper of keys in text form, separated by commas.
func New(keys string) (*Keeper, error) {
	k := &Keeper{}
	for text := range strings.SplitSeq(keys, ",") {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err != nil || len(raw) != keySize {
			return nil, errors.New("secret key: it must be 32 bytes in base64; make one with: mesh key")
		}
		block, err := aes.NewCipher(raw)
		if err != nil {
			return nil, fmt.Errorf("secret key: %w", err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("secret key: %w", err)
		}
		sum := sha256.Sum256(append([]byte("id"), raw...))
		k.keys = append(k.keys, key{[idSize]byte(sum[:]), raw, aead})
	}
	return k, nil
}

// File makes a keeper of the keys in a file, separated by commas or lines. The error
// is fs.ErrNotExist when there is no file.
func File(name string) (*Keeper, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read secret key: %w", err)
	}
	keys := strings.FieldsFunc(string(text), func(c rune) bool { return c == ',' || unicode.IsSpace(c) })
	if len(keys) == 0 {
		return nil, fmt.Errorf("secret key file %s is empty: put it back from a backup", name)
	}
	k, err := New(strings.Join(keys, ","))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return k, nil
}

// MakeFile makes a key in a file, where there is none.
func MakeFile(name string) (*Keeper, error) {
	if err := Keep(name, NewKey()); err != nil {
		return nil, fmt.Errorf("make secret key: %w", err)
	}
	return File(name)
}

// Keep writes a line to a file, where there is none, readable by its owner only. The
// file is whole or not there, whenever the machine stops.
func Keep(name, line string) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".") // with mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.WriteString(line + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Fingerprints tell the keys apart, in their order, and nothing else of them.
func (k *Keeper) Fingerprints() (all []string) {
	for _, key := range k.keys {
		sum := sha256.Sum256(append([]byte("fingerprint"), key.raw...))
		all = append(all, hex.EncodeToString(sum[:8]))
	}
	return all
}

// Seal encrypts data for a purpose: AES-256-GCM, bound to the purpose.
func (k *Keeper) Seal(purpose string, data []byte) []byte {
	first := k.keys[0]
	return first.aead.Seal(first.id[:], nil, data, []byte(purpose))
}

// Open decrypts what Seal made for the same purpose, or returns ErrOpen.
func (k *Keeper) Open(purpose string, sealed []byte) ([]byte, error) {
	if len(sealed) < idSize {
		return nil, ErrOpen
	}
	for _, key := range k.keys {
		if key.id != [idSize]byte(sealed) {
			continue
		}
		if data, err := key.aead.Open(nil, nil, sealed[idSize:], []byte(purpose)); err == nil {
			return data, nil
		}
	}
	return nil, ErrOpen
}

// Current reports whether the first of the keys has sealed a text, as it would now.
func (k *Keeper) Current(sealed []byte) bool {
	return len(sealed) >= idSize && k.keys[0].id == [idSize]byte(sealed)
}

// Derive makes keys of 32 bytes for a purpose, one from each of the mesh's own
// keys in their order: the same wherever the mesh has that key.
func (k *Keeper) Derive(purpose string) (all [][]byte) {
	for _, key := range k.keys {
		raw, err := hkdf.Key(sha256.New, key.raw, nil, purpose, keySize)
		if err != nil {
			panic(err) // 32 bytes are never too many
		}
		all = append(all, raw)
	}
	return all
}
