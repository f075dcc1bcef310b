package mcp_test

import (
	"context"
	"encoding/json"
	"os"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/meshtest"
)

// TestMain is a server of tools on standard input and output where a test starts this
// program as one.
func TestMain(m *testing.M) {
	if mark := os.Getenv("TOOLS"); mark != "" {
		_ = tools(&book{}).Run(context.Background(), &sdk.StdioTransport{})
		os.Exit(0)
	}
	meshtest.Main(m)
}

// object is a schema of an object.
func object(properties string, required ...string) json.RawMessage {
	raw, _ := json.Marshal(required)
	if required == nil {
		raw = []byte("[]")
	}
	return json.RawMessage(`{"type":"object","properties":{` + properties + `},"required":` + string(raw) + `}`)
}
