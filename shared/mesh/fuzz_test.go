package mesh

import (
	"errors"
	"testing"
)

// A text that is read as a cursor is one of ours, for these filters.
func FuzzCursor(f *testing.F) {
	bound := digest("all")
	f.Add(encodeRevision(7, bound))
	f.Add(encodeRevision(7, digest("others")))
	f.Add("eyJyIjowLCJxIjowfQ")
	f.Add("%%%")
	f.Fuzz(func(t *testing.T, s string) {
		rev, err := decodeRevision(s, bound)
		if err != nil {
			if !errors.Is(err, ErrBadCursor) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if rev == 0 {
			return
		}
		if again, err := decodeRevision(encodeRevision(rev, bound), bound); err != nil || again != rev {
			t.Errorf("%q is %d, and again %d, %v", s, rev, again, err)
		}
	})
}
