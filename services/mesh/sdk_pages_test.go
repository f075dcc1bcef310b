package main

import (
	"encoding/json"
	"net/http"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/manualtest"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/signature"
	"agentmesh/worker/agents"
)

// page is the first page of a client or a kit, whose code is run as it stands.
type page struct {
	program, file string   // node, or python3; the page
	language      string   // of its blocks
	around        []string // what the page leaves to its reader: before the code, and behind it
	link          map[string]string
}

var clientPages = []page{
	{program: "python3", file: "../../gateway/client/python/README.md", language: "python", around: []string{`
import json, os, types
handled = []
handle_once = lambda id, event: handled.append((id, event))
`, `
came = json.loads(os.environ["REQUEST"])
assert receive(types.SimpleNamespace(**came)) == (204, ""), came
assert receive(types.SimpleNamespace(headers=came["headers"], body="x")) == (401, "mismatch")
assert handled == [("msg_1", {"n": 1})], handled
`}},
	{program: "node", file: "../../gateway/client/typescript/README.md", language: "js", link: map[string]string{"@agentmesh/client": "gateway/client/typescript"}, around: []string{`
const handled = [];
const handleOnce = (id, event) => handled.push([id, event]);
`, `
const { headers, body } = JSON.parse(process.env.REQUEST);
const come = (body) => receive(new Request("http://x.test", { method: "POST", headers, body }));
assert.equal((await come(body)).status, 204);
assert.equal((await come("x")).status, 401);
assert.deepEqual(handled, [["msg_1", { n: 1 }]]);
`}},
}

// The code of the clients' pages runs against a mesh with the sample agents.
func TestClientsInOtherLanguagesDoWhatTheirPagesSay(t *testing.T) {
	if !*sdks {
		t.Skip("make sdks runs it")
	}
	m := meshtest.New(t)
	srv, c := m.Serve()
	m.Work(agents.Samples()...)
	natstest.Until(t, "the agents are known", func() bool {
		known, err := c.Agents.List(t.Context())
		return err == nil && len(known) == len(agents.Samples())
	})
	secret, h, body := signature.NewSecret(), http.Header{}, `{"n":1}`
	if err := signature.Sign(h, "msg_1", time.Now(), []byte(body), secret); err != nil {
		t.Fatal(err)
	}
	headers := map[string]string{}
	for name := range h {
		headers[name] = h.Get(name)
	}
	request, _ := json.Marshal(map[string]any{"headers": headers, "body": body})
	for _, p := range clientPages {
		t.Run(p.program, func(t *testing.T) {
			out := p.run(t, "MESH_URL="+srv.URL, "WEBHOOK_SECRET="+secret.Reveal(), "REQUEST="+string(request))
			for _, want := range []string{"One is here.", "agent_not_found", "to Tokyo"} {
				if !strings.Contains(out, want) {
					t.Errorf("the page does not print %s:\n%s", want, out)
				}
			}
		})
	}
}

// run is what the code of a page prints.
func (p page) run(t *testing.T, env ...string) string {
	t.Helper()
	code := p.around[0] + strings.Join(manualtest.Snippets(t, p.file, p.language), "\n") + p.around[1]
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), map[string]string{"python": "page.py", "js": "page.mjs"}[p.language])
	for name, at := range p.link {
		link := filepath.Join(filepath.Dir(file), "node_modules", name)
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(root, at), link); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := osexec.CommandContext(t.Context(), p.program, file)
	cmd.Env = append(os.Environ(), append(env, "PYTHONPATH="+filepath.Dir(filepath.Join(root, "services/mesh", p.file)))...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("the code of %s: %v\n%s", p.file, err, out)
	}
	return string(out)
}
