package main

import (
	"bytes"
	"strings"
	"testing"

	"agentmesh/services/mesh/cli"
)

// command runs a command line and returns what a shell would see.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestCommandLineErrors(t *testing.T) {
	for _, tt := range []struct {
		args []string
		err  string
	}{
		{[]string{"start"}, "mesh --help"},
		{[]string{"up", "--replicas", "3"}, "one embedded server"},
		{[]string{"up", "--log-format", "xml"}, "text, json"},
		{[]string{"worker", "--replicas", "2"}, "1, 3 and 5"},
	} {
		if code, _, errs := command(t, tt.args...); code != cli.ExitUsage || !strings.Contains(errs, tt.err) {
			t.Errorf("mesh %s: exit %d %q, want 2 with %q", strings.Join(tt.args, " "), code, errs, tt.err)
		}
	}
}
