package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"agentmesh/shared/config"
	"agentmesh/shared/manualtest"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/telemetry"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The tables of the manual are what the code says.
func TestGoldenReadme(t *testing.T) {
	const page = "../../deploy/README.md"
	cfg := defaultUp()
	manualtest.Table(t, page, "settings", config.Markdown(cfg.settings()...), *update)
	manualtest.Table(t, page, "nats", config.Markdown(new(natsconn.Default())), *update)
	manualtest.Table(t, page, "metrics", metricsTable(), *update)
}

func metricsTable() string {
	var b strings.Builder
	b.WriteString("| metric | unit | labels | what |\n|---|---|---|---|\n")
	for _, i := range telemetry.Instruments() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", i.Name, strings.Trim(i.Unit, "{}"), strings.Join(i.Labels, ", "), i.Help)
	}
	return b.String()
}

// goldenFile compares a text with what was agreed.
func goldenFile(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s has changed: others rely on it. Run make golden and read the diff.\ngot:\n%s", name, got)
	}
}
