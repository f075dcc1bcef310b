package mcp

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
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
	var stamp strings.Builder
	for _, a := range all {
		fmt.Fprintf(&stamp, "%s %d ", a.Name, a.Rev)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stamp == stamp.String() {
		return
	}
	e.stamp = stamp.String()
	gone := maps.Clone(e.tools)
	for _, a := range all {
		name := toolName(a.Name)
		if strings.HasPrefix(a.Name, reserved) {
			continue
		}
		delete(gone, name)
		if old := e.tools[name]; old == nil || old.Rev != a.Rev {
			e.server.AddTool(toolOf(a), e.callAgent(a))
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
	open := true
	return &sdk.Tool{
		Name: toolName(a.Name), Title: a.Name, Description: strings.TrimSpace(description + " It runs as a durable task."),
		InputSchema: inputSchema(a), Annotations: &sdk.ToolAnnotations{OpenWorldHint: &open},
	}
}

// Schemas of the arguments of agents that have none that is an object's.
var (
	anyTask = json.RawMessage(`{"type":"object","properties":{"instruction":{"type":"string","description":"What to do."},"input":{"type":"object","description":"What to do it with."}},"required":["instruction"]}`)
	anyTurn = json.RawMessage(`{"type":"object","properties":{"text":{"type":"string","description":"What to say."},"session_id":{"type":"string","description":"The session to go on with, from an earlier result; none begins a new one."}},"required":["text"]}`)
)

func inputSchema(a *mesh.Agent) json.RawMessage {
	switch {
	case conversational(a):
		return anyTurn
	case takesInput(a):
		return a.InputSchema
	}
	return anyTask
}

// conversational says whether one talks with an agent in a session.
func conversational(a *mesh.Agent) bool { return a.Greeting != "" }

// takesInput says whether the arguments of a call are the input of its task.
func takesInput(a *mesh.Agent) bool {
	var schema struct {
		Type any `json:"type"`
	}
	// Names of headers for arguments are not declared: a schema that has some is the
	// agent's own matter.
	return json.Unmarshal(a.InputSchema, &schema) == nil && schema.Type == "object" && !strings.Contains(string(a.InputSchema), `"x-mcp-header"`)
}

// tool is the agent behind a name, nil when there is none.
func (e *endpoint) tool(name string) *mesh.Agent {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tools[name]
}
