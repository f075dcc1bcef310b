package agents

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	nethttp "net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"agentmesh/worker/agent"
	"agentmesh/worker/agents/a2a"
	"agentmesh/worker/agents/echo"
	"agentmesh/worker/agents/exec"
	"agentmesh/worker/agents/http"
	"agentmesh/worker/agents/mcp"
	"agentmesh/worker/agents/summarize"
	"agentmesh/worker/agents/synadia"
	"agentmesh/worker/agents/travel"
)

// Schema is the JSON Schema of agents.yaml, for editors.
//
//go:embed agents.schema.json
var Schema []byte

// builtins are the agents that a file may name, and Samples all of them.
var builtins = map[string]func() agent.Agent{"echo": echo.Agent, "summarize": summarize.Agent, "travel": travel.Agent}

// Samples are the agents that are served where no file says otherwise.
func Samples() []agent.Agent {
	return []agent.Agent{echo.Agent(), summarize.Agent(), travel.Agent()}
}

// Options are what the worker knows and a file does not.
type Options struct {
	GatewayURL func() string // the URL of one, for programs that call the mesh, asked at each attempt; nil: none
	Log        *slog.Logger
	MCP        *mcp.Pool            // the sessions of MCP servers; nil: one of its own for each file that is read
	NATS       synadia.Dial         // connections to agents on NATS; nil: there are none
	Models     nethttp.RoundTripper // how models are reached; nil: as HTTP does
}

// Load reads the file and makes its agents. An empty path means the samples.
func Load(path string, o Options) ([]agent.Agent, error) {
	if path == "" {
		return Samples(), nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read agents: %w; choose another file with --agents", err)
	}
	specs, err := Parse(path, text, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	if o.MCP == nil {
		o.MCP = mcp.NewPool(mcp.Options{Log: o.Log})
	}
	all, errs := make([]agent.Agent, len(specs)), make([]error, len(specs))
	var made sync.WaitGroup
	for i, s := range specs {
		made.Go(func() { // a server may take its time to say what its tools are
			if all[i], errs[i] = s.Agent(o); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: agent %s: %w", path, s.Name, errs[i])
			}
		})
	}
	made.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return all, nil
}

// Agent makes the agent. A builtin fills in the fields that the file leaves open.
func (s Spec) Agent(o Options) (agent.Agent, error) {
	switch {
	case s.Exec != nil:
		a := agent.Agent{Definition: s.Definition, Calls: o.GatewayURL != nil}
		options := exec.Options{GatewayURL: o.GatewayURL, Log: o.Log}
		if s.Exec.Pool == 0 {
			a.Handler = exec.New(*s.Exec, options)
		} else {
			a.Handler, a.Open = exec.NewPool(*s.Exec, options)
		}
		return a, nil
	case s.HTTP != nil:
		return agent.Agent{Definition: s.Definition, Handler: http.New(*s.HTTP, http.Options{GatewayURL: o.GatewayURL}), Remote: true, Tells: o.GatewayURL != nil}, nil
	}
	if s.MCP != nil {
		return s.tool(o), nil
	}
	if s.Synadia != nil {
		if o.NATS == nil {
			return agent.Agent{}, errors.New("agents on NATS are not reached from here")
		}
		return synadia.New(*s.Synadia, o.NATS, o.Log).Agent(s.Definition), nil
	}
	if s.LLM != nil {
		return s.model(o)
	}
	if s.A2A != nil {
		return s.remote(o), nil
	}
	build, ok := builtins[s.Builtin]
	if !ok {
		return agent.Agent{}, fmt.Errorf("builtin: there is no %q, there are %s", s.Builtin, strings.Join(slices.Sorted(maps.Keys(builtins)), ", "))
	}
	a := build()
	d := s.Definition
	if d.Description == "" {
		d.Description = a.Description
	}
	if d.Version == "" {
		d.Version = a.Version
	}
	if d.Greeting == "" {
		d.Greeting = a.Greeting
	}
	if d.Concurrency == 0 {
		d.Concurrency = a.Concurrency
	}
	if d.InputSchema == nil {
		d.InputSchema = a.InputSchema
	}
	a.Definition = d
	return a, nil
}

// tool makes the agent that is a tool of an MCP server. A server that is away does not
// keep the worker from its start: its agent has no description then, until the file is
// read again.
func (s Spec) tool(o Options) agent.Agent {
	if o.MCP == nil {
		o.MCP = mcp.NewPool(mcp.Options{Log: o.Log})
	}
	client, d := o.MCP.Client(s.MCP.Config), s.Definition
	if err := client.Describe(context.Background(), s.MCP.Tool, &d); err != nil && o.Log != nil {
		o.Log.Warn("an MCP server does not describe its tool", "agent", s.Name, "server", client.Place(), "tool", s.MCP.Tool, "error", err)
	}
	return agent.Agent{Definition: d, Handler: mcp.New(client, *s.MCP), Remote: true}
}

// model makes an agent that is a model with its tools. It knows the others of its file.
func (s Spec) model(o Options) (agent.Agent, error) {
	catalog, err := s.file.open(o)
	if err != nil {
		return agent.Agent{}, err
	}
	h, _ := catalog.Handler(s.Name)
	d := s.Definition
	d.Budgets = s.file.Budgets
	if d.OutputSchema == nil {
		d.OutputSchema = s.LLM.OutputSchema
	}
	return agent.Agent{Definition: d, Handler: h, Seal: s.LLM.Seal}, nil
}

// describeWithin bounds the wait for the card of a remote agent at the start.
const describeWithin = 5 * time.Second

// remote makes the agent that is one of others. One that is away does not keep the
// worker from its start: its agent has no description then, until the file is read
// again.
func (s Spec) remote(o Options) agent.Agent {
	client, d := a2a.NewClient(*s.A2A, a2a.Options{Log: o.Log}), s.Definition
	ctx, cancel := context.WithTimeout(context.Background(), describeWithin)
	defer cancel()
	if err := client.Describe(ctx, &d); err != nil && o.Log != nil {
		o.Log.Warn("a remote agent shows no card", "agent", s.Name, "remote", client.Place(), "error", err)
	}
	return agent.Agent{Definition: d, Handler: a2a.New(client), Remote: true, Canceled: client.Canceled}
}
