package agents

import (
	"context"
	"slices"

	"gopkg.in/yaml.v3"

	"agentmesh/worker/agent"
	"agentmesh/worker/agents/llm"
	"agentmesh/worker/agents/mcp"
)

// tools reads the tools of a file: servers of MCP, and the rules for their tools.
func (p llmParser) tools(n *yaml.Node, field string) {
	p.secret(func() {
		p.named(n, field, func(name string, n *yaml.Node, f string) {
			p.shared.Tools[name], p.shared.servers[name] = p.toolSet(n, f)
		})
	})
}

func (p llmParser) toolSet(n *yaml.Node, field string) (s llm.ToolSet, server mcp.Config) {
	var at *yaml.Node
	p.mapping(n, field, fields{
		"mcp":        func(n *yaml.Node, f string) { at = n; p.mapping(n, f, p.mcpServer(&server)) },
		"allow":      func(n *yaml.Node, f string) { s.Allow = p.list(n, f) },
		"approve":    func(n *yaml.Node, f string) { s.Approve = p.list(n, f) },
		"timeout":    func(n *yaml.Node, f string) { p.span(n, f, &s.Timeout) },
		"max_result": func(n *yaml.Node, f string) { p.count(n, f, &s.MaxResult) },
		"on_unknown": func(n *yaml.Node, f string) {
			s.OnUnknown = llm.OnUnknown(p.choice(n, f, string(llm.AskOnUnknown), string(llm.RetryOnUnknown), string(llm.FailOnUnknown)))
		},
	})
	if at == nil {
		p.fault(n, field+".mcp", "it is missing: where the server is, such as {url: https://tools.example.com/mcp} or {command: [npx, -y, some-server]}")
		return s, server
	}
	p.server(at, field+".mcp", server)
	for _, tool := range s.Approve {
		if tool != "*" && len(s.Allow) > 0 && !slices.Contains(s.Allow, tool) {
			p.fault(n, field+".approve", "%s is not under allow%s", tool, didYouMean(tool, s.Allow))
		}
	}
	return s, server
}

// toolServer is an MCP server for models.
type toolServer struct{ client *mcp.Client }

// List implements llm.Server.
func (s toolServer) List(ctx context.Context) (all []llm.RemoteTool, err error) {
	tools, err := s.client.Tools(ctx)
	for _, t := range tools {
		all = append(all, llm.RemoteTool{Name: t.Name, Description: t.Description, Schema: t.InputSchema, Repeatable: t.Repeatable()})
	}
	return all, err
}

// Run implements llm.Server.
func (s toolServer) Run(ctx context.Context, job *agent.Job, c llm.RemoteCall) (llm.RemoteResult, error) {
	res, err := s.client.Run(ctx, job, mcp.Run{
		Call: mcp.Call{Tool: c.Tool, Arguments: c.Args, TraceParent: c.TraceParent},
		Step: c.Step, OnUnknown: mcp.Unknown(c.OnUnknown), Timeout: c.Timeout, Once: true, Made: c.Made, Shown: c.Shown,
	})
	if err != nil {
		return llm.RemoteResult{}, err
	}
	return llm.RemoteResult{Text: res.String(), Fault: res.IsError}, nil
}
