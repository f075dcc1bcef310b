package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

func TestASessionRemembersItsTurnsUntilItIsDeleted(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Counter())
	w := m.Do("POST", "/sessions", `{"agent":"counter"}`)
	made := meshtest.Decode[meshtest.SessionView](t, w.Body)
	if w.Code != http.StatusCreated || made.Message != "Hello!" || made.Agent != "counter" || w.Header().Get("Location") != "/sessions/"+made.SessionID ||
		!strings.HasPrefix(made.SessionID, "ses_") || made.CreatedAt.IsZero() || made.ExpiresAt.Sub(made.CreatedAt) != 24*time.Hour {
		t.Fatalf("POST /sessions = %d %+v %v", w.Code, made, w.Header())
	}
	id := made.SessionID
	first := m.Say(http.StatusOK, id, "one")
	if first.SessionID != id || first.Message != "1 one" || first.Status != "completed" || !strings.HasPrefix(first.TurnID, "trn_") || first.TraceID == "" {
		t.Errorf("reply = %+v", first)
	}
	if second := m.PostMessage(http.StatusOK, id, `{"message":"two"}`); second.Message != "2 two" {
		t.Errorf("reply = %+v", second)
	}
	want := "agent: Hello!\nuser: one\nagent: 1 one\nuser: two\nagent: 2 two"
	if got := meshtest.Talk(m.Transcript(id)); got != want {
		t.Errorf("transcript:\n%s", got)
	}
	got := meshtest.Decode[meshtest.SessionView](t, m.Do("GET", "/sessions/"+id, "").Body)
	if got.Turns != 2 || got.Messages != 5 || got.Busy || got.Agent != "counter" {
		t.Errorf("session = %+v", got)
	}
	turn := m.Turn(id, first.TurnID)
	if turn.Message != "1 one" || turn.Text != "one" || turn.Status != "completed" || turn.TaskID != first.TurnID || turn.StatusURL != "/sessions/"+id+"/turns/"+first.TurnID {
		t.Errorf("turn = %+v", turn)
	}
	if asTask := m.Get(first.TurnID); asTask.Status != "completed" || string(asTask.Result) != `{"message":"1 one"}` {
		t.Errorf("as a task = %+v", asTask)
	}
	if w := m.Do("DELETE", "/sessions/"+id, ""); w.Code != http.StatusNoContent {
		t.Errorf("DELETE = %d %s", w.Code, w.Body)
	}
	for _, path := range []string{"", "/messages", "/events"} {
		if w := m.Do("GET", "/sessions/"+id+path, ""); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), `"session_not_found"`) {
			t.Errorf("GET %s of a deleted session = %d %s", path, w.Code, w.Body)
		}
	}
}

// The body may be left out, and the default agent answers.
func TestASessionWithoutAnAgentGetsTheDefault(t *testing.T) {
	m := meshtest.New(t)
	a := meshtest.Counter()
	a.Default = true
	m.Work(a)
	for _, body := range []string{"", "{}"} {
		w := m.Do("POST", "/sessions", body)
		if got := meshtest.Decode[meshtest.SessionView](t, w.Body); w.Code != http.StatusCreated || got.Agent != "counter" {
			t.Errorf("POST /sessions %q = %d %+v", body, w.Code, got)
		}
	}
}

func TestSessionsRefuseWithACode(t *testing.T) {
	m := meshtest.New(t)
	small := meshtest.Counter()
	small.Name, small.MaxTranscript, small.MaxTurns = "small", 2048, 5
	m.Work(meshtest.Counter(), small)
	id := m.Session("counter")
	unknown := "ses_" + strings.Repeat("0", 32)
	for _, tt := range []struct {
		name, method, path, body, header string
		status                           int
		code, pointer                    string
	}{
		{"empty text", "POST", id + "/messages", `{"text":""}`, "", 422, "validation_failed", "/text"},
		{"no text", "POST", id + "/messages", `{}`, "", 422, "validation_failed", "/text"},
		{"white space", "POST", id + "/messages", `{"text":" \n\t"}`, "", 422, "validation_failed", "/text"},
		{"text over the limit", "POST", id + "/messages", `{"text":"` + strings.Repeat("x", 65537) + `"}`, "", 422, "validation_failed", "/text"},
		{"text over the limit as JSON", "POST", id + "/messages", `{"message":"` + strings.Repeat(`\u0001`, 11000) + `"}`, "", 422, "validation_failed", "/message"},
		{"text that is no text", "POST", id + "/messages", `{"text":7}`, "", 422, "validation_failed", "/text"},
		{"on_busy", "POST", id + "/messages", `{"text":"x","on_busy":"maybe"}`, "", 422, "validation_failed", "/on_busy"},
		{"two texts", "POST", id + "/messages", `{"text":"x","message":"y"}`, "", 422, "validation_failed", "/message"},
		{"wrong agent", "POST", id + "/messages", `{"text":"x","agent":"small"}`, "", 422, "validation_failed", "/agent"},
		{"no JSON", "POST", id + "/messages", `{"text"`, "", 400, "malformed_json", ""},
		{"stale", "POST", id + "/messages", `{"text":"x"}`, `If-Match: "1000"`, 412, "precondition_failed", ""},
		{"unknown session", "POST", unknown + "/messages", `{"text":"x"}`, "", 404, "session_not_found", ""},
		{"no id", "POST", "..%2f../messages", `{"text":"x"}`, "", 404, "session_not_found", ""},
		{"unknown session", "GET", unknown, "", "", 404, "session_not_found", ""},
		{"unknown session", "DELETE", unknown, "", "", 404, "session_not_found", ""},
		{"unknown turn", "GET", id + "/turns/trn_" + strings.Repeat("0", 32), "", "", 404, "turn_not_found", ""},
		{"no turn", "GET", id + "/turns/tsk_" + strings.Repeat("0", 32), "", "", 404, "turn_not_found", ""},
		{"bad query", "GET", id + "/messages?after=-1", "", "", 400, "bad_query", ""},
	} {
		var headers []string
		if name, value, ok := strings.Cut(tt.header, ": "); ok {
			headers = []string{name, value}
		}
		w := m.Do(tt.method, "/sessions/"+tt.path, tt.body, headers...)
		var p struct {
			Code   string
			Errors []struct{ Pointer string }
		}
		_ = json.Unmarshal(w.Body.Bytes(), &p)
		if w.Code != tt.status || p.Code != tt.code || tt.pointer != "" && (len(p.Errors) != 1 || p.Errors[0].Pointer != tt.pointer) {
			t.Errorf("%s: %d %s", tt.name, w.Code, w.Body)
		}
	}
	if w := m.Do("POST", "/sessions", `{"agent":"nobody"}`); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "agent_not_found") {
		t.Errorf("session with an unknown agent = %d %s", w.Code, w.Body)
	}
	if n := len(m.Transcript(id)); n != 1 {
		t.Errorf("%d messages after refusals", n)
	}

	// The limits of a session: its bytes, and its turns.
	full := m.Session("small")
	m.Say(http.StatusOK, full, strings.Repeat("a", 900))
	w := m.Do("POST", "/sessions/"+full+"/messages", `{"text":"more"}`)
	if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), `"session_full"`) || !strings.Contains(w.Body.String(), "max_transcript") {
		t.Errorf("over the bytes = %d %s", w.Code, w.Body)
	}
	long := m.Session("small")
	for range 5 {
		m.Say(http.StatusOK, long, "a")
	}
	w = m.Do("POST", "/sessions/"+long+"/messages", `{"text":"more"}`)
	if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "max_turns") {
		t.Errorf("over the turns = %d %s", w.Code, w.Body)
	}
}

// With a window the oldest messages leave the agent's view and stay in the
// transcript, in order and whole.
func TestTheWindowOfASessionKeepsItsTranscriptWhole(t *testing.T) {
	m := meshtest.New(t)
	seen := 0
	a := agent.Agent{
		Definition: agent.Definition{Name: "window", Greeting: "Hello!", History: task.HistoryWindow, MaxTranscript: 4096},
		Handler: func(_ context.Context, job *agent.Job) (any, error) {
			seen = len(job.Turn.Messages)
			return "re " + job.Turn.Text(), nil
		},
	}
	m.Work(a)
	id := m.Session("window")
	var want []string
	for i := range 60 {
		text := fmt.Sprintf("message %d %s", i, strings.Repeat("x", 100))
		m.Say(http.StatusOK, id, text)
		want = append(want, "user: "+text, "agent: re "+text)
	}
	if seen > 20 || seen < 10 {
		t.Errorf("the agent sees %d messages", seen)
	}
	rec, err := m.Store.Sessions.Get(t.Context(), "default", session.ID(id))
	if err != nil || rec.Bytes() > 4096 || len(rec.Pages) == 0 {
		t.Fatalf("record: %d bytes, %d pages, %v", rec.Bytes(), len(rec.Pages), err)
	}
	all := m.Transcript(id)
	if got := meshtest.Talk(all[1:]); got != strings.Join(want, "\n") || all[0].Text != "Hello!" {
		t.Errorf("transcript:\n%s", got)
	}
	// In pieces it is the same.
	var pieces []session.Message
	for after := 0; ; {
		page := meshtest.Decode[meshtest.TranscriptView](t, m.Do("GET", fmt.Sprintf("/sessions/%s/messages?limit=7&after=%d", id, after), "").Body)
		pieces = append(pieces, page.Messages...)
		if after = page.Next; after == 0 {
			break
		}
	}
	if meshtest.Talk(pieces) != meshtest.Talk(all) {
		t.Errorf("in pieces:\n%s", meshtest.Talk(pieces))
	}
	if got := meshtest.Decode[meshtest.SessionView](t, m.Do("GET", "/sessions/"+id, "").Body); got.Messages != 121 || got.Turns != 60 {
		t.Errorf("session = %+v", got)
	}
}

// A turn calls other agents, and canceling it cancels them.
func TestATurnCallsAgentsAndCancelsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		caller := agent.Agent{Definition: agent.Definition{Name: "caller"}, Handler: func(ctx context.Context, job *agent.Job) (any, error) {
			raw, err := job.Call(ctx, "helper", map[string]string{"text": job.Turn.Text()})
			return "helper says " + string(raw), err
		}}
		helper := meshtest.Named("helper", func(ctx context.Context, job *agent.Job) (any, error) {
			if strings.Contains(string(job.Input), "hang") {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}
			return "hello", nil
		})
		m.Work(caller, helper)
		id := m.Session("caller")
		got := m.Say(http.StatusOK, id, "ask")
		if got.Message != `helper says "hello"` || len(m.Turn(id, got.TurnID).Children) != 1 {
			t.Errorf("reply = %+v, turn %+v", got, m.Turn(id, got.TurnID))
		}
		open := m.Say(http.StatusAccepted, id, "hang", "Prefer", "wait=5")
		if w := m.Do("POST", "/sessions/"+id+"/turns/"+open.TurnID+"/cancel", ""); w.Code != http.StatusOK {
			t.Fatalf("cancel = %d %s", w.Code, w.Body)
		}
		children := m.Turn(id, open.TurnID).Children
		if len(children) != 1 || m.End(children[0]).Status != "canceled" {
			t.Errorf("children = %v", children)
		}
		if got := m.PostMessage(http.StatusOK, id, `{"text":"ask","on_busy":"wait"}`); got.Status != "completed" {
			t.Errorf("after the cancel = %+v", got)
		}
	})
}

func TestSessionsAreListed(t *testing.T) {
	m := meshtest.New(t)
	other := meshtest.Counter()
	other.Name = "other"
	m.Work(meshtest.Counter(), other)
	var ids []string
	for range 5 {
		ids = append(ids, m.Session("counter"))
		m.Session("other")
	}
	m.Say(http.StatusOK, ids[1], "hi") // the newest change
	slices.Reverse(ids)
	want := append([]string{ids[3]}, slices.Delete(slices.Clone(ids), 3, 4)...)
	var got []string
	cursor := ""
	for {
		page := meshtest.Decode[struct {
			Sessions []meshtest.SessionView
			Next     string `json:"next_cursor"`
		}](t, m.Do("GET", "/sessions?agent=counter&limit=2&cursor="+cursor, "").Body)
		for _, s := range page.Sessions {
			got = append(got, s.SessionID)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("sessions = %v, want %v", got, want)
	}
}

// A message that waits is admitted when it is accepted. Its turn fails when the
// session is full by then, and is canceled with the session.
func TestAMessageThatWaitsIsAdmittedWhenItIsAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var s meshtest.Slow
		m.Work(s.Agent(agent.Definition{Name: "slow", MaxTurns: 2}))
		for _, tt := range []struct {
			name, answer string
			before       func(id string) (header string)
			meanwhile    func(id string)
		}{
			{"full", `"code":"session_full"`, func(id string) string { m.Say(http.StatusOK, id, "one"); return "" }, func(string) { s.Release <- struct{}{} }},
			{"changed", `"message":"done x"`, func(id string) string { return m.Do("GET", "/sessions/"+id, "").Header().Get("ETag") }, func(string) { s.Release <- struct{}{} }},
			{"gone", `"status":"canceled"`, func(string) string { return "" }, func(id string) { m.Do("DELETE", "/sessions/"+id, "") }},
		} {
			id := m.Session("slow")
			headers := []string{"Prefer", "wait=20"}
			if tag := tt.before(id); tag != "" {
				headers = append(headers, "If-Match", tag)
			}
			m.Say(http.StatusAccepted, id, "wait", "Prefer", "respond-async")
			synctest.Wait()
			answer := make(chan string)
			go func() {
				answer <- m.Do("POST", "/sessions/"+id+"/messages", `{"text":"x","on_busy":"wait"}`, headers...).Body.String()
			}()
			time.Sleep(time.Second)
			tt.meanwhile(id)
			if got := <-answer; !strings.Contains(got, tt.answer) {
				t.Errorf("%s: %s", tt.name, got)
			}
		}
	})
}
