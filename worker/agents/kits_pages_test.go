package agents_test

import (
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"agentmesh/shared/manualtest"
	"agentmesh/worker/agents"
)

// The code of the kits' pages runs as it stands: the first block is a program, which the
// mesh reads as an agents.yaml, and the others are run one behind the other.
func TestThePagesOfTheKitsRun(t *testing.T) {
	for _, p := range []struct{ needs, dir, language, program string }{
		{"python3", "../agent/python", "python", "shout.py"}, {"node", "../agent/typescript", "js", "shout.mjs"},
	} {
		t.Run(p.needs, func(t *testing.T) {
			if _, err := osexec.LookPath(p.needs); err != nil {
				t.Skip("there is no " + p.needs)
			}
			kit, err := filepath.Abs(p.dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv("PYTHONPATH", kit)
			dir := t.TempDir()
			modules := filepath.Join(dir, "node_modules", "@agentmesh")
			if err := os.MkdirAll(modules, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(kit, filepath.Join(modules, "agent")); err != nil {
				t.Fatal(err)
			}
			blocks := manualtest.Snippets(t, filepath.Join(p.dir, "README.md"), p.language)
			write := func(name, code string) string {
				file := filepath.Join(dir, name)
				if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
					t.Fatal(err)
				}
				return file
			}
			run := func(stdin string, command ...string) string {
				cmd := osexec.CommandContext(t.Context(), command[0], command[1:]...)
				cmd.Stdin = strings.NewReader(stdin)
				out, err := cmd.Output()
				if err != nil {
					t.Errorf("%v: %v", command, err)
				}
				return strings.ReplaceAll(string(out), `": `, `":`)
			}
			program := write(p.program, blocks[0])
			if out := run(`{"task_id":"tsk_1","attempt":1,"agent":"shout","instruction":"hello"}`, p.needs, program); !strings.Contains(out, `"result":"HELLO"`) {
				t.Errorf("it says %s", out)
			}
			if specs, text, err := agents.Describe(t.Context(), program); err != nil || specs[0].Name != "shout" {
				t.Errorf("%v\n%s", err, text)
			}
			rest := blocks[1:]
			if p.language == "python" { // where the tests use the first block
				rest = append([]string{"from shout import shout"}, rest...)
			}
			run("", p.needs, write("rest"+filepath.Ext(p.program), strings.Join(rest, "\n")))
		})
	}
}
