package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/micro"

	"agentmesh/gateway"
	"agentmesh/gateway/synadia"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	protocol "agentmesh/shared/synadia"
	"agentmesh/worker/agents"
	"agentmesh/worker/agents/echo"
	workersynadia "agentmesh/worker/agents/synadia"
)

// onNATS runs a command line that reaches the NATS of a mesh.
func onNATS(t *testing.T, m *meshtest.Mesh, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(t.Context(), Root(func(context.Context, workersynadia.Place) (*protocol.Conn, workersynadia.Signer, error) {
		return protocol.New(m.Server.Connect(t), ""), nil, nil
	}), args, &out, &errs)
	return code, out.String(), errs.String()
}

// faced is a mesh whose agents are found on NATS, too.
func faced(t *testing.T) *meshtest.Mesh {
	t.Helper()
	m := newMesh(t)
	m.Work(echo.Agent())
	core := mesh.New(m.Store, mesh.Options{Log: meshtest.Quiet()})
	t.Cleanup(core.Close)
	b, err := synadia.New(synadia.Entry{Conn: protocol.New(m.Server.Connect(t), ""), Tenant: "default", Beat: time.Second}, synadia.Options{Mesh: core, Log: meshtest.Quiet(), Hold: time.Minute, Drain: time.Second, Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	c := protocol.New(m.Server.Connect(t), "")
	natstest.Until(t, "echo is found", func() bool {
		found, err := c.Discover(t.Context(), 200*time.Millisecond)
		return err == nil && len(found) == 1
	})
	return m
}

// public serves the gateway at the address that its cards name.
func public(t *testing.T, m *meshtest.Mesh) (at string) {
	t.Helper()
	var g *gateway.Gateway
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.Handler().ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	cfg := gateway.Default()
	cfg.HTTP, cfg.PublicURL = "127.0.0.1:0", srv.URL
	var err error
	if g, err = gateway.New(cfg, m.Store, meshtest.Quiet()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return srv.URL
}

// broken serves an agent on NATS that is wrong in many ways.
func broken(t *testing.T, m *meshtest.Mesh) {
	t.Helper()
	nc := m.Server.Connect(t)
	s, err := micro.AddService(nc, micro.Config{Name: "agents", Version: "1.0.0", Description: "a\u200bb", Metadata: map[string]string{"agent": "Bad", "owner": "o", "protocol_version": "9.9"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() })
	err = s.AddEndpoint("prompt", micro.HandlerFunc(func(r micro.Request) { _ = r.Error("400", "no", nil) }),
		micro.WithEndpointSubject("agents.prompt.Bad.o.x"), micro.WithEndpointMetadata(map[string]string{"max_payload": "lots"}))
	if err == nil {
		err = s.AddEndpoint("status", micro.HandlerFunc(func(r micro.Request) { _ = r.Respond([]byte(`{}`)) }), micro.WithEndpointSubject("mesh.control.x"))
	}
	if err == nil {
		err = nc.Flush() // the server knows it before it is asked
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestOurOwnFacesAreAsTheirSpecificationsHaveThem(t *testing.T) {
	t.Parallel() // they wait for what may answer on NATS
	m := faced(t)
	at := public(t, m)
	code, out, errs := onNATS(t, m, "agents", "inspect", "echo", "--gateway", at, "-o", "json", "--wait", "20s", "--nats-url", "nats://here")
	var got inspection
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != ExitOK || !got.OK || len(got.Inspected) != 3 {
		t.Fatalf("exit %d, %v, %s%s", code, err, out, errs)
	}
	for i, want := range []string{"a2a echo", "mcp agentmesh", "nats agentmesh.default.echo"} {
		r := got.Inspected[i]
		if string(r.Kind)+" "+r.Name != want || len(r.Rows) < 7 {
			t.Errorf("%s %s: %+v", r.Kind, r.Name, r.Rows)
		}
		for _, row := range r.Rows {
			if row.Status != "good" {
				t.Errorf("%s: %+v", want, row)
			}
		}
	}
	for _, url := range []string{at, at + "/mcp", at + "/agents/echo/a2a/"} {
		if code, out, errs := cli(t, "agents", "inspect", url); code != ExitOK || !strings.Contains(out, " 0 faults, 0 skipped") {
			t.Errorf("%s: exit %d, %s%s", url, code, out, errs)
		}
	}
}

func TestABrokenAgentOnNATSIsSaidWhatIsWrongWithIt(t *testing.T) {
	t.Parallel() // they wait for what may answer on NATS
	m := newMesh(t)
	broken(t, m)
	code, out, _ := onNATS(t, m, "agents", "inspect", "nats://here")
	if code != ExitFailed {
		t.Errorf("exit %d", code)
	}
	for _, want := range []string{
		`fault protocol_version it is "9.9"`, `fault agent it is "Bad"`, "good owner o", `fault max_payload it is "lots"`, `fault attachments_ok it is ""`,
		`fault prompt its queue group is "q"`, "warning description", "skipped liveness nothing was sent to", "good ping it answers", "fault empty prompt it is refused with 400, and the answer does not end",
		"skipped heartbeat",
	} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// What discover prints can be used as it stands, and adopts nobody of a mesh.
func TestDiscoverPrintsTheFileThatAdopts(t *testing.T) {
	t.Parallel() // they wait for what may answer on NATS
	m := faced(t)
	broken(t, m)
	c := protocol.New(m.Server.Connect(t), "")
	for _, owner := range []string{"alice", "bob", "bob"} {
		s, err := c.Serve(protocol.Spec{Agent: "coder", Owner: owner, Name: "my_repo", Description: "Codes: \"well\"\x1b[2J", Version: "1.0.0"}, func(p *protocol.Prompt) { p.End() })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Stop)
	}
	code, out, errs := onNATS(t, m, "agents", "discover", "--nats-url", "nats://here:4222", "--nats-creds", "a.creds")
	if code != ExitOK || strings.Count(out, "# coder") != 3 || !strings.Contains(out, "of a mesh") || !strings.Contains(out, "another version") || strings.Contains(out, "\x1b") {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	specs, err := agents.Parse("agents.yaml", []byte(out), os.LookupEnv)
	if err != nil || len(specs) != 2 || specs[0].Name != "my-repo" || specs[1].Name != "coder-my-repo" || specs[1].Synadia.Owner != "bob" || specs[0].Synadia.URL != "nats://here:4222" {
		t.Errorf("%+v, %v\n%s", specs, err, out)
	}
}

// What the agents of a file need is reached, or it is said what is not.
func TestCheckReachesWhatAgentsNeed(t *testing.T) {
	t.Parallel() // they wait for what may answer on NATS
	m := faced(t)
	at := public(t, m)
	models := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet || r.URL.Path != "/v1/models":
			t.Errorf("%s %s", r.Method, r.URL.Path)
		case r.Header.Get("Authorization") != "Bearer k":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			_, _ = fmt.Fprint(w, `{"data":[{"id":"small"}]}`)
		}
	}))
	defer models.Close()
	text := strings.NewReplacer("MODELS", models.URL+"/v1", "GATEWAY", at).Replace(`models:
  here: {base_url: "MODELS", model: small, api_key: k, fallback: [other]}
  other: {base_url: "MODELS", model: large, api_key: k}
  closed: {base_url: "MODELS", model: small, api_key: wrong}
  away: {base_url: "http://127.0.0.1:1/v1", model: small}
tools:
  mesh: {mcp: {url: "GATEWAY/mcp"}}
  some: {mcp: {url: "GATEWAY/mcp"}, allow: [echo, missing]}
agents:
  - {name: good, llm: {model: here, tools: [mesh, ask_human]}}
  - {name: key, llm: {model: closed}}
  - {name: down, llm: {model: away}}
  - {name: tools, llm: {model: here, tools: [some]}}
  - {name: card, a2a: {url: "GATEWAY/agents/echo/a2a/"}}
  - {name: nocard, a2a: {url: "GATEWAY/agents/nobody/a2a/"}}
  - {name: tool, mcp: {url: "GATEWAY/mcp", tool: echo}}
  - {name: found, synadia: {url: "nats://x", agent: agentmesh, owner: default, name: echo}}
  - {name: lost, synadia: {url: "nats://x", agent: coder, owner: alice, name: repo}}
`)
	file := filepath.Join(t.TempDir(), "agents.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := onNATS(t, m, "agents", "check", file, "--connect")
	if code != ExitFailed || !strings.Contains(errs, "5 of 9 agents could not be run here") {
		t.Errorf("exit %d, %s", code, errs)
	}
	for _, want := range []string{
		"good: model here: ok, it has the model small", "good: model other: ok, it answers, and the model large is not among the 1", "good: tools mesh: ok, it has ",
		"key: model closed: it answers 401 Unauthorized: see api_key", "down: model away: it does not answer", "tools: tools some: the MCP server has no tool \"missing\"",
		"card: ok, its card is there", "nocard: the remote agent answered 404", "tool: ok, it has the tool echo", "found: ok, it answers, version 1.2.3", "lost: no agent coder.alice.repo answers there (1 do)",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if code, out, errs := onNATS(t, m, "agents", "check", file); code != ExitOK || strings.Count(out, ": ok\n") != 9 {
		t.Errorf("without --connect: exit %d\n%s%s", code, out, errs)
	}
}
