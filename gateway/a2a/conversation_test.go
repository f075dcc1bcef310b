package a2a_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agent"
)

// chats is an agent that converses: it counts its turns, holds one that says so until
// it is let go, and asks.
func chats(held <-chan struct{}) agent.Agent {
	a := meshtest.Named("chats", func(ctx context.Context, job *agent.Job) (any, error) {
		switch job.Instruction {
		case "hold":
			<-held
		case "ask":
			n, err := agent.Ask[int](ctx, job, "many", agent.Question{Prompt: "How many?"})
			return agent.Reply{Message: fmt.Sprint("that is ", n)}, err
		}
		return agent.Reply{Message: fmt.Sprintf("%d: %s", (len(job.Turn.Messages)+1)/2, job.Instruction)}, nil
	})
	a.Conversation = true
	return a
}

func in(context, words string, more ...string) string {
	return fmt.Sprintf(`{"message":{"contextId":%q,"messageId":"m","role":"ROLE_USER","parts":[{"text":%q}]}%s}`, context, words, strings.Join(more, ""))
}

func TestAContextOfAnAgentThatConversesIsItsSession(t *testing.T) {
	m := meshtest.New(t)
	m.Work(chats(nil))
	first := sent(t, rpc(m, "chats", "SendMessage", text("hi")))
	if !strings.HasPrefix(first.ContextID, "ses_") || !strings.HasPrefix(first.ID, "trn_") || first.Status.Message.Parts[0].Text != "1: hi" || first.Artifacts[0].Parts[0].Text != "1: hi" {
		t.Fatalf("first turn = %+v", first)
	}
	second := sent(t, rpc(m, "chats", "SendMessage", in(first.ContextID, "again")))
	if second.ContextID != first.ContextID || second.Status.Message.Parts[0].Text != "2: again" {
		t.Errorf("second turn = %+v", second)
	}
	if talk := meshtest.Talk(m.Transcript(first.ContextID)); !strings.Contains(talk, "again") {
		t.Errorf("the session has %s", talk)
	}
}

func TestAContextOfAClientsOwnNameIsOneSessionAndShownUnchanged(t *testing.T) {
	m := meshtest.New(t)
	m.Ask(meshtest.Callers{
		"ann": {Tenant: "ann", Subject: "ann", Scopes: []auth.Scope{auth.All}},
		"bob": {Tenant: "bob", Subject: "bob", Scopes: []auth.Scope{auth.All}},
	})
	m.Work(chats(nil))
	say := func(who, words string) taskView {
		return sent(t, rpc(m, "chats", "SendMessage", in("trip-1", words), meshtest.As(who)...))
	}
	for i, words := range []string{"a", "b"} {
		if v := say("ann", words); v.ContextID != "trip-1" || v.Status.Message.Parts[0].Text != fmt.Sprintf("%d: %s", i+1, words) {
			t.Errorf("turn %d = %+v", i+1, v)
		}
	}
	if v := say("bob", "c"); v.Status.Message.Parts[0].Text != "1: c" {
		t.Errorf("another tenant's context of that name = %+v", v)
	}
	list := decodeResult[struct{ Tasks []taskView }](t, rpc(m, "chats", "ListTasks", `{"contextId":"trip-1"}`, meshtest.As("ann")...))
	if len(list.Tasks) != 2 || list.Tasks[0].ContextID != "trip-1" {
		t.Errorf("the context's tasks = %+v", list)
	}
}

func TestAMessageToABusySessionWaitsItsTurnUnlessTheClientDoesNot(t *testing.T) {
	m := meshtest.New(t)
	held := make(chan struct{})
	m.Work(chats(held))
	first := sent(t, rpc(m, "chats", "SendMessage", strings.Replace(later("hold"), `"messageId"`, `"contextId":"c","messageId"`, 1)))
	natstest.Until(t, "it runs", func() bool { return m.Get(first.ID).Status == "processing" })
	a := rpc(m, "chats", "SendMessage", in("c", "at once", `,"configuration":{"returnImmediately":true}`))
	if e := meshtest.Decode[answer](t, a.Body); e.Error == nil || e.Error.Code != -32004 || e.Error.Data[0].Metadata["code"] != "session_busy" || a.Header().Get("Retry-After") != "1" {
		t.Errorf("a message that does not wait = %+v %v", e.Error, a.Header())
	}
	second := make(chan *httptest.ResponseRecorder)
	go func() { second <- rpc(m, "chats", "SendMessage", in("c", "then")) }()
	natstest.Until(t, "the second waits", func() bool { return strings.Count(m.Do("GET", "/tasks", "").Body.String(), `"task_id"`) == 2 })
	close(held)
	if v := sent(t, <-second); v.Status.Message.Parts[0].Text != "2: then" || v.ContextID != "c" {
		t.Errorf("the second turn = %+v", v)
	}
}

func TestATurnThatAsksHasEndedAndTheNextMessageAnswers(t *testing.T) {
	m := meshtest.New(t)
	m.Work(chats(nil))
	asked := rpc(m, "chats", "SendMessage", in("c", "ask"))
	if !strings.Contains(asked.Body.String(), `"mesh/awaiting":"many"`) {
		t.Errorf("a turn that asks = %s", asked.Body)
	}
	if v := sent(t, asked); v.Status.State != "TASK_STATE_COMPLETED" || v.Status.Message.Parts[0].Text != "How many?" {
		t.Errorf("a turn that asks = %+v", v)
	}
	data := `{"message":{"contextId":"c","messageId":"m","role":"ROLE_USER","parts":[{"data":3}]}}`
	if v := sent(t, rpc(m, "chats", "SendMessage", data)); v.Status.Message.Parts[0].Text != "that is 3" {
		t.Errorf("answered = %+v", v)
	}
}

func TestAContextThatCannotBeIsRefused(t *testing.T) {
	m := meshtest.New(t)
	m.Ask(meshtest.Callers{
		"ann":   {Tenant: "ann", Subject: "ann", Scopes: []auth.Scope{auth.All}},
		"tasks": {Tenant: "ann", Subject: "t", Scopes: []auth.Scope{auth.TasksWrite, auth.TasksRead}},
	})
	m.Work(append(agents(), chats(nil))...)
	as := meshtest.As("ann")
	other := meshtest.Decode[struct {
		ID string `json:"session_id"`
	}](t, m.Do("POST", "/sessions", `{"agent":"says"}`, as...).Body).ID
	for name, params := range map[string]string{
		"unknown": in("ses_01a20cd9e03b7276be6a181888e33e52", "x"), "malformed": in("ses_x", "x"), "of another agent": in(other, "x"), "no name": in("a b", "x"),
		"metadata without end": `{"message":{"contextId":"c","messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}],"metadata":{"x":"` + strings.Repeat("y", 4<<10) + `"}}}`,
	} {
		if a := meshtest.Decode[answer](t, rpc(m, "chats", "SendMessage", params, as...).Body); a.Error == nil || a.Error.Code != -32602 || len(a.Error.Data) < 2 {
			t.Errorf("%s = %s %+v", name, a.Result, a.Error)
		}
	}
	if w := rpc(m, "chats", "SendMessage", in("c", "x"), meshtest.As("tasks")...); w.Code != 403 || !strings.Contains(w.Body.String(), "sessions:write") {
		t.Errorf("a key without the scope of sessions = %d %s", w.Code, w.Body)
	}
}

func TestTasksOfOneContextRunInParallelWhereAnAgentHasNoSessions(t *testing.T) {
	m := meshtest.New(t)
	started, done := make(chan struct{}), make(chan struct{})
	m.Work(meshtest.Named("waits", func(context.Context, *agent.Job) (any, error) {
		started <- struct{}{}
		<-done
		return "x", nil
	}))
	for range 3 {
		v := sent(t, rpc(m, "waits", "SendMessage", strings.Replace(later("x"), `"messageId"`, `"contextId":"c","messageId"`, 1)))
		if v.ContextID != "c" {
			t.Errorf("context = %s", v.ContextID)
		}
	}
	for range 3 {
		<-started
	}
	close(done)
}

func TestAMessageWithAKeyAndNoContextIsSaidOnce(t *testing.T) {
	m := meshtest.New(t)
	m.Work(append(agents(), chats(nil))...)
	first := sent(t, rpc(m, "chats", "SendMessage", text("x"), "Idempotency-Key", "k"))
	if again := sent(t, rpc(m, "chats", "SendMessage", text("x"), "Idempotency-Key", "k")); again.ID != first.ID || again.ContextID != first.ContextID {
		t.Errorf("said twice: %+v and %+v", first, again)
	}
	const dedupe = "urn:agentmesh:dedupe:1"
	w := rpc(m, "says", "SendMessage", text("x"), "A2A-Extensions", "urn:x, "+dedupe)
	if w.Header().Get("A2A-Extensions") != dedupe {
		t.Errorf("applied extensions = %q", w.Header().Get("A2A-Extensions"))
	}
	one := sent(t, w)
	if again := sent(t, rpc(m, "says", "SendMessage", text("x"), "A2A-Extensions", dedupe)); again.ID != one.ID {
		t.Errorf("a messageId with the extension made two tasks")
	}
}

func TestACardSaysWhatTheDefinitionSays(t *testing.T) {
	m := meshtest.New(t)
	about, hidden := meshtest.Named("about", meshtest.Says("x")), meshtest.Named("hidden", meshtest.Says("x"))
	about.Tags, about.Examples, hidden.NoA2A = []string{"news"}, []string{"Read the news"}, true
	skilled := meshtest.Named("skilled", meshtest.Says("x"))
	skilled.Tags, skilled.Skills = []string{"all"}, []agent.Skill{{ID: "sum", Name: "Sums", Examples: []string{"1+1"}, InputModes: []string{"text/plain"}}, {ID: "b", Name: "B", Tags: []string{"own"}}}
	m.Work(about, hidden, skilled)
	type card struct {
		Skills []struct {
			ID, Name       string
			Tags, Examples []string
			InputModes     []string
		}
	}
	read := func(name string) card {
		return meshtest.Decode[card](t, m.Do("GET", "/agents/"+name+"/a2a/.well-known/agent-card.json", "").Body)
	}
	if s := read("about").Skills[0]; fmt.Sprintf("%v", s) != "{about about [news] [Read the news] []}" {
		t.Errorf("skill = %+v", s)
	}
	if s := read("skilled").Skills; len(s) != 2 || fmt.Sprint(s[0], s[1]) != "{sum Sums [all] [1+1] [text/plain]} {b B [own] [] []}" {
		t.Errorf("skills = %+v", s)
	}
	for _, w := range []*httptest.ResponseRecorder{
		m.Do("GET", "/agents/hidden/a2a/.well-known/agent-card.json", ""), rpc(m, "hidden", "SendMessage", text("x")), rpc(m, "hidden", "ListTasks", `{}`),
	} {
		var e struct{ Error json.RawMessage }
		if _ = json.Unmarshal(w.Body.Bytes(), &e); w.Code != 404 && e.Error == nil {
			t.Errorf("a hidden agent answers %d %s", w.Code, w.Body)
		}
	}
}
