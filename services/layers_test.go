// Package services holds the programs; its test holds the import rule.
package services

import (
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const module = "agentmesh/"

// nouns import the standard library and each other only.
var nouns = []string{"shared/ids", "shared/task", "shared/session", "shared/event", "shared/webhook", "shared/tenant", "shared/audit", "shared/schedule", "shared/hook"}

// plain packages of shared know neither the domain nor the store.
var plain = []string{"shared/auth", "shared/pause", "shared/reread", "shared/sameorigin", "shared/secret", "shared/signature", "shared/config", "shared/telemetry", "shared/proc", "shared/natsconn", "shared/synadia"}

// trust packages say where the mesh may send something and with which keys, and who
// vouches for callers.
var trust = []string{"shared/egress", "shared/keyring", "shared/auth/oidc", "shared/auth/certs"}

// natsFree are the packages that reach NATS through the store only.
var natsFree = []string{"gateway", "worker", "notifier", "shared/mesh"}

var roles = []string{"gateway", "worker", "notifier"}

// forTests are for tests only, and may link everything.
var forTests = []string{"shared/natstest", "shared/manualtest", "shared/meshtest", "services/fleet", "worker/agents/linestest"}

// spellings are what only shared/topology may write.
var spellings = []string{"mesh.tasks.", "mesh.turns.", "mesh.sessions.", "mesh.events.", "mesh.output.", "mesh.control.", "mesh.deliveries.", "mesh.audit.", "mesh.schedules.", "mesh.steps.", "mesh.stepevents.", "$KV.", "$O.", "KV_", "OBJ_", "MESH_TASKS", "MESH_TURNS", "MESH_DELIVERIES", "MESH_SCHEDULES", "MESH_STEPS"}

func TestLayers(t *testing.T) {
	faults, err := check("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		t.Error(f)
	}
}

// TestLayersSeesFaults breaks each rule once: a rule that nothing breaks proves
// nothing.
func TestLayersSeesFaults(t *testing.T) {
	for path, source := range map[string]string{
		"shared/task/a.go":        `package task; import _ "agentmesh/shared/store"`,
		"shared/task/b.go":        `package task; import _ "github.com/nats-io/nats.go"`,
		"shared/config/a.go":      `package config; import _ "agentmesh/shared/task"`,
		"shared/store/a.go":       `package store; import _ "agentmesh/gateway"`,
		"gateway/a.go":            `package gateway; import _ "agentmesh/worker"`,
		"gateway/client/a.go":     `package client; import _ "agentmesh/gateway"`,
		"gateway/console/a.go":    `package console; import _ "agentmesh/shared/mesh"`,
		"gateway/console/b.go":    `package console; import _ "agentmesh/gateway"`,
		"gateway/api/a.go":        `package api; import _ "agentmesh/shared/task"`,
		"worker/a.go":             `package worker; import _ "agentmesh/services/mesh"`,
		"gateway/b.go":            `package gateway; import _ "agentmesh/shared/natstest"`,
		"worker/b.go":             `package worker; import _ "github.com/nats-io/nats-server/v2/server"`,
		"worker/c.go":             `package worker; const s = "mesh.tasks.ready.x"`,
		"shared/store/b.go":       `package store; const s = "$KV.tasks.x"`,
		"notifier/signer/a.go":    `package signer; import _ "agentmesh/gateway"`,
		"shared/signature/a.go":   `package signature; import _ "agentmesh/shared/webhook"`,
		"shared/egress/a.go":      `package egress; import _ "agentmesh/shared/store"`,
		"shared/mesh/a.go":        `package mesh; import _ "net/http"`,
		"shared/mesh/b.go":        `package mesh; import _ "github.com/nats-io/nats.go"`,
		"notifier/d.go":           `package notifier; import _ "github.com/nats-io/nats.go/jetstream"`,
		"worker/d.go":             `package worker; import _ "github.com/nats-io/nats.go"`,
		"gateway/c.go":            `package gateway; import _ "github.com/nats-io/nats.go/jetstream"`,
		"shared/topology/a.go":    `package topology; import _ "agentmesh/shared/store"`,
		"worker/agents/x/a.go":    `package x; import _ "agentmesh/shared/store"`,
		"worker/agents/x/b.go":    `package x; import _ "agentmesh/worker/agents/y"`,
		"worker/agents/a.go":      `package agents; import _ "agentmesh/shared/store"`,
		"shared/telemetry/a.go":   `package telemetry; import _ "agentmesh/shared/store"`,
		"services/mesh/cli/a.go":  `package cli; import _ "agentmesh/gateway"`,
		"services/mesh/cli/b.go":  `package cli; import _ "agentmesh/worker"`,
		"services/mesh/cli/c.go":  `package cli; import _ "agentmesh/shared/store"`,
		"services/mesh/cli/d.go":  `package cli; import _ "agentmesh/services/mesh"`,
		"gateway/d.go":            `package gateway; import _ "agentmesh/services/mesh/cli"`,
		"services/mesh/load/a.go": `package load; import _ "agentmesh/gateway/client"`,
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
		if faults, err := check(dir); err != nil || len(faults) != 1 {
			t.Errorf("%s: %d faults, %v; want 1: %v", path, len(faults), err, faults)
		}
	}
}

// check reads every Go file below root.
func check(root string) (faults []string, err error) {
	err = sources(root, func(s source) {
		for _, imp := range s.file.Imports {
			to := strings.Trim(imp.Path.Value, `"`)
			if why := forbidden(s.folder(), to, s.test()); why != "" {
				faults = append(faults, fmt.Sprintf("%s imports %s: %s", s.path, to, why))
			}
		}
		if !s.test() && s.folder() != "shared/topology" && !under(s.folder(), forTests...) {
			faults = append(faults, spelled(s.path, s.folder(), s.file)...)
		}
	})
	return faults, err
}

// forbidden says why the package in folder from may not import to; empty: it may.
func forbidden(from, to string, test bool) string {
	if strings.HasPrefix(to, "github.com/nats-io/nats-server") && !test && from != "services/mesh" && !under(from, forTests...) {
		return "only services/mesh and tests link the server"
	}
	inner, ours := strings.CutPrefix(to, module)
	switch {
	case under(inner, forTests...) && !test && !under(from, forTests...):
		return inner + " is for tests"
	case test, under(from, forTests...):
		return ""
	case from == "shared/hook" && inner == "shared/signature": // hooks are verified as receivers verify
		return ""
	case under(from, nouns...) && !under(inner, nouns...) && (ours || strings.Contains(to, ".")):
		return "domain nouns import the standard library and each other only"
	case under(from, natsFree...) && strings.HasPrefix(to, "github.com/nats-io/"):
		return "only store, topology and natsconn speak to NATS"
	case from == "shared/mesh" && to == "net/http":
		return "the core knows no HTTP"
	case !ours:
		return ""
	case from == "shared/natsconn" && inner == "shared/config": // for settings that are secrets
		return ""
	case under(from, trust...):
		if !under(inner, nouns...) && !under(inner, "shared/secret", "shared/signature", "shared/auth", "shared/egress", "shared/reread") {
			return "trust imports the domain and the secret keys only"
		}
	case under(from, plain...):
		return "this package knows nothing of ours"
	case under(from, "shared") && !under(inner, "shared"):
		return "shared imports no role and no program"
	case from == "shared/topology" && !under(inner, nouns...):
		return "topology imports the domain only"
	case from == "services/mesh/load" && ours:
		return "the load knows a mesh by HTTP only"
	case under(inner, "services") && !(from == "services/mesh" && under(inner, "services/mesh/cli", "services/mesh/floor", "services/mesh/inbox", "services/mesh/load")):
		return "nobody imports a program"
	case under(from, "services/mesh/cli") && !under(inner, append(nouns, "gateway/client", "gateway/api", "worker/agents", "shared/signature")...):
		return "the terminal client knows the gateway by its API, and of the roles only the file of agents"
	case from == "gateway/console" && !test && !under(inner, "gateway/client", "gateway/api", "shared/auth", "shared/pause"):
		return "the console knows the mesh by its API"
	case from == "gateway/api", from == "gateway/client" && inner != "gateway/api":
		return "it is for programs of others and stands alone, but for the wire types"
	case from == "worker/agents":
		if !under(inner, "worker/agent", "worker/agents", "shared/task", "shared/schema") {
			return "the file of agents makes agents and runs none"
		}
	case from == "worker/agents/mcp" && (inner == "shared/egress" || inner == "worker/agents/exec"): // a server is an address of others, or a program
		return ""
	case from == "worker/agents/a2a" && inner == "shared/egress": // so is an agent of others
		return ""
	case from == "worker/agents/synadia" && inner == "shared/synadia": // the wire of agents of others
		return ""
	case from == "worker/agents/inspect" && (inner == "shared/egress" || inner == "shared/synadia"): // what is inspected is of others
		return ""
	case under(from, "worker/agents") && inner == "worker/agents/mcp": // agents with tools
		return ""
	case under(from, "worker/agents/llm") && under(inner, "worker/agents/llm"), from == "worker/agents/llm" && inner == "shared/telemetry": // its calls are part of the trace
		return ""
	case under(from, "worker/agent", "worker/agents") && !under(inner, "worker/agent", "worker/agents/protocol", "shared/task", "shared/session", "shared/pause", "shared/schema"):
		return "an agent needs the SDK and the protocol only"
	}
	for _, role := range roles {
		if under(from, role) && under(inner, roles...) && !under(inner, role) {
			return "roles do not import each other"
		}
	}
	return ""
}

func under(path string, folders ...string) bool {
	for _, f := range folders {
		if path == f || strings.HasPrefix(path, f+"/") {
			return true
		}
	}
	return false
}

// spelled finds string literals that only topology may write.
func spelled(rel, from string, file *ast.File) (faults []string) {
	if from == "services" || from == "shared/telemetry" {
		return nil
	}
	ast.Inspect(file, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		for _, s := range spellings {
			if strings.Contains(lit.Value, s) {
				faults = append(faults, fmt.Sprintf("%s spells %s: ask shared/topology", rel, lit.Value))
				return true
			}
		}
		return true
	})
	return faults
}
