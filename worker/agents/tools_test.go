package agents_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/meshtest"
	"agentmesh/worker/agents"
	"agentmesh/worker/agents/llm/llmtest"
)

// A model calls the tools of an MCP server that its file allows; what the server says is
// what the model reads.
func TestAModelUsesTheToolsOfAServer(t *testing.T) {
	calls := 0
	s := sdk.NewServer(&sdk.Implementation{Name: "shop", Version: "1"}, nil)
	for _, name := range []string{"price", "delete"} {
		s.AddTool(&sdk.Tool{Name: name, Description: "The tool " + name + ".", InputSchema: json.RawMessage(`{"type":"object","required":["what"],"properties":{"what":{"type":"string"}}}`)},
			func(_ context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
				calls++
				return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "7 EUR, says " + req.Extra.Header.Get("Authorization")}}}, nil
			})
	}
	srv := httptest.NewServer(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, nil))
	defer srv.Close()
	specs, err := agents.Parse("agents.yaml", []byte(`
models: {default: {base_url: "http://model.test/v1", model: m}}
tools: {shop: {mcp: {url: "`+srv.URL+`", headers: {Authorization: "Bearer ${KEY}-of-the-shop"}}, allow: [price]}}
agents: [{name: buyer, llm: {tools: [shop]}}]
`), env)
	if err != nil {
		t.Fatal(err)
	}
	model := llmtest.New(llmtest.Replies(llmtest.Reply{Calls: []llmtest.Call{{Name: "shop__price", Arguments: `{"what":"tea"}`}}}, llmtest.Reply{Text: "7"}))
	a, err := specs[0].Agent(agents.Options{Log: meshtest.Quiet(), Models: model})
	if err != nil {
		t.Fatal(err)
	}
	m := meshtest.New(t)
	m.Work(a)
	v := m.End(m.Create(`{"agent":"buyer","instruction":"What is tea?"}`))
	asked := model.Asked()
	if v.Status != "completed" || calls != 1 || len(asked) != 2 || strings.Join(asked[0].Tools(), " ") != "shop__price" {
		t.Fatalf("%s %+v, %d calls, %v", v.Status, v.Error, calls, asked)
	}
	if got := asked[1].Last().Content; got != "7 EUR, says Bearer ***-of-the-shop" {
		t.Errorf("the model read %q", got)
	}
}
