package gateway

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"agentmesh/gateway/problem"
	"agentmesh/shared/manualtest"
)

// The tables of the manual are what the code says.
func TestGoldenReadme(t *testing.T) {
	manualtest.Table(t, "README.md", "routes", routesTable())
	manualtest.Table(t, "README.md", "codes", codesTable())
}

func routesTable() string {
	var b strings.Builder
	b.WriteString("| route | scope | what |\n|---|---|---|\n")
	for _, op := range bareGateway().operations() {
		fmt.Fprintf(&b, "| `%s %s` | `%s` | %s |\n", op.method, op.path, op.scope, op.summary)
	}
	return b.String()
}

func codesTable() string {
	var b strings.Builder
	b.WriteString("| code | status | fault | meaning |\n|---|---|---|---|\n")
	for _, p := range problem.Pages() {
		status := ""
		if p.Status > 0 {
			status = strconv.Itoa(p.Status)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", p.Code, status, p.Fault, p.Title)
	}
	return b.String()
}
