package agents

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"agentmesh/shared/task"
	"agentmesh/worker/agents/mcp"
)

// remoteParser reads the sections of agents that others serve by a protocol.
type remoteParser struct{ *parser }

// mcp reads what an agent asks of clients of MCP, and the section of one that is a tool
// of an MCP server; nil: it is none.
func (p remoteParser) mcp(n *yaml.Node, field string, as *task.AsTool) *mcp.AgentConfig {
	c := &mcp.AgentConfig{}
	of := p.mcpServer(&c.Config)
	of["tool"] = func(n *yaml.Node, f string) { p.text(n, f, &c.Tool) }
	of["arguments"] = func(n *yaml.Node, f string) { c.Arguments = p.object(n, f) }
	of["on_unknown"] = func(n *yaml.Node, f string) {
		way := ""
		if p.text(n, f, &way); !slices.Contains(mcp.Unknowns, mcp.Unknown(way)) {
			p.fault(n, f, "%q is not allowed, it must be ask (a person decides), retry (the tool is called again) or fail", way)
		}
		c.OnUnknown = mcp.Unknown(way)
	}
	of["tasks"] = func(n *yaml.Node, f string) {
		support := ""
		if p.text(n, f, &support); support == "" || !task.TaskSupport(support).Valid() {
			p.fault(n, f, "%q is not allowed, it must be optional (clients without the tasks extension are held) or required (they are refused)", support)
		}
		as.Tasks = task.TaskSupport(support)
	}
	before := len(p.errs)
	p.mapping(n, field, of)
	if as.Tasks != "" && len(n.Content) == 2 {
		return nil
	}
	if c.Tool == "" && len(p.errs) == before {
		p.fault(n, field+".tool", "it is missing: the name of the tool that the agent is; mesh agents check --connect says whether the server has it")
	}
	p.server(n, field, c.Config)
	return c
}

// mcpServer are the fields that say where an MCP server is.
func (p *parser) mcpServer(c *mcp.Config) fields {
	c.Dir = p.dir
	return fields{
		"url":     func(n *yaml.Node, f string) { p.text(n, f, &c.URL) },
		"headers": func(n *yaml.Node, f string) { c.Headers = p.strings(n, f) },
		"command": func(n *yaml.Node, f string) { c.Command = p.command(n, f) },
		"dir":     func(n *yaml.Node, f string) { c.Dir = p.folder(n, f) },
		"env":     func(n *yaml.Node, f string) { c.Env = p.strings(n, f) },
	}
}

// server checks that a server can be reached by what is said of it.
func (p *parser) server(n *yaml.Node, field string, c mcp.Config) {
	switch {
	case (c.URL == "") == (len(c.Command) == 0):
		p.fault(n, field, "it must have either url, such as https://tools.example.com/mcp, or command, such as [npx, -y, some-server]")
	case c.URL != "":
		if err := c.Check(); err != nil {
			p.fault(n, field, "%s", strings.TrimSuffix(err.Error(), "."))
		}
	}
}

// object reads a mapping of any values; the environment's are put into its texts.
func (p remoteParser) object(n *yaml.Node, field string) map[string]any {
	if n.Kind != yaml.MappingNode {
		p.fault(n, field, "it must be a mapping")
		return nil
	}
	v := map[string]any{}
	if err := p.expanded(n, field).Decode(&v); err != nil {
		p.fault(n, field, "%v", err)
	}
	if _, err := task.Marshal(v); err != nil {
		p.fault(n, field, "it must be JSON: keys are texts")
	}
	return v
}

// expanded is a copy of a node in whose texts the environment's values are.
func (p remoteParser) expanded(n *yaml.Node, field string) *yaml.Node {
	out := *n
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		out.Value = p.expand(n, field)
	}
	out.Content = make([]*yaml.Node, len(n.Content))
	for i, inner := range n.Content {
		out.Content[i] = p.expanded(inner, field)
	}
	return &out
}

func (p *parser) command(n *yaml.Node, field string) []string {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		p.fault(n, field, "it must be a list: the program, then its arguments, such as [python3, agent.py]")
		return nil
	}
	command := make([]string, len(n.Content))
	for i, arg := range n.Content {
		p.text(arg, fmt.Sprintf("%s[%d]", field, i), &command[i])
	}
	return command
}

func (p *parser) folder(n *yaml.Node, field string) string {
	dir := ""
	if p.text(n, field, &dir); !filepath.IsAbs(dir) {
		dir = filepath.Join(p.dir, dir)
	}
	return dir
}
