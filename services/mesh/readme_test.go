package main

import (
	"flag"
	"os"
	"strings"
	"testing"

	"agentmesh/shared/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The README's table of settings is what the tags say.
func TestGoldenSettings(t *testing.T) {
	const name, begin, end = "../../README.md", "<!-- settings:begin, written by make golden -->\n", "<!-- settings:end -->"
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), begin)
	shown, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the settings", name)
	}
	cfg := defaultUp()
	cfg.gateway.Version = ""
	want := config.Markdown(cfg.settings()...)
	if shown == want {
		return
	}
	if !*update {
		t.Fatalf("the settings table of README.md is old: run make golden\n%s", want)
	}
	if err := os.WriteFile(name, []byte(before+begin+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
