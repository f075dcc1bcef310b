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

// mesh version speaks to people and to scripts, and its flag completes like those
// of the client.
func TestVersionForPeopleAndScripts(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"version"}, 0, "mesh dev ("},
		{[]string{"version", "-o", "json"}, 0, `{"version":"dev","commit":"`},
		{[]string{"version", "-o", "xml"}, cli.ExitUsage, "text and json"},
		{[]string{"__complete", "version", "-o", ""}, 0, "text\njson\n"},
		{[]string{"__complete", "webhook", ""}, 0, "secret\t"},
	} {
		if code, out, errs := command(t, tt.args...); code != tt.code || !strings.Contains(out+errs, tt.want) {
			t.Errorf("mesh %s: exit %d\n%s%s\nwant %d and %s", strings.Join(tt.args, " "), code, out, errs, tt.code, tt.want)
		}
	}
}
