package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"agentmesh/gateway"
	"agentmesh/shared/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The tables of the README are what the code says: the settings by their tags,
// the codes by their table.
func TestGoldenReadme(t *testing.T) {
	const name = "../../README.md"
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	cfg := defaultUp()
	text := section(t, string(raw), "settings", config.Markdown(cfg.settings()...))
	text = section(t, text, "codes", codesTable())
	if text == string(raw) {
		return
	}
	if !*update {
		t.Fatal("the tables of README.md are old: run make golden and read the diff")
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// section replaces what stands between the marks of a section.
func section(t *testing.T, text, name, content string) string {
	t.Helper()
	begin, end := "<!-- "+name+":begin, written by make golden -->\n", "<!-- "+name+":end -->"
	before, rest, ok := strings.Cut(text, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("README.md has no place for the %s", name)
	}
	return before + begin + content + end + after
}

func codesTable() string {
	var b strings.Builder
	b.WriteString("| code | status | fault | meaning |\n|---|---|---|---|\n")
	for _, p := range gateway.ProblemPages() {
		status := ""
		if p.Status > 0 {
			status = strconv.Itoa(p.Status)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", p.Code, status, p.Fault, p.Title)
	}
	return b.String()
}
