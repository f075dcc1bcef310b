package mcp

import (
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/mesh"
)

// reserved begins the names of our own tools.
const reserved = "mesh-"

// toolName is that of an agent. Names of agents have no underscore, so that it can be
// turned back.
func toolName(agent string) string { return strings.ReplaceAll(agent, "-", "_") }

// update makes the tools those of the agents. Who has subscribed to changes is told.
func (e *endpoint) update(all []*mesh.Agent) {
	h := fnv.New64a()
	var one []byte
	for _, a := range all {
		one = strconv.AppendUint(append(append(one[:0], a.Name...), ' '), a.Rev, 10)
		_, _ = h.Write(append(one, ' '))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stamp == h.Sum64() {
		return
	}
	e.stamp = h.Sum64()
	gone := maps.Clone(e.tools)
	for _, a := range all {
		name := toolName(a.Name)
		if strings.HasPrefix(a.Name, reserved) {
			continue
		}
		delete(gone, name)
		if old := e.tools[name]; old == nil || old.Rev != a.Rev {
			e.server.AddTool(toolOf(a), calls{e}.callAgent(a))
			e.tools[name] = a
		}
	}
	if len(gone) > 0 {
		names := slices.Collect(maps.Keys(gone))
		e.server.RemoveTools(names...)
		maps.DeleteFunc(e.tools, func(name string, _ *mesh.Agent) bool { return slices.Contains(names, name) })
	}
}

// toolOf describes an agent.
func toolOf(a *mesh.Agent) *sdk.Tool {
	description := strings.TrimSpace(a.Description)
	if description != "" && !strings.HasSuffix(description, ".") {
		description += "."
	}
	tool := &sdk.Tool{
		Name: toolName(a.Name), Title: a.Name, Description: strings.TrimSpace(description + " It runs as a durable task."),
		InputSchema: inputSchema(a), Annotations: annotations(a),
	}
	if s := outputSchema(a); s != nil {
		tool.OutputSchema = s
	}
	return tool
}

// annotations are the hints of an agent's author. Of one who says nothing, it reaches
// anywhere.
func annotations(a *mesh.Agent) *sdk.ToolAnnotations {
	is := func(hint *bool) bool { return hint != nil && *hint }
	h, open := a.Annotations, true
	if h.OpenWorld != nil {
		open = *h.OpenWorld
	}
	return &sdk.ToolAnnotations{ReadOnlyHint: is(h.ReadOnly), DestructiveHint: h.Destructive, IdempotentHint: is(h.Idempotent), OpenWorldHint: &open}
}

// madeOf tells one set of tools from the next.
func (e *endpoint) madeOf() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stamp
}

// tool is the agent behind a name, nil when there is none.
func (e *endpoint) tool(name string) *mesh.Agent {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tools[name]
}
