package main

import (
	"fmt"
	"strings"
	"testing"

	"agentmesh/shared/config"
	"agentmesh/shared/manualtest"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/telemetry"
)

// The tables of the manual are what the code says.
func TestGoldenReadme(t *testing.T) {
	const page = "../../deploy/README.md"
	cfg := defaultUp()
	manualtest.Table(t, page, "settings", config.Markdown(cfg.settings()...))
	manualtest.Table(t, page, "nats", config.Markdown(new(natsconn.Default())))
	manualtest.Table(t, page, "metrics", metricsTable())
}

func metricsTable() string {
	var b strings.Builder
	b.WriteString("| metric | unit | labels | what |\n|---|---|---|---|\n")
	for _, i := range telemetry.Instruments() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", i.Name, strings.Trim(i.Unit, "{}"), strings.Join(i.Labels, ", "), i.Help)
	}
	return b.String()
}
