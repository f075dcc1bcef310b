package a2a_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/manualtest"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agent"
)

func TestMain(m *testing.M) { meshtest.Main(m) }

// agents of the tests: says echoes its instruction, asks wants a yes, holds never ends.
func agents() []agent.Agent {
	asks := meshtest.Named("asks", func(ctx context.Context, job *agent.Job) (any, error) {
		yes, err := agent.Ask[bool](ctx, job, "sure", agent.Question{Prompt: "Are you sure?", Schema: json.RawMessage(`{"type":"boolean"}`)})
		return map[string]any{"said": yes}, err
	})
	return []agent.Agent{
		meshtest.Named("says", func(_ context.Context, job *agent.Job) (any, error) {
			if len(job.Input) > 0 {
				return job.Input, nil
			}
			return job.Instruction, nil
		}),
		meshtest.Named("holds", func(ctx context.Context, _ *agent.Job) (any, error) { <-ctx.Done(); return nil, ctx.Err() }),
		meshtest.Named("fails", func(context.Context, *agent.Job) (any, error) {
			return nil, agent.Permanent(errors.New("no luck"))
		}),
		asks,
	}
}

// rpc calls a method of an agent.
func rpc(m *meshtest.Mesh, name, method, params string, headers ...string) *httptest.ResponseRecorder {
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params)
	return m.Do("POST", "/agents/"+name+"/a2a/rpc", body, append([]string{"A2A-Version", "1.0"}, headers...)...)
}

type taskView struct {
	ID        string
	ContextID string
	Status    struct {
		State   string
		Message *struct {
			Parts []struct {
				Text string
				Data json.RawMessage
			}
		}
	}
	Artifacts []struct {
		ArtifactID string
		Parts      []struct {
			Text string
			Data json.RawMessage
		}
	}
	History []struct {
		MessageID, Role string
		Parts           []struct {
			Text string
			Data json.RawMessage
		}
	}
}

type answer struct {
	ID     json.RawMessage
	Result json.RawMessage
	Error  *struct {
		Code    int
		Message string
		Data    []struct {
			Reason          string
			Metadata        map[string]string
			FieldViolations []struct{ Field, Description string }
		}
	}
}

func sent(t *testing.T, w *httptest.ResponseRecorder) taskView {
	t.Helper()
	var out struct{ Task taskView }
	a := meshtest.Decode[answer](t, w.Body)
	if a.Error != nil || json.Unmarshal(a.Result, &out) != nil || out.Task.ID == "" {
		t.Fatalf("answer %d: %s %+v", w.Code, a.Result, a.Error)
	}
	return out.Task
}

func got(t *testing.T, w *httptest.ResponseRecorder) (v taskView) {
	t.Helper()
	a := meshtest.Decode[answer](t, w.Body)
	if a.Error != nil || json.Unmarshal(a.Result, &v) != nil {
		t.Fatalf("answer %d: %s %+v", w.Code, a.Result, a.Error)
	}
	return v
}

func text(s string) string {
	return `{"message":{"messageId":"m1","role":"ROLE_USER","parts":[{"text":` + fmt.Sprintf("%q", s) + `}]}}`
}

func later(s string) string {
	return strings.TrimSuffix(text(s), "}") + `,"configuration":{"returnImmediately":true}}`
}

func TestGoldenCardIsPublicAndSaysWhereItIs(t *testing.T) {
	m := meshtest.New(t)
	m.Work(agents()...)
	w := m.Do("GET", "/agents/says/a2a/.well-known/agent-card.json", "")
	for _, h := range []string{"ETag", "Last-Modified", "Cache-Control"} {
		if w.Header().Get(h) == "" {
			t.Errorf("the card has no %s", h)
		}
	}
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("card = %d %s", w.Code, w.Body)
	}
	var pretty any
	_ = json.Unmarshal(regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAll(w.Body.Bytes(), []byte("127.0.0.1:8080")), &pretty)
	card, _ := json.MarshalIndent(pretty, "", "  ")
	manualtest.File(t, "testdata/card.json", string(card)+"\n")
	if again := m.Do("GET", "/agents/says/a2a/.well-known/agent-card.json", "", "If-None-Match", w.Header().Get("ETag")); again.Code != 304 {
		t.Errorf("the card that is known = %d", again.Code)
	}
	if w := m.Do("GET", "/agents/nobody/a2a/.well-known/agent-card.json", ""); w.Code != 404 {
		t.Errorf("the card of nobody = %d", w.Code)
	}
}

func TestAMessageIsATaskOfEveryFace(t *testing.T) {
	m := meshtest.New(t)
	m.Work(agents()...)
	v := sent(t, rpc(m, "says", "SendMessage", text("hello")))
	if v.Status.State != "TASK_STATE_COMPLETED" || len(v.Artifacts) != 1 || v.Artifacts[0].Parts[0].Text != "hello" || v.History[0].MessageID != "m1" {
		t.Errorf("task = %+v", v)
	}
	if over := m.Get(v.ID); over.Status != "completed" || string(over.Result) != `"hello"` {
		t.Errorf("over HTTP = %+v", over)
	}
	if again := got(t, rpc(m, "says", "GetTask", `{"id":"`+v.ID+`","history_length":0}`)); again.ContextID != v.ContextID || len(again.History) != 0 {
		t.Errorf("GetTask = %+v", again)
	}
	id := m.Create(`{"agent":"says","instruction":"by HTTP"}`)
	m.End(id)
	w := m.Do("GET", "/agents/says/a2a/v1/tasks/"+id, "", "A2A-Version", "1.0")
	if one := meshtest.Decode[taskView](t, w.Body); one.Status.State != "TASK_STATE_COMPLETED" || one.ContextID == "" {
		t.Errorf("over HTTP+JSON = %d %+v", w.Code, one)
	}
	w = m.Do("POST", "/agents/says/a2a/v1/message:send", `{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"data":{"n":12345678901234567}}]}}`,
		"A2A-Version", "1.0", "Content-Type", "application/a2a+json", "Accept", "application/a2a+json")
	var out struct{ Task taskView }
	_ = json.Unmarshal(w.Body.Bytes(), &out)
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/a2a+json" || len(out.Task.Artifacts) != 1 || string(out.Task.Artifacts[0].Parts[0].Data) != `{"n":12345678901234567}` {
		t.Errorf("message:send = %d %s", w.Code, w.Body)
	}
	if v := sent(t, rpc(m, "fails", "SendMessage", text("x"))); v.Status.State != "TASK_STATE_FAILED" || v.Status.Message.Parts[0].Text != "no luck" {
		t.Errorf("failed task = %+v", v)
	}
}

func TestACanceledTaskIsCanceledOnEveryFace(t *testing.T) {
	m := meshtest.New(t)
	m.Work(agents()...)
	v := sent(t, rpc(m, "holds", "SendMessage", later("x")))
	if c := got(t, rpc(m, "holds", "CancelTask", `{"id":"`+v.ID+`"}`)); c.Status.State != "TASK_STATE_CANCELED" {
		t.Errorf("canceled = %+v", c)
	}
	if over := m.Get(v.ID); over.Status != "canceled" {
		t.Errorf("over HTTP = %+v", over)
	}
	if a := meshtest.Decode[answer](t, rpc(m, "holds", "CancelTask", `{"id":"`+v.ID+`"}`).Body); a.Error == nil || a.Error.Code != -32002 {
		t.Errorf("canceled twice = %+v", a)
	}
}

func TestEveryErrorHasTheFormOfItsBinding(t *testing.T) {
	m := meshtest.New(t)
	m.Work(agents()...)
	const none = `{"id":"tsk_01a20cd9e03b7276be6a181888e33e52"}`
	for _, tt := range []struct {
		name, method, params string
		code                 int
		reason               string
	}{
		{"no such task", "GetTask", none, -32001, "TASK_NOT_FOUND"},
		{"no id", "GetTask", `{}`, -32602, "INVALID_PARAMS"},
		{"no such method", "Nothing", `{}`, -32601, "METHOD_NOT_FOUND"},
		{"no message", "SendMessage", `{}`, -32602, "INVALID_PARAMS"},
		{"no parts", "SendMessage", `{"message":{"messageId":"a","role":"ROLE_USER","parts":[]}}`, -32602, "INVALID_PARAMS"},
		{"a part of 0.3", "SendMessage", `{"message":{"messageId":"a","role":"ROLE_USER","parts":[{"kind":"text"}]}}`, -32602, "INVALID_PARAMS"},
		{"a role of 0.3", "SendMessage", `{"message":{"messageId":"a","role":"user","parts":[{"text":"a"}]}}`, -32602, "INVALID_PARAMS"},
		{"params are a list", "SendMessage", `[]`, -32602, "INVALID_PARAMS"},
		{"an unknown task", "SendMessage", `{"message":{"taskId":"tsk_01a20cd9e03b7276be6a181888e33e52","messageId":"a","role":"ROLE_USER","parts":[{"text":"a"}]}}`, -32001, "TASK_NOT_FOUND"},
		{"modes of nobody", "SendMessage", strings.TrimSuffix(text("x"), "}") + `,"configuration":{"acceptedOutputModes":["image/png"]}}`, -32005, "CONTENT_TYPE_NOT_SUPPORTED"},
		{"push", "CreateTaskPushNotificationConfig", `{"taskId":"x","url":"https://example.com"}`, -32001, "TASK_NOT_FOUND"},
		{"extended card", "GetExtendedAgentCard", `{}`, -32004, "UNSUPPORTED_OPERATION"},
		{"bad page", "ListTasks", `{"pageSize":101}`, -32602, "INVALID_PARAMS"},
		{"bad token", "ListTasks", `{"pageToken":"x"}`, -32602, "INVALID_PARAMS"},
		{"another tenant", "GetTask", `{"id":"tsk_01a20cd9e03b7276be6a181888e33e52","tenant":"bob"}`, -32001, "TASK_NOT_FOUND"},
		{"a stream of nothing", "SubscribeToTask", none, -32001, "TASK_NOT_FOUND"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := rpc(m, "says", tt.method, tt.params)
			a := meshtest.Decode[answer](t, w.Body)
			if a.Error == nil || a.Error.Code != tt.code || a.Error.Data[0].Reason != tt.reason || a.Error.Message == "" || string(a.ID) != "1" {
				t.Errorf("%d %+v, want %d %s", w.Code, a.Error, tt.code, tt.reason)
			}
			if media := w.Header().Get("Content-Type"); media != "application/json" {
				t.Errorf("content type %s", media)
			}
		})
	}
	for _, tt := range []struct {
		name, body string
		headers    []string
		code       int
	}{
		{"no version", `{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{}}`, nil, -32009},
		{"another version", `{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{}}`, []string{"A2A-Version", "0.3"}, -32009},
		{"no JSON", `{`, []string{"A2A-Version", "1.0"}, -32700},
		{"a batch", `[]`, []string{"A2A-Version", "1.0"}, -32600},
		{"not 2.0", `{"id":1,"method":"GetTask"}`, []string{"A2A-Version", "1.0"}, -32600},
		{"a form", `a=b`, []string{"A2A-Version", "1.0", "Content-Type", "text/plain"}, -32005},
	} {
		w := m.Do("POST", "/agents/says/a2a/rpc/", tt.body, tt.headers...)
		if a := meshtest.Decode[answer](t, w.Body); a.Error == nil || a.Error.Code != tt.code {
			t.Errorf("%s: %d %+v, want %d", tt.name, w.Code, a.Error, tt.code)
		}
	}
	for _, tt := range []struct {
		method, path, body string
		status             int
		grpc               string
	}{
		{"GET", "/tasks/tsk_01a20cd9e03b7276be6a181888e33e52", "", 404, "NOT_FOUND"},
		{"POST", "/tasks/tsk_01a20cd9e03b7276be6a181888e33e52:cancel", "", 404, "NOT_FOUND"},
		{"GET", "/tasks/tsk_01a20cd9e03b7276be6a181888e33e52:subscribe", "", 404, "NOT_FOUND"},
		{"POST", "/message:send", `{}`, 400, "INVALID_ARGUMENT"},
		{"GET", "/tasks?pageSize=x", "", 400, "INVALID_ARGUMENT"},
		{"GET", "/nothing", "", 404, "UNIMPLEMENTED"},
		{"GET", "/extendedAgentCard", "", 400, "FAILED_PRECONDITION"},
	} {
		w := m.Do(tt.method, "/agents/says/a2a/v1"+tt.path, tt.body, "A2A-Version", "1.0")
		var e struct {
			Error struct {
				Code   int
				Status string
			}
		}
		if json.Unmarshal(w.Body.Bytes(), &e) != nil || w.Code != tt.status || e.Error.Code != tt.status || e.Error.Status != tt.grpc {
			t.Errorf("%s %s = %d %s, want %d %s", tt.method, tt.path, w.Code, w.Body, tt.status, tt.grpc)
		}
	}
	if w := m.Do("POST", "/agents/says/a2a/v1/message:send", `{}`, "A2A-Version", "1.0", "Content-Type", "text/plain"); w.Code != 415 {
		t.Errorf("text over HTTP+JSON = %d %s", w.Code, w.Body)
	}
}

func TestAQuestionIsAnsweredWithAMessage(t *testing.T) {
	m := meshtest.New(t)
	m.Work(agents()...)
	v := sent(t, rpc(m, "asks", "SendMessage", text("x")))
	if v.Status.State != "TASK_STATE_INPUT_REQUIRED" || v.Status.Message.Parts[0].Text != "Are you sure?" || !strings.Contains(string(v.Status.Message.Parts[1].Data), `"name":"sure"`) {
		t.Fatalf("question = %+v", v)
	}
	reply := func(words string) string {
		return `{"message":{"messageId":"m2","role":"ROLE_USER","taskId":"` + v.ID + `","contextId":"` + v.ContextID + `","parts":[{"text":"` + words + `"}]}}`
	}
	if a := meshtest.Decode[answer](t, rpc(m, "asks", "SendMessage", reply("maybe")).Body); a.Error == nil || a.Error.Code != -32602 || len(a.Error.Data) < 2 {
		t.Errorf("an answer against the schema = %+v", a.Error)
	}
	if v := sent(t, rpc(m, "asks", "SendMessage", reply("yes"))); v.Status.State != "TASK_STATE_COMPLETED" || string(v.Artifacts[0].Parts[0].Data) != `{"said":true}` {
		t.Errorf("answered = %+v", v)
	}
	if a := meshtest.Decode[answer](t, rpc(m, "asks", "SendMessage", reply("yes")).Body); a.Error == nil || a.Error.Code != -32004 {
		t.Errorf("an answer to a task that has ended = %+v", a.Error)
	}
}

// frames reads the events of a stream.
func frames(t *testing.T, w *httptest.ResponseRecorder) (states []string) {
	t.Helper()
	for line := range strings.Lines(w.Body.String()) {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var a answer
		var e struct {
			Task           *taskView
			StatusUpdate   *taskView
			ArtifactUpdate *struct{ Artifact struct{ ArtifactID string } }
		}
		if err := json.Unmarshal([]byte(data), &a); err != nil {
			t.Fatal(err)
		}
		if a.Result == nil {
			a.Result = json.RawMessage(data)
		}
		switch _ = json.Unmarshal(a.Result, &e); {
		case e.Task != nil:
			states = append(states, "task")
		case e.StatusUpdate != nil:
			states = append(states, e.StatusUpdate.Status.State)
		case e.ArtifactUpdate != nil:
			states = append(states, e.ArtifactUpdate.Artifact.ArtifactID)
		}
	}
	return states
}

func TestAStreamBeginsWithTheTaskAndEndsWithItsOutcome(t *testing.T) {
	m := meshtest.New(t)
	begun := make(chan struct{}, 1)
	slow := meshtest.Named("slow", func(ctx context.Context, job *agent.Job) (any, error) {
		<-begun
		_ = job.Milestone(ctx, "half", "", nil)
		return "done", nil
	})
	m.Work(slow)
	done := make(chan *httptest.ResponseRecorder)
	go func() { done <- rpc(m, "slow", "SendStreamingMessage", text("x")) }()
	natstest.Until(t, "the task runs", func() bool {
		return strings.Contains(m.Do("GET", "/tasks?status=processing", "").Body.String(), "tsk_")
	})
	time.AfterFunc(0, func() { begun <- struct{}{} })
	w := <-done
	all := strings.Join(frames(t, w), " ")
	if w.Code != http.StatusOK || !strings.HasPrefix(all, "task ") || !strings.HasSuffix(all, " result TASK_STATE_COMPLETED") || !strings.Contains(all, "TASK_STATE_WORKING") {
		t.Errorf("stream %d = %s", w.Code, all)
	}
	if w := m.Do("POST", "/agents/slow/a2a/v1/message:stream", `{}`, "A2A-Version", "1.0"); w.Code != 400 || !strings.Contains(w.Body.String(), `"error"`) {
		t.Errorf("a stream that is refused = %d %s", w.Code, w.Body)
	}
}

func TestAListHasTheTasksOfAContextInPages(t *testing.T) {
	m := meshtest.New(t)
	m.Work(agents()...)
	for range 3 {
		sent(t, rpc(m, "says", "SendMessage", `{"message":{"contextId":"mine","messageId":"m","role":"ROLE_USER","parts":[{"text":"a"}]}}`))
	}
	sent(t, rpc(m, "says", "SendMessage", text("another context")))
	type list struct {
		Tasks         []taskView
		NextPageToken *string
		TotalSize     int
	}
	page := func(params string) (l list) {
		a := meshtest.Decode[answer](t, rpc(m, "says", "ListTasks", params).Body)
		if a.Error != nil || json.Unmarshal(a.Result, &l) != nil || l.Tasks == nil || l.NextPageToken == nil {
			t.Fatalf("list = %s %+v", a.Result, a.Error)
		}
		return l
	}
	first := page(`{"contextId":"mine","pageSize":2}`)
	if len(first.Tasks) != 2 || first.TotalSize != 3 || *first.NextPageToken == "" || len(first.Tasks[0].Artifacts) != 0 {
		t.Fatalf("first page = %+v", first)
	}
	if rest := page(`{"contextId":"mine","pageSize":2,"pageToken":"` + *first.NextPageToken + `"}`); len(rest.Tasks) != 1 || *rest.NextPageToken != "" || rest.TotalSize != 3 {
		t.Errorf("second page = %+v", rest)
	}
	if all := page(`{"contextId":"mine","pageSize":3}`); len(all.Tasks) != 3 || *all.NextPageToken != "" {
		t.Errorf("a page that has all of them = %+v", all)
	}
	if none := page(`{"status":"TASK_STATE_WORKING"}`); len(none.Tasks) != 0 {
		t.Errorf("working = %+v", none)
	}
}

func TestTheFaceAsksWhoCallsAndForWhat(t *testing.T) {
	m := meshtest.New(t)
	m.Ask(meshtest.Callers{
		"ann":   {Tenant: "ann", Subject: "ann", Scopes: []auth.Scope{auth.All}},
		"bob":   {Tenant: "bob", Subject: "bob", Scopes: []auth.Scope{auth.All}},
		"reads": {Tenant: "ann", Subject: "reads", Scopes: []auth.Scope{auth.TasksRead}},
	})
	m.Work(agents()...)
	if w := rpc(m, "says", "SendMessage", text("x")); w.Code != 401 || w.Header().Get("WWW-Authenticate") == "" {
		t.Errorf("a stranger = %d %s", w.Code, w.Body)
	}
	if w := rpc(m, "says", "SendMessage", text("x"), meshtest.As("reads")...); w.Code != 403 {
		t.Errorf("a reader that writes = %d %s", w.Code, w.Body)
	}
	v := sent(t, rpc(m, "says", "SendMessage", text("x"), meshtest.As("ann")...))
	for _, method := range []string{"GetTask", "CancelTask", "SubscribeToTask"} {
		if a := meshtest.Decode[answer](t, rpc(m, "says", method, `{"id":"`+v.ID+`"}`, meshtest.As("bob")...).Body); a.Error == nil || a.Error.Code != -32001 {
			t.Errorf("%s of another tenant = %+v", method, a)
		}
	}
	if w := m.Do("GET", "/agents/says/a2a/.well-known/agent-card.json", ""); w.Code != 200 || !strings.Contains(w.Body.String(), "httpAuthSecurityScheme") {
		t.Errorf("card = %d %s", w.Code, w.Body)
	}
}

func TestAMessageWithAKeyIsSentOnce(t *testing.T) {
	m := meshtest.New(t)
	m.Work(agents()...)
	first := sent(t, rpc(m, "says", "SendMessage", text("x"), "Idempotency-Key", "k"))
	if again := sent(t, rpc(m, "says", "SendMessage", text("x"), "Idempotency-Key", "k")); again.ID != first.ID {
		t.Errorf("sent twice: %s and %s", first.ID, again.ID)
	}
	if again := sent(t, rpc(m, "says", "SendMessage", text("x"))); again.ID == first.ID {
		t.Errorf("a messageId alone made one task of two")
	}
}
