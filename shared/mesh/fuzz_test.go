package mesh_test

import (
	"errors"
	"testing"

	"agentmesh/shared/mesh"
)

// A text that is read as a cursor is one of ours, for these filters.
func FuzzCursor(f *testing.F) {
	bound := mesh.Digest("all")
	f.Add(mesh.EncodeCursor(7, bound))
	f.Add(mesh.EncodeCursor(7, mesh.Digest("others")))
	f.Add("eyJyIjowLCJxIjowfQ")
	f.Add("%%%")
	f.Fuzz(func(t *testing.T, s string) {
		rev, err := mesh.DecodeCursor(s, bound)
		if err != nil {
			if !errors.Is(err, mesh.ErrBadCursor) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if rev == 0 {
			return
		}
		if again, err := mesh.DecodeCursor(mesh.EncodeCursor(rev, bound), bound); err != nil || again != rev {
			t.Errorf("%q is %d, and again %d, %v", s, rev, again, err)
		}
	})
}
