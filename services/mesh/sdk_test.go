package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"os"
	osexec "os/exec"
	"strings"
	"testing"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents"
)

var sdks = flag.Bool("sdks", false, "run the clients in other languages against a mesh")

// conformingAgents are those that the clients' list of calls talks with, as their fake
// meshes have them.
func conformingAgents() []agent.Agent {
	return []agent.Agent{
		meshtest.Named("tells", func(ctx context.Context, job *agent.Job) (any, error) {
			job.Progress(50, "half")
			err := job.Milestone(ctx, "read", "all of it", map[string]int{"pages": 2})
			job.Output("héllo ")
			job.Output("mesh")
			return map[string]int{"said": 2}, err
		}),
		meshtest.Named("asks", func(ctx context.Context, job *agent.Job) (any, error) {
			return agent.Ask[bool](ctx, job, "approve", agent.Question{Prompt: "Publish?", Schema: json.RawMessage(`{"type":"boolean"}`)})
		}),
		meshtest.Named("fails", func(context.Context, *agent.Job) (any, error) {
			return nil, &agent.Error{Code: "no_model", Message: "the model is away", Permanent: true}
		}),
		meshtest.Named("waits", func(ctx context.Context, _ *agent.Job) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}),
	}
}

// The clients in other languages do with a whole mesh what their pages say.
func TestClientsInOtherLanguagesSpeakWithAMesh(t *testing.T) {
	if !*sdks {
		t.Skip("make sdks runs it")
	}
	m := meshtest.New(t)
	srv, c := m.Serve()
	all := append(agents.Samples(), conformingAgents()...)
	m.Work(all...)
	natstest.Until(t, "the agents are known", func() bool {
		known, err := c.Agents.List(t.Context())
		return err == nil && len(known) == len(all)
	})
	const script = "../../gateway/client/typescript/test/live.js"
	for _, program := range [][]string{{"python3", "../../gateway/client/python/tests/live.py"}, {"node", script}, {"bun", script}, {"deno", "run", "--no-prompt", "--allow-env", "--allow-net", script}} {
		t.Run(program[0], func(t *testing.T) {
			if _, err := osexec.LookPath(program[0]); err != nil && program[0] != "python3" && program[0] != "node" {
				t.Skip("there is no " + program[0])
			}
			cmd := osexec.CommandContext(t.Context(), program[0], program[1:]...)
			cmd.Env = append(os.Environ(), "MESH_URL="+srv.URL, "LIVE_BY="+program[0])
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", program[0], err, out)
			}
			for task, err := range c.Tasks.All(t.Context(), client.Filter{Labels: map[string]string{"by": program[0]}}) {
				if err != nil || task.Status != "completed" {
					t.Errorf("%s left %+v, %v", program[0], task, err)
				}
			}
		})
	}
}

// An example that calls another agent does so in a pool and as a service, too.
func TestClientsInOtherLanguagesCallFromEachWay(t *testing.T) {
	if !*sdks {
		t.Skip("make sdks runs it")
	}
	m := meshtest.New(t)
	srv, c := m.Serve()
	o := agents.Options{GatewayURL: func() string { return srv.URL }, Log: meshtest.Quiet()}
	service := osexec.CommandContext(t.Context(), "node", "../../worker/agents/examples/outline.mjs")
	service.Env = append(os.Environ(), "MESH_AGENT_LISTEN=127.0.0.1:0", "MESH_GATEWAY_URL="+srv.URL)
	said, err := service.StderrPipe()
	if err == nil {
		err = service.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = service.Process.Kill(), service.Wait() })
	line, err := bufio.NewReader(said).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("the service says %q, %v", line, err)
	}
	specs, err := agents.Parse("agents.yaml", []byte(`agents:
  - {name: pool, exec: {command: [node, outline.mjs], dir: ../../worker/agents/examples, pool: 1}}
  - {name: http, http: {url: "http://`+address+`/"}}
  - {name: summarize, builtin: summarize}
`), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range specs {
		a, err := s.Agent(o)
		if err != nil {
			t.Fatal(err)
		}
		m.Work(a)
	}
	for _, way := range []string{"pool", "http"} {
		v, err := c.Tasks.Create(t.Context(), client.Request{Agent: way, Input: []byte(`{"chapters":["One is here. One is there.","Two is here."]}`)}, client.CreateOptions{})
		if err == nil {
			v, err = c.Tasks.Wait(t.Context(), v.TaskID)
		}
		if err != nil || string(v.Result) != `{"outline":["One is here.","Two is here."]}` || len(v.Children) != 2 {
			t.Errorf("%s: %+v, %v", way, v, err)
		}
	}
}
