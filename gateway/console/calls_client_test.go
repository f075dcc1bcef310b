package console

import (
	"encoding/json"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The playground shows the calls of the clients, with the values of the form.
func TestTheSameFromAClient(t *testing.T) {
	c := call{Body: json.RawMessage(`{"agent":"echo","input":{"ok":true,"no":[false,null,1e3,-0.5],"text":"\"é\u2028$'<"},"labels":{"a":"b"}}`), Create: &created{Noun: "tasks", Wait: "10", Key: `k"1`}}
	got := map[string]string{}
	for _, s := range c.clients("http://mesh.test", true) {
		got[s.Name] = s.Text
	}
	for name, want := range map[string]string{
		"Go":         `task, err := mesh.Tasks.Create(ctx, r, client.CreateOptions{Wait: 10 * time.Second, IdempotencyKey: "k\"1"})`,
		"Python":     `task = mesh.tasks.create({"agent": "echo", "input": {"ok": True, "no": [False, None, 1e3, -0.5], "text": "\"é\u2028$'<"}, "labels": {"a": "b"}}, wait=10, idempotency_key="k\"1")`,
		"TypeScript": `const task = await mesh.tasks.create({"agent":"echo","input":{"ok":true,"no":[false,null,1e3,-0.5],"text":"\"é\u2028$'<"},"labels":{"a":"b"}}, { wait: 10, idempotencyKey: "k\"1" });`,
	} {
		if !strings.Contains(got[name], want) || !strings.Contains(got[name], "MESH_API_KEY") {
			t.Errorf("%s:\n%s\nwant\n%s", name, got[name], want)
		}
	}
	runSnippets(t, got)
}

// runSnippets runs them with the clients' fake meshes, where the languages are.
func runSnippets(t *testing.T, of map[string]string) {
	root, err := filepath.Abs("../client")
	if err != nil {
		t.Fatal(err)
	}
	fake := map[string]string{
		"python3": strings.Replace(of["Python"], "from agentmesh import Mesh", "from agentmesh.testing import FakeMesh\nMesh = lambda url: FakeMesh({\"echo\": lambda job: job.input[\"no\"]})", 1),
		"node":    strings.NewReplacer(`"@agentmesh/client"`, fileURL(root+"/typescript/testing.js"), "{ Mesh }", "{ FakeMesh }", "new Mesh(", "new FakeMesh({ agents: { echo: (job) => job.input.no } }, ").Replace(of["TypeScript"]),
	}
	for program, code := range fake {
		if _, err := osexec.LookPath(program); err != nil {
			t.Log("not run: there is no " + program)
			continue
		}
		cmd := osexec.CommandContext(t.Context(), program, map[string][]string{"python3": {"-"}, "node": {"--input-type=module", "-"}}[program]...)
		cmd.Stdin, cmd.Env = strings.NewReader(code), append(os.Environ(), "PYTHONPATH="+root+"/python", "PYTHONDONTWRITEBYTECODE=1")
		out, err := cmd.CombinedOutput()
		if got := strings.Join(strings.Fields(string(out)), ""); err != nil || got != "[False,None,1000.0,-0.5]" && got != "[false,null,1000,-0.5]" {
			t.Errorf("%s prints %s, %v", program, out, err)
		}
	}
}

func fileURL(path string) string { return quotedJSON("file://" + path) }
