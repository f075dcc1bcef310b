package mcp

import (
	"encoding/json"
	"testing"

	exact "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// Whatever an agent's result is, a client can read what it becomes.
func FuzzResult(f *testing.F) {
	for _, s := range []string{`"x"`, `{"text":"x"}`, `{"content":[{"type":"text","text":"x"}]}`, `{"content":[{"type":"image"}]}`, `[1]`, `null`, ``, `{"content":[{"type":"resource_link","uri":"%"}]}`} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, modern bool) {
		if len(raw) > 0 && !json.Valid(raw) {
			return // a worker kept it as JSON
		}
		for name, r := range map[string]*sdk.CallToolResult{"shown": shown(raw, modern), "structured": structured(raw, modern)} {
			if b, err := json.Marshal(r); err != nil || !json.Valid(b) || b[0] != '{' || len(r.Content) == 0 {
				t.Errorf("%s %q: %s, %v", name, raw, b, err)
			}
		}
	})
}

// No body of a request makes the parser panic, and a method is the one that stands
// there by its exact name.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{},"_meta":{}}}`))
	f.Add([]byte(`{"method":1}`))
	f.Add([]byte(`{"method":"a","METHOD":"b","params":{"name":"a","Name":"b"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, ok := parse(Request{Body: body})
		if a == nil || ok && len(body) == 0 {
			t.Fatalf("%q", body)
		}
		if !ok {
			return
		}
		var whole map[string]jsontext.Value
		var method, name string
		if exact.Unmarshal(body, &whole) == nil {
			_ = exact.Unmarshal(whole["method"], &method)
			var params map[string]jsontext.Value
			_ = exact.Unmarshal(whole["params"], &params)
			_ = exact.Unmarshal(params["name"], &name)
		}
		if a.method != method || a.params.Name != name {
			t.Errorf("%q is read as %q of %q, want %q of %q", body, a.method, a.params.Name, method, name)
		}
		a.elicits()
		a.knowsTasks()
		(&endpoint{}).scopes(a)
	})
}

// Whatever schemas an agent has, it is a tool that the SDK takes, and its schema of
// results is JSON that is an object's where the agent's is.
func FuzzTool(f *testing.F) {
	for _, s := range []string{`{"type":"object"}`, `{"Type":"object"}`, `true`, `{"type":"object","properties":{"a":{"x-mcp-header":1}}}`, `{"$ref":"#/$defs/a","$defs":{"a":{}}}`, `{"type":"object","type":"string"}`, `[]`} {
		f.Add([]byte(s), "a greeting")
		f.Add([]byte(s), "")
	}
	f.Fuzz(func(t *testing.T, schema []byte, greeting string) {
		if !json.Valid(schema) {
			return // task.Definition refuses it
		}
		a := mesh.NewAgent(store.Definition{Definition: task.Definition{Name: "a-b", Greeting: greeting, InputSchema: schema, OutputSchema: schema}})
		tool := toolOf(a)
		sdk.NewServer(&sdk.Implementation{Name: "x"}, nil).AddTool(tool, nil)
		if b, err := json.Marshal(tool); err != nil || !json.Valid(b) {
			t.Errorf("%q: %s, %v", schema, b, err)
		}
		if out := outputSchema(a); out != nil && ofObject(out) != ofObject(schema) {
			t.Errorf("%q became %s", schema, out)
		}
	})
}

// Whatever a question's schema and a client's response are, the answer is JSON or is
// refused.
func FuzzForm(f *testing.F) {
	f.Add([]byte(`{"type":"object","properties":{"a":{"type":"string"}}}`), []byte(`{"a":"x"}`), "accept")
	f.Add([]byte(`{"type":"array"}`), []byte(`{"answer":"[1]"}`), "accept")
	f.Add([]byte(`null`), []byte(`{"answer":"x"}`), "decline")
	f.Fuzz(func(t *testing.T, schema, content []byte, action string) {
		if !json.Valid(schema) || !json.Valid(content) {
			return
		}
		w := task.Wait{Kind: task.WaitInput, Name: "q", Schema: schema}
		if b, err := json.Marshal(&sdk.ElicitParams{RequestedSchema: form(schema)}); err != nil || !json.Valid(b) {
			t.Errorf("%q: %s, %v", schema, b, err)
		}
		if v, err := (inputResponse{action, content}).value(w); err == nil && !json.Valid(v) {
			t.Errorf("%q with %q is %q", schema, content, v)
		}
	})
}
