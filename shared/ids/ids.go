// Package ids holds the one form that all ids of the mesh have: a prefix that names
// the kind of thing, and a UUIDv7 in 32 lower-case hex digits. That is a legal NATS
// subject token, and sorts by time.
//
// It does not know which kinds there are: the package of each thing has its own
// type of id and its own prefix.
package ids

import (
	"encoding/hex"
	"strings"
)

// New makes an id from a UUID: the prefix and its 16 bytes in hex.
func New(prefix string, uuid [16]byte) string {
	buf := append(make([]byte, 0, 64), prefix...)
	return string(hex.AppendEncode(buf, uuid[:]))
}

// Valid reports whether id is the prefix and 32 lower-case hex digits. Anything
// else never reaches a subject.
func Valid(id, prefix string) bool {
	rest, ok := strings.CutPrefix(id, prefix)
	if !ok || len(rest) != 32 {
		return false
	}
	for i := range len(rest) {
		if c := rest[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
