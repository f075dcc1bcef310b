package cli

import (
	"strings"
	"testing"
)

// Every listing with a filter says how far it looked, and how long.
func TestAListWithAFilterSaysHowFarItLooked(t *testing.T) {
	m := newMesh(t)
	srv, _ := m.Serve()
	t.Setenv("MESH_GATEWAY_URL", srv.URL)
	for _, args := range []string{"task list --status failed", "session list --agent none", "delivery list --status dead", "audit --object none"} {
		code, out, notes := cli(t, strings.Fields(args)...)
		if code != 0 || !strings.Contains(notes, "looked at ") || !strings.Contains(notes, " records in ") {
			t.Errorf("mesh %s: %d %q %q", args, code, out, notes)
		}
	}
}
