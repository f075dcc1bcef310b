//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"
	"github.com/spf13/pflag"

	"agentmesh/shared/config"
)

// TestUnitsRunCommandsThatExist reads the systemd units, and runs the line of each
// up to its settings file.
func TestUnitsRunCommandsThatExist(t *testing.T) {
	files, err := filepath.Glob("../../deploy/systemd/*.service")
	if err != nil || len(files) != 4 {
		t.Fatalf("%d units, %v, want 4", len(files), err)
	}
	known := pflag.NewFlagSet("all", pflag.ContinueOnError)
	config.Bind(known, everySetting()...)
	for _, name := range files {
		text, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		options, err := unit.DeserializeOptions(text)
		_ = text.Close()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		has := map[string]string{}
		for _, o := range options {
			has[o.Name] = o.Value
			if o.Name == "Environment" {
				checkVariables(t, known, name, o.Value)
			}
		}
		if has["Type"] != "notify" || has["DynamicUser"] != "yes" || has["ProtectSystem"] != "strict" {
			t.Errorf("%s: %v", name, has)
		}
		line := strings.Fields(has["ExecStart"])
		cmd, rest, err := rootCommand().Find(line[1:])
		if err != nil || line[0] != "/usr/local/bin/mesh" || cmd.ParseFlags(rest) != nil || cmd.Flags().Arg(0) != "" {
			t.Errorf("%s runs %v: %v", name, line, err)
		}
	}
}

func checkVariables(t *testing.T, known *pflag.FlagSet, unit, assignments string) {
	t.Helper()
	for assignment := range strings.FieldsSeq(assignments) {
		variable, _, _ := strings.Cut(assignment, "=")
		found := false
		known.VisitAll(func(f *pflag.Flag) { found = found || strings.HasSuffix(f.Usage, "(env "+variable+")") })
		if !found {
			t.Errorf("%s sets %s, which no setting reads", unit, variable)
		}
	}
}
