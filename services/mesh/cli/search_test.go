package cli

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Every listing with a filter says how far it looked, and how long.
func TestAListWithAFilterSaysHowFarItLooked(t *testing.T) {
	m := newMesh(t)
	srv, _ := m.Serve()
	t.Setenv("MESH_GATEWAY_URL", srv.URL)
	none := httptest.NewServer(http.NotFoundHandler())
	defer none.Close()
	for _, args := range []string{"task list --status failed", "session list --agent none", "delivery list --status dead", "audit --object none"} {
		code, out, notes := cli(t, strings.Fields(args)...)
		if code != 0 || !strings.Contains(notes, "looked at ") || !strings.Contains(notes, " records in ") {
			t.Errorf("mesh %s: %d %q %q", args, code, out, notes)
		}
		if code, _, notes := cli(t, append(strings.Fields(args), "--gateway", none.URL)...); code != ExitFailed || strings.Contains(notes, "looked at ") {
			t.Errorf("mesh %s where there is no mesh: %d %q", args, code, notes)
		}
	}
}

// A filter without a value, such as that of a variable that was not set, does not choose
// everything.
func TestAnEmptyFilterIsAMistake(t *testing.T) {
	for _, args := range [][]string{
		{"task", "bulk", "cancel", "--agent", ""}, {"task", "bulk", "retry", "--status="}, {"task", "list", "--session", ""},
		{"delivery", "bulk", "--webhook", ""}, {"delivery", "list", "--class="},
	} {
		if code, out, errs := cli(t, args...); code != 2 || out != "" || !strings.Contains(errs, "is empty: give it a value or leave it out") {
			t.Errorf("mesh %s: %d %s%s", args, code, out, errs)
		}
	}
}
