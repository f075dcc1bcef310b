package mcp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/mesh"
)

// Schemas of the arguments of agents that have none that is an object's.
var (
	anyTask = json.RawMessage(`{"type":"object","properties":{"instruction":{"type":"string","description":"What to do."},"input":{"type":"object","description":"What to do it with."}},"required":["instruction"]}`)
	anyTurn = json.RawMessage(`{"type":"object","properties":{"text":{"type":"string","description":"What to say."},"session_id":{"type":"string","description":"The session to go on with, from an earlier result; none begins a new one."}},"required":["text"]}`)
)

func inputSchema(a *mesh.Agent) json.RawMessage {
	switch {
	case a.Converses():
		return anyTurn
	case takesInput(a):
		return a.InputSchema
	}
	return anyTask
}

// takesInput says whether the arguments of a call are the input of its task.
func takesInput(a *mesh.Agent) bool {
	// Names of headers for arguments are not declared: a schema that has some is the
	// agent's own matter.
	return ofObject(a.InputSchema) && !has(a.InputSchema, `"x-mcp-header"`)
}

// ofObject says whether a schema is an object's. Names of members are exact.
func ofObject(schema json.RawMessage) bool {
	var s map[string]json.RawMessage
	return json.Unmarshal(schema, &s) == nil && string(bytes.TrimSpace(s["type"])) == `"object"`
}

// has says whether a text occurs in a schema, however it is escaped there.
func has(schema json.RawMessage, text string) bool {
	var v any
	if json.Unmarshal(schema, &v) != nil {
		return false
	}
	b, err := json.Marshal(v)
	return err == nil && strings.Contains(string(b), text)
}

// Structured contents that are no result: a call that goes on, or whose result is
// elsewhere, and one that failed.
const (
	handleSchema  = `{"type":"object","properties":{"task_id":{"type":"string"},"status":{"type":"string"}},"required":["task_id","status"]}`
	failureSchema = `{"type":"object","properties":{"error":{"type":"object"}},"required":["error"]}`
)

// outputSchema is what the structured content of a call looks like, nil when the agent
// does not say. It may be a handle or an error in place of the agent's result: a
// client that checks it must find them allowed.
func outputSchema(a *mesh.Agent) json.RawMessage {
	if len(a.OutputSchema) == 0 || a.Converses() {
		return nil
	}
	schema, kind := a.OutputSchema, ""
	if ofObject(schema) {
		kind = `"type":"object",`
	}
	// What a schema refers to by "#/..." is within itself, also inside of another.
	if has(schema, `"$ref"`) || has(schema, `"$dynamicRef"`) {
		var s map[string]json.RawMessage
		if json.Unmarshal(schema, &s) == nil && s["$id"] == nil {
			sum := sha256.Sum256(schema)
			s["$id"] = json.RawMessage(`"urn:agentmesh:` + a.Name + ":" + hex.EncodeToString(sum[:8]) + `"`)
			schema, _ = json.Marshal(s) // of what was JSON
		}
	}
	return json.RawMessage(`{` + kind + `"anyOf":[` + string(schema) + `,` + handleSchema + `,` + failureSchema + `]}`)
}

// objectsOnly leaves out of a list what clients of before do not take: there, structured
// content was an object.
func objectsOnly(next sdk.MethodHandler) sdk.MethodHandler {
	return func(ctx context.Context, method string, req sdk.Request) (sdk.Result, error) {
		res, err := next(ctx, method, req)
		list, ok := res.(*sdk.ListToolsResult)
		if err != nil || !ok || askedOf(ctx).modern() {
			return res, err
		}
		for i, tool := range list.Tools {
			if s, ok := tool.OutputSchema.(json.RawMessage); ok && !ofObject(s) {
				older := *tool
				older.OutputSchema, list.Tools[i] = nil, &older
			}
		}
		return res, nil
	}
}
