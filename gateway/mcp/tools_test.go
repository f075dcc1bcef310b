package mcp_test

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"agentmesh/shared/manualtest"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/schema"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

func TestGoldenTools(t *testing.T) {
	m := meshtest.New(t)
	schemed, talk := meshtest.Named("has-a-schema", meshtest.Says("x")), meshtest.Counter()
	schemed.Description, schemed.InputSchema = "Counts", json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}}}`)
	yes, no := true, false
	full, text, refers := meshtest.Named("says-all", meshtest.Says("x")), meshtest.Named("says-text", meshtest.Says("x")), meshtest.Named("refers", meshtest.Says("x"))
	full.OutputSchema = json.RawMessage(`{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}`)
	full.Annotations = task.Annotations{ReadOnly: &yes, Destructive: &no, Idempotent: &yes, OpenWorld: &no}
	text.OutputSchema = json.RawMessage(`{"type":"string"}`)
	refers.OutputSchema = json.RawMessage(`{"type":"object","properties":{"a":{"$ref":"#/$defs/a"}},"$defs":{"a":{"type":"string"}}}`)
	m.Work(schemed, talk, meshtest.Named("plain", meshtest.Says("x")), full, text, refers)
	raw, err := json.MarshalIndent(post(t, m, "/mcp", "tools/list", "", "{}", "").Result["tools"], "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	manualtest.File(t, "testdata/tools.json", string(raw)+"\n")
}

// legacy sends a request of the version before.
func legacy(t *testing.T, m *meshtest.Mesh, method, params string) answer {
	t.Helper()
	return read(t, meshtest.Call(m.Gateway.Handler(), "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":`+params+`}`, "Accept", accept, "MCP-Protocol-Version", "2025-11-25"))
}

func TestStructuredContentIsWhatTheToolSays(t *testing.T) {
	m := meshtest.New(t)
	object, words := meshtest.Named("object", meshtest.Says("x")), meshtest.Named("words", meshtest.Says("two words"))
	object.Handler = func(_ context.Context, j *agent.Job) (any, error) {
		if j.Instruction == "fail" {
			return nil, &agent.Error{Code: "no_luck", Message: "no", Permanent: true}
		}
		return map[string]any{"text": "t"}, nil
	}
	object.OutputSchema, words.OutputSchema = json.RawMessage(`{"type":"object","required":["text"],"properties":{"text":{"$ref":"#/$defs/t"}},"$defs":{"t":{"type":"string"}}}`), json.RawMessage(`{"type":"string"}`)
	waits, free := blocked(t)
	defer free()
	waits.OutputSchema = object.OutputSchema
	m.Work(object, words, waits)
	schemas := func(list answer) map[string]*jsonschema.Schema {
		all := map[string]*jsonschema.Schema{}
		for _, one := range list.Result["tools"].([]any) {
			tool := one.(map[string]any)
			if raw, err := json.Marshal(tool["outputSchema"]); err == nil && string(raw) != "null" {
				if all[tool["name"].(string)], err = schema.Compile(raw); err != nil {
					t.Errorf("%s: %v", raw, err)
				}
			}
		}
		return all
	}
	now := schemas(post(t, m, "/mcp", "tools/list", "", "{}", ""))
	before := schemas(legacy(t, m, "tools/list", "{}"))
	if now["words"] == nil || before["words"] != nil || before["object"] == nil {
		t.Fatalf("%v, before %v", now, before)
	}
	id, _ := call(t, m, "blocked", declared, `{"instruction":"x"}`).Result["taskId"].(string)
	handle := call(t, m, "mesh_task_status", "{}", `{"task_id":"`+id+`"}`)
	for _, tt := range []struct {
		name string
		got  answer
		want string
	}{
		{"object", call(t, m, "object", "{}", `{"instruction":"x"}`), `{"text":"t"}`},
		{"object", call(t, m, "object", "{}", `{"instruction":"fail"}`), `{"error":{"code":"no_luck","message":"no"}}`},
		{"words", call(t, m, "words", "{}", `{"instruction":"x"}`), `"two words"`},
		{"object", legacy(t, m, "tools/call", `{"name":"object","arguments":{"instruction":"x"}}`), `{"text":"t"}`},
		{"blocked", handle, `{"status":"processing","task_id":"` + id + `"}`},
	} {
		got, err := json.Marshal(tt.got.Result["structuredContent"])
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if err := now[tt.name].Validate(tt.got.Result["structuredContent"]); err != nil {
			t.Errorf("%s: %s: %v", tt.name, got, err)
		}
	}
	if old := legacy(t, m, "tools/call", `{"name":"words","arguments":{"instruction":"x"}}`); said(old) != "two words" || old.Result["structuredContent"].(map[string]any)["result"] != "two words" {
		t.Errorf("%+v", old)
	}
}

func TestAnAgentMayRefuseClientsThatKnowNoTasks(t *testing.T) {
	m := meshtest.New(t)
	a := meshtest.Named("long", meshtest.Says("x"))
	a.AsTool.Tasks = task.TasksRequired
	m.Work(a)
	got := call(t, m, "long", "{}", `{"instruction":"x"}`)
	if got.Error == nil || got.Error.Code != -32021 || got.Error.Data["requiredCapabilities"] == nil || got.Status != 400 {
		t.Errorf("%+v", got)
	}
	if list := meshtest.Decode[struct{ Tasks []any }](t, m.Do("GET", "/tasks", "").Body); len(list.Tasks) != 0 {
		t.Error("a refused call is a task")
	}
	if got = call(t, m, "long", declared, `{"instruction":"x"}`); got.Error != nil {
		t.Errorf("%+v", got.Error)
	}
}

// Names of members in a schema are exact, and texts may be escaped.
func TestSchemasThatMisleadMakeToolsAllTheSame(t *testing.T) {
	m := meshtest.New(t)
	var all []agent.Agent
	for i, s := range []string{
		`{"type":"string","Type":"object"}`, `{"TYPE":"object"}`, `{"type":["object"]}`, `true`,
		`{"type":"object","properties":{"a":{"type":"object","\u0078-mcp-header":"A"}}}`, `{"type":"object","properties":{"a":{"x-mcp-header":" bad name"}}}`,
	} {
		a := meshtest.Named("odd-"+strconv.Itoa(i), meshtest.Says("x"))
		a.InputSchema, a.OutputSchema = json.RawMessage(s), json.RawMessage(s)
		all = append(all, a)
	}
	m.Work(all...)
	if list, _ := post(t, m, "/mcp", "tools/list", "", "{}", "").Result["tools"].([]any); len(list) != len(all)+3 {
		t.Errorf("%d tools", len(list))
	}
}

func TestAnAgentConversesAlsoWithoutAGreeting(t *testing.T) {
	m := meshtest.New(t)
	a := meshtest.Counter()
	a.Greeting, a.Conversation = "", true
	m.Work(a)
	if got := call(t, m, "counter", "{}", `{"text":"a"}`); said(got) != "1 a" {
		t.Errorf("%+v", got)
	}
}

func TestATalkOverToolsIsASession(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Counter())
	first := call(t, m, "counter", "{}", `{"text":"a"}`)
	structured, _ := first.Result["structuredContent"].(map[string]any)
	id, _ := structured["session_id"].(string)
	if said(first) != "1 a" || !strings.HasPrefix(id, "ses_") {
		t.Fatalf("%+v", first)
	}
	if second := call(t, m, "counter", "{}", `{"text":"b","session_id":"`+id+`"}`); said(second) != "2 b" {
		t.Errorf("%+v", second)
	}
	if other := call(t, m, "counter", "{}", `{"text":"c"}`); said(other) != "1 c" {
		t.Errorf("without a session: %+v", other)
	}
	gone := call(t, m, "counter", "{}", `{"text":"d","session_id":"ses_01a21a54c5197ef7b5531d46b5a7f6cf"}`)
	if gone.Result["isError"] != true || !strings.Contains(said(gone), "Leave session_id out") {
		t.Errorf("a session that is not there: %+v", gone)
	}
}
