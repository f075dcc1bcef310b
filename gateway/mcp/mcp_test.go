package mcp_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/pause"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

const (
	modern = "2026-07-28"
	accept = "application/json, text/event-stream"
)

// answer is a JSON-RPC answer.
type answer struct {
	Status int
	Result map[string]any
	Error  *struct {
		Code    int
		Message string
		Data    map[string]any
	}
}

// post sends a modern request. capabilities is a JSON object, params the members of
// another without its braces.
func post(t *testing.T, m *meshtest.Mesh, path, method, name, capabilities, params string, headers ...string) answer {
	t.Helper()
	if params != "" {
		params += ","
	}
	return send(t, m, path, method, name, params+`"_meta":{"io.modelcontextprotocol/protocolVersion":"`+modern+`","io.modelcontextprotocol/clientCapabilities":`+capabilities+`}`, headers...)
}

// send is post with what stands in _meta.
func send(t *testing.T, m *meshtest.Mesh, path, method, name, params string, headers ...string) answer {
	t.Helper()
	body := `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{` + params + `}}`
	headers = append([]string{"Accept", accept, "MCP-Protocol-Version", modern, "Mcp-Method", method}, headers...)
	if name != "" {
		headers = append(headers, "Mcp-Name", name)
	}
	return read(t, meshtest.Call(m.Gateway.Handler(), "POST", path, body, headers...))
}

func read(t *testing.T, w *httptest.ResponseRecorder) (a answer) {
	t.Helper()
	text := w.Body.String()
	if strings.HasPrefix(w.Header().Get("Content-Type"), "text/event-stream") {
		meshtest.ScanEvents(strings.NewReader(text), func(_, _, data string) { text = data })
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatalf("%d %s: %v", w.Code, meshtest.Clipped(w.Body.Bytes()), err)
	}
	a.Status = w.Code
	return a
}

const declared = `{"extensions":{"io.modelcontextprotocol/tasks":{}}}`

// call calls a tool.
func call(t *testing.T, m *meshtest.Mesh, tool, capabilities, arguments string, headers ...string) answer {
	t.Helper()
	return post(t, m, "/mcp", "tools/call", tool, capabilities, `"name":"`+tool+`","arguments":`+arguments, headers...)
}

func said(a answer) string {
	content, _ := a.Result["content"].([]any)
	if len(content) == 0 {
		return ""
	}
	first, _ := content[0].(map[string]any)
	text, _ := first["text"].(string)
	return text
}

// greeter greets by a schema of its own.
func greeter() agent.Agent {
	return agent.Agent{
		Definition: agent.Definition{Name: "greet-one", Description: "Greets", InputSchema: json.RawMessage(`{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}`)},
		Handler: func(_ context.Context, j *agent.Job) (any, error) {
			var in struct{ Name string }
			err := j.Bind(&in)
			return "Hello, " + in.Name + "!", err
		},
	}
}

// blocked is an agent that works until the test lets it go.
func blocked(t *testing.T) (a agent.Agent, free func()) {
	gate := make(chan struct{})
	var done bool
	free = func() {
		if !done {
			done = true
			close(gate)
		}
	}
	t.Cleanup(free)
	return meshtest.Named("blocked", func(ctx context.Context, _ *agent.Job) (any, error) {
		select {
		case <-gate:
			return "free", nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}), free
}

// clientOf connects the SDK's client.
func clientOf(t *testing.T, url string, o *sdk.ClientOptions) *sdk.ClientSession {
	t.Helper()
	s, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, o).Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: url, MaxRetries: -1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestAnAgentIsAToolOfAForeignClient(t *testing.T) {
	m := meshtest.New(t)
	m.Work(greeter())
	srv, _ := m.Serve()
	s := clientOf(t, srv.URL+"/mcp", nil)
	list, err := s.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	if want := []string{"greet_one", "mesh_task_answer", "mesh_task_cancel", "mesh_task_status"}; !slices.Equal(names, want) {
		t.Errorf("tools %v, want %v", names, want)
	}
	res, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: "greet_one", Arguments: map[string]any{"name": "Ada"}})
	if err != nil || res.IsError || len(res.Content) != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	if text, ok := res.Content[0].(*sdk.TextContent); !ok || text.Text != "Hello, Ada!" {
		t.Errorf("content %+v", res.Content[0])
	}
}

func TestALegacyClientCallsATool(t *testing.T) {
	m := meshtest.New(t)
	m.Work(greeter(), meshtest.Named("list", func(context.Context, *agent.Job) (any, error) { return []int{1, 2}, nil }))
	a := legacy(t, m, "initialize", `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}`)
	if a.Result["protocolVersion"] != "2025-11-25" {
		t.Errorf("initialize: %+v", a)
	}
	if a = legacy(t, m, "tools/call", `{"name":"greet_one","arguments":{"name":"Ada"}}`); said(a) != "Hello, Ada!" {
		t.Errorf("call: %+v", a)
	}
	a = legacy(t, m, "tools/call", `{"name":"list","arguments":{"instruction":"x"}}`)
	if wrapped, ok := a.Result["structuredContent"].(map[string]any); !ok || wrapped["result"] == nil {
		t.Errorf("a list is not wrapped: %+v", a)
	}
}

func TestArgumentsThatBreakTheSchemaAreRefusedWithPointers(t *testing.T) {
	m := meshtest.New(t)
	m.Work(greeter())
	a := call(t, m, "greet_one", `{}`, `{"name":7}`)
	if a.Error == nil || a.Error.Code != -32602 || a.Status != 400 {
		t.Fatalf("%+v", a)
	}
	errs, _ := a.Error.Data["errors"].([]any)
	if len(errs) != 1 || errs[0].(map[string]any)["pointer"] != "/arguments/name" {
		t.Errorf("data %+v", a.Error.Data)
	}
	if a = call(t, m, "nobody", `{}`, `{}`); a.Error == nil || a.Error.Code != -32602 {
		t.Errorf("an unknown tool: %+v", a)
	}
}

func TestAnAgentThatFailsIsAResultWithIsError(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Named("broken", func(context.Context, *agent.Job) (any, error) {
		return nil, &agent.Error{Code: "no_luck", Message: "It did not work.", Permanent: true}
	}))
	a := call(t, m, "broken", `{}`, `{"instruction":"x"}`)
	if a.Result["isError"] != true || !strings.HasPrefix(said(a), "no_luck: ") {
		t.Errorf("%+v", a)
	}
}

func TestACallOverItsHoldIsAnsweredWithTheTaskAndItsTools(t *testing.T) {
	m := meshtest.New(t)
	a, free := blocked(t)
	m.Work(a)
	got := call(t, m, "blocked", declared, `{"instruction":"x"}`)
	id, _ := got.Result["taskId"].(string)
	if got.Result["resultType"] != "task" || got.Result["status"] != "working" || id == "" {
		t.Fatalf("%+v", got)
	}
	state := call(t, m, "mesh_task_status", `{}`, `{"task_id":"`+id+`"}`)
	if s, ok := state.Result["structuredContent"].(map[string]any); !ok || s["task_id"] != id {
		t.Errorf("status: %+v", state)
	}
	free()
	if state = call(t, m, "mesh_task_status", `{}`, `{"task_id":"`+id+`","wait_seconds":20}`); said(state) != "free" {
		t.Errorf("the end: %+v", state)
	}
	done := post(t, m, "/mcp", "tasks/get", id, declared, `"taskId":"`+id+`"`)
	if done.Result["status"] != "completed" || done.Result["resultType"] != "complete" || done.Result["result"] == nil {
		t.Errorf("tasks/get: %+v", done)
	}
	read := post(t, m, "/mcp", "resources/read", "mesh://tasks/"+id+"/result", `{}`, `"uri":"mesh://tasks/`+id+`/result"`)
	if all, ok := read.Result["contents"].([]any); !ok || all[0].(map[string]any)["text"] != `"free"` {
		t.Errorf("resources/read: %+v", read)
	}
}

func TestATaskIsCanceledByTheExtensionAndAgain(t *testing.T) {
	m := meshtest.New(t)
	a, _ := blocked(t)
	m.Work(a)
	id, _ := call(t, m, "blocked", declared, `{"instruction":"x"}`).Result["taskId"].(string)
	for range 2 {
		if got := post(t, m, "/mcp", "tasks/cancel", id, declared, `"taskId":"`+id+`"`); got.Error != nil || got.Result["resultType"] != "complete" {
			t.Errorf("%+v", got)
		}
	}
	if got := post(t, m, "/mcp", "tasks/get", id, declared, `"taskId":"`+id+`"`); got.Result["status"] != "cancelled" {
		t.Errorf("%+v", got)
	}
}

func TestTheExtensionIsForThoseWhoDeclareIt(t *testing.T) {
	m := meshtest.New(t)
	if got := post(t, m, "/mcp", "tasks/get", "tsk_x", `{}`, `"taskId":"tsk_x"`); got.Error == nil || got.Error.Code != -32021 {
		t.Errorf("undeclared: %+v", got.Error)
	}
	if got := post(t, m, "/mcp", "tasks/get", "tsk_y", declared, `"taskId":"tsk_x"`); got.Error == nil || got.Error.Code != -32020 || got.Status != 400 {
		t.Errorf("another Mcp-Name: %d %+v", got.Status, got.Error)
	}
	unknown := "tsk_01981f4a-0000-7000-8000-000000000000"
	if got := post(t, m, "/mcp", "tasks/get", unknown, declared, `"taskId":"`+unknown+`"`); got.Error == nil || got.Error.Code != -32602 {
		t.Errorf("unknown: %+v", got.Error)
	}
	if got := post(t, m, "/mcp", "tasks/list", "", declared, ``); got.Error == nil || got.Error.Code != -32601 {
		t.Errorf("tasks/list: %+v", got.Error)
	}
}

// asker asks one question and says what was answered.
func asker() agent.Agent {
	return meshtest.Named("asker", func(ctx context.Context, j *agent.Job) (any, error) {
		v, err := agent.Ask[json.RawMessage](ctx, j, "sure", agent.Question{Prompt: "Sure?", Schema: json.RawMessage(`{"type":"object","properties":{"yes":{"type":"boolean"}},"required":["yes"]}`)})
		if err != nil {
			return nil, err
		}
		return json.RawMessage(`{"heard":` + string(v) + `}`), nil
	})
}

func TestAQuestionIsAFormWhoseAnswerGoesToTheSameTask(t *testing.T) {
	m := meshtest.New(t)
	m.Work(asker())
	asked := call(t, m, "asker", `{"elicitation":{}}`, `{"instruction":"x"}`)
	state, _ := asked.Result["requestState"].(string)
	if asked.Result["resultType"] != "input_required" || state == "" || asked.Result["inputRequests"].(map[string]any)["sure"] == nil {
		t.Fatalf("%+v", asked)
	}
	again := func(state, args string) answer {
		return post(t, m, "/mcp", "tools/call", "asker", `{"elicitation":{}}`, `"name":"asker","arguments":`+args+`,"requestState":"`+state+`","inputResponses":{"sure":{"action":"accept","content":{"yes":true}}}`)
	}
	for name, got := range map[string]answer{"tampered": again("A"+state, `{"instruction":"x"}`), "other arguments": again(state, `{"instruction":"y"}`)} {
		if got.Error == nil || got.Error.Code != -32602 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := again(state, `{"instruction":"x"}`); said(got) != `{"heard":{"yes":true}}` {
		t.Errorf("%+v", got)
	}
	if list := meshtest.Decode[struct{ Tasks []any }](t, m.Do("GET", "/tasks", "").Body); len(list.Tasks) != 1 {
		t.Errorf("%d tasks, want the one that asked", len(list.Tasks))
	}
}

func TestACallMayAnswerBeforeItIsAsked(t *testing.T) {
	m := meshtest.New(t)
	m.Work(asker())
	got := post(t, m, "/mcp", "tools/call", "asker", `{"elicitation":{}}`, `"name":"asker","arguments":{"instruction":"x"},"inputResponses":{"sure":{"action":"accept","content":{"yes":true}},"other":{"action":"accept"}}`)
	if said(got) != `{"heard":{"yes":true}}` {
		t.Errorf("%+v", got)
	}
}

func TestAQuestionToAClientThatCannotAskIsAnError(t *testing.T) {
	m := meshtest.New(t)
	m.Work(asker())
	if got := call(t, m, "asker", `{}`, `{"instruction":"x"}`); got.Error == nil || got.Error.Code != -32021 || got.Status != 400 {
		t.Errorf("%+v", got)
	}
}

func TestATaskThatAsksIsAnsweredByTheExtension(t *testing.T) {
	m := meshtest.New(t)
	m.Work(asker())
	id, _ := call(t, m, "asker", both, `{"instruction":"x"}`).Result["taskId"].(string)
	get := func() answer { return post(t, m, "/mcp", "tasks/get", id, both, `"taskId":"`+id+`"`) }
	natstest.Until(t, "the question", func() bool { return get().Result["status"] == "input_required" })
	if got := get(); got.Result["inputRequests"].(map[string]any)["sure-0"] == nil {
		t.Errorf("%+v", got)
	}
	got := post(t, m, "/mcp", "tasks/update", id, both, `"taskId":"`+id+`","inputResponses":{"sure-0":{"action":"accept","content":{"yes":true}},"other":{"action":"accept"}}`)
	if got.Error != nil {
		t.Fatalf("%+v", got.Error)
	}
	natstest.Until(t, "the end", func() bool { return get().Result["status"] == "completed" })
}

func TestAModernClientThatLeavesCancelsAndALegacyOneDoesNot(t *testing.T) {
	for version, want := range map[string]task.State{modern: task.Canceled, "2025-11-25": task.Processing} {
		m := meshtest.New(t)
		a, free := blocked(t)
		m.Work(a)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			defer func() { _ = recover() }() // an answer that nobody reads is aborted
			body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"blocked","arguments":{"instruction":"x"}`
			if version == modern {
				body += `,"_meta":{"io.modelcontextprotocol/protocolVersion":"` + modern + `","io.modelcontextprotocol/clientCapabilities":{}}`
			}
			r := httptest.NewRequestWithContext(ctx, "POST", "/mcp", strings.NewReader(body+"}}"))
			for name, value := range map[string]string{"Content-Type": "application/json", "Accept": accept, "MCP-Protocol-Version": version, "Mcp-Method": "tools/call", "Mcp-Name": "blocked"} {
				r.Header.Set(name, value)
			}
			m.Gateway.Handler().ServeHTTP(httptest.NewRecorder(), r)
		}()
		status := func() (task.State, bool) {
			list := meshtest.Decode[struct {
				Tasks []struct{ Status task.State }
			}](t, m.Do("GET", "/tasks", "").Body)
			if len(list.Tasks) == 0 {
				return "", false
			}
			return list.Tasks[0].Status, true
		}
		natstest.Until(t, "the task runs", func() bool { s, _ := status(); return s == task.Processing })
		cancel()
		natstest.Until(t, version+": "+string(want), func() bool { s, _ := status(); return s == want })
		free()
		<-ended
	}
}

func TestProgressIsToldWhileACallIsHeld(t *testing.T) {
	m := meshtest.New(t)
	told := make(chan string)
	m.Work(meshtest.Named("steps", func(ctx context.Context, j *agent.Job) (any, error) {
		for _, percent := range []int{0, 30, 20} { // what falls is not told
			j.Progress(percent, "")
			if !pause.For(ctx, 50*time.Millisecond) {
				return nil, ctx.Err()
			}
		}
		j.Progress(50, "half")
		select {
		case <-told:
		case <-ctx.Done():
		}
		return "done", nil
	}))
	srv, _ := m.Serve()
	heard := make(chan *sdk.ProgressNotificationParams, 10)
	s := clientOf(t, srv.URL+"/mcp", &sdk.ClientOptions{ProgressNotificationHandler: func(_ context.Context, r *sdk.ProgressNotificationClientRequest) { heard <- r.Params }})
	p := &sdk.CallToolParams{Name: "steps", Arguments: map[string]any{"instruction": "x"}}
	p.SetProgressToken("tok")
	go func() {
		for _, want := range []float64{0, 30} {
			if got := <-heard; got.Progress != want {
				t.Errorf("progress %+v, want %v", got, want)
			}
		}
		got := <-heard
		if got.Progress != 50 || got.Total != 100 || got.Message != "half" {
			t.Errorf("progress %+v", got)
		}
		close(told)
	}()
	if res, err := s.CallTool(t.Context(), p); err != nil || res.IsError {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestWhoMayNotWriteTasksCallsNoTool(t *testing.T) {
	m := meshtest.New(t)
	m.Work(greeter())
	m.Asks = meshtest.Callers{"reader": auth.Caller{Tenant: "acme", Scopes: []auth.Scope{auth.AgentsRead}}}
	m.Gateway = m.NewGateway(m.Store)
	w := meshtest.Call(m.Gateway.Handler(), "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"greet_one","arguments":{"name":"x"}}}`, append([]string{"Accept", accept}, meshtest.As("reader")...)...)
	if w.Code != 403 || !strings.Contains(w.Header().Get("WWW-Authenticate"), "insufficient_scope") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestOneKeyMakesOneTask(t *testing.T) {
	m := meshtest.New(t)
	m.Work(greeter())
	for range 2 {
		if a := call(t, m, "greet_one", `{}`, `{"name":"x"}`, "Idempotency-Key", "k1"); said(a) != "Hello, x!" {
			t.Errorf("%+v", a)
		}
	}
	if a := call(t, m, "greet_one", `{}`, `{"name":"y"}`, "Idempotency-Key", "k1"); a.Error == nil || a.Error.Data["code"] != "idempotency_key_reused" {
		t.Errorf("another request with the key: %+v", a)
	}
	list := meshtest.Decode[struct{ Tasks []any }](t, m.Do("GET", "/tasks", "").Body)
	if len(list.Tasks) != 1 {
		t.Errorf("%d tasks", len(list.Tasks))
	}
}
