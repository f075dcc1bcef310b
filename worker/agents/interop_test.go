package agents_test

import (
	"encoding/json"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agents"
)

var mockProgram = flag.String("aimock", "", "the program aimock of the npm package @copilotkit/aimock; make llm-interop has it")

const (
	mockAnswers = `{"fixtures":[
{"match":{"userMessage":"price","hasToolResult":true},"response":{"content":"Tea is 7 EUR."}},
{"match":{"userMessage":"price"},"response":{"toolCalls":[{"name":"shop__price","arguments":"{\"what\":\"tea\"}"}]}}]}`
	mockTools = `{"path":"/mcp","tools":[{"name":"price","inputSchema":{"type":"object","required":["what"],"properties":{"what":{"type":"string"}}},"result":"7 EUR"}]}`
)

// An agent of a file works with a model and a server of tools that somebody else has
// written.
func TestInteropOfAnAgentWithAModelAndToolsOfOthers(t *testing.T) {
	if *mockProgram == "" {
		t.Skip("make llm-interop runs it: it needs node and the npm registry")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	_ = l.Close()
	dir := t.TempDir()
	config := map[string]any{"llm": map[string]string{"fixtures": filepath.Join(dir, "answers.json")}, "mcp": json.RawMessage(mockTools)}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"answers.json": mockAnswers, "config.json": string(raw)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(*mockProgram, "-c", filepath.Join(dir, "config.json"), "-p", port)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	natstest.Until(t, "the mock listens", func() bool {
		c, err := net.Dial("tcp", at)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	for _, api := range []string{"chat", "responses"} {
		specs, err := agents.Parse("agents.yaml", []byte(`
models: {default: {base_url: "http://`+at+`/v1", model: gpt-4o, api: `+api+`}}
tools: {shop: {mcp: {url: "http://`+at+`/mcp"}}}
agents: [{name: buyer, llm: {tools: [shop]}}]
`), env)
		if err != nil {
			t.Fatal(err)
		}
		a, err := specs[0].Agent(agents.Options{Log: meshtest.Quiet()})
		if err != nil {
			t.Fatal(err)
		}
		m := meshtest.New(t)
		m.Work(a)
		v := m.End(m.Create(`{"agent":"buyer","instruction":"What is the price of tea?"}`))
		if string(v.Result) != `{"text":"Tea is 7 EUR."}` || v.Usage == nil || v.Usage.ModelCalls != 2 || v.Usage.ToolCalls != 1 {
			t.Errorf("%s: %s %s %+v %+v", api, v.Status, v.Result, v.Usage, v.Error)
		}
	}
}
