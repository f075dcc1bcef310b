package exec

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"sync/atomic"
)

// markPrefix begins the marks of this process: a variable in the environment of
// its programs, by which they and what they start are known, wherever they have
// gone.
var markPrefix = func() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return "MESH_RUN=" + hex.EncodeToString(b[:]) + "."
}()

var marks atomic.Uint64

// newMark is that of one program, with a character that ends it.
func newMark() string { return markPrefix + strconv.FormatUint(marks.Add(1), 10) + "." }
