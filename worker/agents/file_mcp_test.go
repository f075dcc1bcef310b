package agents_test

import (
	"strings"
	"testing"

	"agentmesh/shared/task"
	"agentmesh/worker/agents"
	"agentmesh/worker/agents/mcp"
)

func TestAnAgentThatIsAToolIsRead(t *testing.T) {
	specs, err := agents.Parse("/etc/mesh/agents.yaml", []byte(`
agents:
  - name: search
    mcp: {url: "https://tools.example.com/mcp", headers: {Authorization: "Bearer ${KEY}"}, tool: search, arguments: {limit: 5, of: ["${KEY}"]}, on_unknown: fail, tasks: optional}
  - name: files
    mcp: {command: [npx, -y, server-files, /srv], env: {A: b}, tool: read}
`), env)
	if err != nil || len(specs) != 2 {
		t.Fatalf("%+v, %v", specs, err)
	}
	s := specs[0].MCP
	if s.URL != "https://tools.example.com/mcp" || s.Headers["Authorization"] != "Bearer secret" || s.Tool != "search" || s.OnUnknown != mcp.FailUnknown || s.Arguments["limit"] != 5 || s.Arguments["of"].([]any)[0] != "secret" {
		t.Errorf("%+v", s)
	}
	if d := specs[0].Definition; d.AsTool.Tasks != task.TasksOptional {
		t.Errorf("%+v", d.AsTool)
	}
	if f := specs[1].MCP; len(f.Command) != 4 || f.Dir != "/etc/mesh" || f.Env["A"] != "b" || f.OnUnknown != "" {
		t.Errorf("%+v", f)
	}
}

func TestMistakesInAToolAreNamed(t *testing.T) {
	for fields, want := range map[string]string{
		`{url: "https://x.example/mcp"}`: "mcp.tool: it is missing",
		`{tool: a}`:                      "either url",
		`{tasks: always}`:                `"always" is not allowed, it must be optional`,
		`{tasks: required, tool: a}`:     "either url",
		`{tool: a, url: "https://x.example/mcp", command: [a]}`:                   "either url",
		`{tool: a, url: "http://169.254.169.254/mcp"}`:                            "url: the address is blocked",
		`{tool: a, url: "ftp://x.example"}`:                                       "url:",
		`{tool: a, url: "https://x.example/mcp", on_unknown: maybe}`:              `"maybe" is not allowed, it must be ask`,
		`{tool: a, url: "https://x.example/mcp", arguments: [1]}`:                 "it must be a mapping",
		`{tool: a, url: "https://x.example/mcp", tools: [b]}`:                     "there are command, dir, env, url, headers, tool, arguments, on_unknown",
		`{tool: a, url: "https://x.example/mcp", arguments: {a: "${NOT_SET_X}"}}`: "NOT_SET_X is not set",
	} {
		_, err := agents.Parse("agents.yaml", []byte("agents:\n  - name: a\n    mcp: "+fields+"\n"), env)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", fields, err)
		}
	}
}
