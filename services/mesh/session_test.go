package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// Wire forms of sessions, as a client without our types would read them.
type (
	sessionView struct {
		SessionID string `json:"session_id"`
		Message   string
		Agent     string
		Busy      bool
		OpenTurn  string `json:"open_turn"`
		Waiting   []string
		Turns     int
		Messages  int
		CreatedAt time.Time `json:"created_at"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	turnView struct {
		SessionID string `json:"session_id"`
		TurnID    string `json:"turn_id"`
		TaskID    string `json:"task_id"`
		Status    string
		StatusURL string `json:"status_url"`
		Message   string
		Text      string
		Error     *task.Error
		Attempt   int
		Children  []string
		TraceID   string `json:"trace_id"`
	}
	transcriptView struct {
		SessionID string `json:"session_id"`
		Messages  []session.Message
		Next      int `json:"next_after"`
	}
)

// counter is an agent that counts its turns in its state and says so.
func counter() agent.Agent {
	a := agent.Conversation(func(_ context.Context, _ *agent.Job, text string, state *struct{ N int }) (string, error) {
		state.N++
		return fmt.Sprintf("%d %s", state.N, text), nil
	})
	a.Definition = agent.Definition{Name: "counter", Greeting: "Hello!", Concurrency: 16}
	return a
}

func (m *mesh) session(agentName string) string {
	m.t.Helper()
	w := m.do("POST", "/sessions", `{"agent":"`+agentName+`"}`)
	if w.Code != http.StatusCreated {
		m.t.Fatalf("POST /sessions = %d %s", w.Code, w.Body)
	}
	return decode[sessionView](m.t, w.Body).SessionID
}

// say posts a message whose answer must have the status.
func (m *mesh) say(status int, id, text string, headers ...string) turnView {
	m.t.Helper()
	return m.post(status, id, fmt.Sprintf(`{"text":%q}`, text), headers...)
}

func (m *mesh) post(status int, id, body string, headers ...string) turnView {
	m.t.Helper()
	w := m.do("POST", "/sessions/"+id+"/messages", body, headers...)
	if w.Code != status {
		m.t.Fatalf("POST /sessions/%s/messages %s = %d %s", id, body, w.Code, w.Body)
	}
	return decode[turnView](m.t, w.Body)
}

func (m *mesh) transcript(id string) []session.Message {
	m.t.Helper()
	w := m.do("GET", "/sessions/"+id+"/messages", "")
	if w.Code != http.StatusOK {
		m.t.Fatalf("GET messages = %d %s", w.Code, w.Body)
	}
	return decode[transcriptView](m.t, w.Body).Messages
}

// talk is a transcript as lines.
func talk(messages []session.Message) string {
	var lines []string
	for _, m := range messages {
		line := m.Role + ": " + m.Text
		if m.Interrupted {
			line += " (interrupted)"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func (m *mesh) turn(id, turn string, headers ...string) turnView {
	m.t.Helper()
	w := m.do("GET", "/sessions/"+id+"/turns/"+turn, "", headers...)
	if w.Code != http.StatusOK {
		m.t.Fatalf("GET turn = %d %s", w.Code, w.Body)
	}
	return decode[turnView](m.t, w.Body)
}

func TestSession(t *testing.T) {
	m := newMesh(t)
	m.work(counter())
	w := m.do("POST", "/sessions", `{"agent":"counter"}`)
	made := decode[sessionView](t, w.Body)
	if w.Code != http.StatusCreated || made.Message != "Hello!" || made.Agent != "counter" || w.Header().Get("Location") != "/sessions/"+made.SessionID ||
		!strings.HasPrefix(made.SessionID, "ses_") || made.CreatedAt.IsZero() || made.ExpiresAt.Sub(made.CreatedAt) != 24*time.Hour {
		t.Fatalf("POST /sessions = %d %+v %v", w.Code, made, w.Header())
	}
	id := made.SessionID
	first := m.say(http.StatusOK, id, "one")
	if first.SessionID != id || first.Message != "1 one" || first.Status != "completed" || !strings.HasPrefix(first.TurnID, "trn_") || first.TraceID == "" {
		t.Errorf("reply = %+v", first)
	}
	if second := m.post(http.StatusOK, id, `{"message":"two"}`); second.Message != "2 two" {
		t.Errorf("reply = %+v", second)
	}
	want := "agent: Hello!\nuser: one\nagent: 1 one\nuser: two\nagent: 2 two"
	if got := talk(m.transcript(id)); got != want {
		t.Errorf("transcript:\n%s", got)
	}
	got := decode[sessionView](t, m.do("GET", "/sessions/"+id, "").Body)
	if got.Turns != 2 || got.Messages != 5 || got.Busy || got.Agent != "counter" {
		t.Errorf("session = %+v", got)
	}
	turn := m.turn(id, first.TurnID)
	if turn.Message != "1 one" || turn.Text != "one" || turn.Status != "completed" || turn.TaskID != first.TurnID || turn.StatusURL != "/sessions/"+id+"/turns/"+first.TurnID {
		t.Errorf("turn = %+v", turn)
	}
	if asTask := m.get(first.TurnID); asTask.Status != "completed" || string(asTask.Result) != `{"message":"1 one"}` {
		t.Errorf("as a task = %+v", asTask)
	}
	if w := m.do("DELETE", "/sessions/"+id, ""); w.Code != http.StatusNoContent {
		t.Errorf("DELETE = %d %s", w.Code, w.Body)
	}
	for _, path := range []string{"", "/messages", "/events"} {
		if w := m.do("GET", "/sessions/"+id+path, ""); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), `"session_not_found"`) {
			t.Errorf("GET %s of a deleted session = %d %s", path, w.Code, w.Body)
		}
	}
}

// The body may be left out, and the default agent answers.
func TestSessionWithTheDefaultAgent(t *testing.T) {
	m := newMesh(t)
	a := counter()
	a.Default = true
	m.work(a)
	for _, body := range []string{"", "{}"} {
		w := m.do("POST", "/sessions", body)
		if got := decode[sessionView](t, w.Body); w.Code != http.StatusCreated || got.Agent != "counter" {
			t.Errorf("POST /sessions %q = %d %+v", body, w.Code, got)
		}
	}
}

func TestSessionRefusals(t *testing.T) {
	m := newMesh(t)
	small := counter()
	small.Name, small.MaxTranscript, small.MaxTurns = "small", 2048, 5
	m.work(counter(), small)
	id := m.session("counter")
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
		w := m.do(tt.method, "/sessions/"+tt.path, tt.body, headers...)
		var p struct {
			Code   string
			Errors []struct{ Pointer string }
		}
		_ = json.Unmarshal(w.Body.Bytes(), &p)
		if w.Code != tt.status || p.Code != tt.code || tt.pointer != "" && (len(p.Errors) != 1 || p.Errors[0].Pointer != tt.pointer) {
			t.Errorf("%s: %d %s", tt.name, w.Code, w.Body)
		}
	}
	if w := m.do("POST", "/sessions", `{"agent":"nobody"}`); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "agent_not_found") {
		t.Errorf("session with an unknown agent = %d %s", w.Code, w.Body)
	}
	if n := len(m.transcript(id)); n != 1 {
		t.Errorf("%d messages after refusals", n)
	}

	// The limits of a session: its bytes, and its turns.
	full := m.session("small")
	m.say(http.StatusOK, full, strings.Repeat("a", 900))
	w := m.do("POST", "/sessions/"+full+"/messages", `{"text":"more"}`)
	if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), `"session_full"`) || !strings.Contains(w.Body.String(), "max_transcript") {
		t.Errorf("over the bytes = %d %s", w.Code, w.Body)
	}
	long := m.session("small")
	for range 5 {
		m.say(http.StatusOK, long, "a")
	}
	w = m.do("POST", "/sessions/"+long+"/messages", `{"text":"more"}`)
	if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "max_turns") {
		t.Errorf("over the turns = %d %s", w.Code, w.Body)
	}
}

// With a window the oldest messages leave the agent's view and stay in the
// transcript, in order and whole.
func TestSessionWindow(t *testing.T) {
	m := newMesh(t)
	seen := 0
	a := agent.Agent{
		Definition: agent.Definition{Name: "window", Greeting: "Hello!", History: task.HistoryWindow, MaxTranscript: 4096},
		Handler: func(_ context.Context, job *agent.Job) (any, error) {
			seen = len(job.Turn.Messages)
			return "re " + job.Turn.Text(), nil
		},
	}
	m.work(a)
	id := m.session("window")
	var want []string
	for i := range 60 {
		text := fmt.Sprintf("message %d %s", i, strings.Repeat("x", 100))
		m.say(http.StatusOK, id, text)
		want = append(want, "user: "+text, "agent: re "+text)
	}
	if seen > 20 || seen < 10 {
		t.Errorf("the agent sees %d messages", seen)
	}
	rec, err := m.st.Session(t.Context(), "default", id)
	if err != nil || rec.Bytes() > 4096 || len(rec.Pages) == 0 {
		t.Fatalf("record: %d bytes, %d pages, %v", rec.Bytes(), len(rec.Pages), err)
	}
	all := m.transcript(id)
	if got := talk(all[1:]); got != strings.Join(want, "\n") || all[0].Text != "Hello!" {
		t.Errorf("transcript:\n%s", got)
	}
	// In pieces it is the same.
	var pieces []session.Message
	for after := 0; ; {
		page := decode[transcriptView](t, m.do("GET", fmt.Sprintf("/sessions/%s/messages?limit=7&after=%d", id, after), "").Body)
		pieces = append(pieces, page.Messages...)
		if after = page.Next; after == 0 {
			break
		}
	}
	if talk(pieces) != talk(all) {
		t.Errorf("in pieces:\n%s", talk(pieces))
	}
	if got := decode[sessionView](t, m.do("GET", "/sessions/"+id, "").Body); got.Messages != 121 || got.Turns != 60 {
		t.Errorf("session = %+v", got)
	}
}

// slow is an agent whose turns last until told, or until their context ends.
type slow struct {
	release chan struct{}
	begun   atomic.Int32
}

func (s *slow) agent(d agent.Definition) agent.Agent {
	s.release = make(chan struct{})
	return agent.Agent{Definition: d, Handler: func(ctx context.Context, job *agent.Job) (any, error) {
		s.begun.Add(1)
		if !strings.HasPrefix(job.Turn.Text(), "wait") {
			return "done " + job.Turn.Text(), nil
		}
		select {
		case <-s.release:
			return agent.Reply{Message: "done " + job.Turn.Text(), State: map[string]string{"last": job.Turn.Text()}}, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}}
}

func TestSessionBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		var s slow
		m.work(s.agent(agent.Definition{Name: "slow"}))
		id := m.session("slow")
		open := m.say(http.StatusAccepted, id, "wait 1", "Prefer", "respond-async")
		if open.Status != "pending" || open.StatusURL != "/sessions/"+id+"/turns/"+open.TurnID {
			t.Errorf("202 = %+v", open)
		}
		synctest.Wait()
		w := m.do("POST", "/sessions/"+id+"/messages", `{"text":"two"}`)
		if w.Code != http.StatusConflict || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), `"session_busy"`) {
			t.Errorf("a second message = %d %v %s", w.Code, w.Header(), w.Body)
		}
		if got := decode[sessionView](t, m.do("GET", "/sessions/"+id, "").Body); !got.Busy || got.OpenTurn != open.TurnID {
			t.Errorf("session = %+v", got)
		}

		// One that waits is accepted, also when the client does not wait as long.
		began := time.Now()
		w = m.do("POST", "/sessions/"+id+"/messages", `{"text":"three","on_busy":"wait"}`, "Prefer", "wait=5")
		if took := time.Since(began); w.Code != http.StatusAccepted || took < 5*time.Second || took > 6*time.Second {
			t.Errorf("waited %v for %d %s", took, w.Code, w.Body)
		}

		// One that waits long enough has its turn, and the reply in the same answer.
		answer := make(chan turnView)
		go func() { answer <- m.post(http.StatusOK, id, `{"text":"four","on_busy":"wait"}`) }()
		time.Sleep(time.Second)
		close(s.release)
		if got := <-answer; got.Message != "done four" {
			t.Errorf("reply = %+v", got)
		}
		if got := talk(m.transcript(id)); got != "user: wait 1\nagent: done wait 1\nuser: three\nagent: done three\nuser: four\nagent: done four" {
			t.Errorf("transcript:\n%s", got)
		}
	})
}

// A message that interrupts cancels the open turn, whether a worker has it or it
// waits for one, keeps what the user said, and leaves the state alone.
func TestSessionInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		var s slow
		stop := m.work(s.agent(agent.Definition{Name: "slow"}))
		id := m.session("slow")
		first := m.say(http.StatusAccepted, id, "wait 1", "Prefer", "respond-async")
		synctest.Wait()
		if got := m.post(http.StatusOK, id, `{"text":"two","on_busy":"interrupt"}`); got.Message != "done two" {
			t.Errorf("reply = %+v", got)
		}
		if got := m.turn(id, first.TurnID); got.Status != "canceled" || got.Message != "" {
			t.Errorf("interrupted turn = %+v", got)
		}
		want := "user: wait 1 (interrupted)\nuser: two\nagent: done two"
		if got := talk(m.transcript(id)); got != want {
			t.Errorf("transcript:\n%s", got)
		}
		rec, err := m.st.Session(t.Context(), "default", id)
		if err != nil || rec.State != nil || rec.Turns != 2 {
			t.Errorf("session = %+v, %v", rec, err)
		}

		stop() // nobody runs turns
		third := m.say(http.StatusAccepted, id, "wait 3", "Prefer", "respond-async")
		fourth := m.post(http.StatusAccepted, id, `{"text":"four","on_busy":"interrupt"}`, "Prefer", "wait=1")
		if got := m.turn(id, third.TurnID); got.Status != "canceled" {
			t.Errorf("third turn = %+v", got)
		}
		m.work(s.agent(agent.Definition{Name: "slow"}))
		if got := m.turn(id, fourth.TurnID, "Prefer", "wait=60"); got.Status != "completed" || got.Message != "done four" {
			t.Errorf("fourth turn = %+v", got)
		}
		if got := talk(m.transcript(id)); got != want+"\nuser: wait 3 (interrupted)\nuser: four\nagent: done four" {
			t.Errorf("transcript:\n%s", got)
		}

		// A finished turn is not interrupted any more, and not said again.
		if w := m.do("POST", "/sessions/"+id+"/turns/"+fourth.TurnID+"/cancel", ""); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "task_finished") {
			t.Errorf("cancel of a finished turn = %d %s", w.Code, w.Body)
		}
		if w := m.do("POST", "/tasks/"+first.TurnID+"/retry", ""); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "task_not_retryable") {
			t.Errorf("retry of a turn = %d %s", w.Code, w.Body)
		}
	})
}

// Deleting a session cancels its open turn, and what the agent still says of it
// goes nowhere.
func TestSessionDeletedInMidTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		var s slow
		m.work(s.agent(agent.Definition{Name: "slow"}))
		id := m.session("slow")
		turn := m.say(http.StatusAccepted, id, "wait", "Prefer", "respond-async")
		synctest.Wait()
		if w := m.do("DELETE", "/sessions/"+id, ""); w.Code != http.StatusNoContent {
			t.Fatalf("DELETE = %d %s", w.Code, w.Body)
		}
		if got := m.end(turn.TurnID); got.Status != "canceled" {
			t.Errorf("turn = %+v", got)
		}
		if w := m.do("GET", "/sessions/"+id, ""); w.Code != http.StatusNotFound {
			t.Errorf("GET = %d %s", w.Code, w.Body)
		}
	})
}

// An agent that hangs is bounded by its timeout, and one that fails by its
// attempts; the session opens again and is as it was, the error in the turn.
func TestSessionSurvivesItsAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		attempts := map[string]int{}
		a := agent.Agent{
			Definition: agent.Definition{Name: "moody", Timeout: task.Duration(7 * time.Second), Retry: agent.Retry{MaxAttempts: 3, Backoff: task.Duration(time.Second)}},
			Handler: func(ctx context.Context, job *agent.Job) (any, error) {
				attempts[job.Turn.Text()]++
				switch text := job.Turn.Text(); text {
				case "hang":
					<-ctx.Done()
					return nil, context.Cause(ctx)
				case "fail":
					return nil, errors.New("it is raining")
				case "once":
					if job.Attempt == 1 {
						return nil, errors.New("not yet")
					}
				case "panic":
					panic("oops")
				case "bad state":
					return agent.Reply{Message: "x", State: 7}, nil
				}
				return agent.Reply{Message: "fine", State: map[string]string{"last": job.Turn.Text()}}, nil
			},
		}
		m.work(a)
		id := m.session("moody")
		m.say(http.StatusOK, id, "hello")
		began := time.Now()
		for _, tt := range []struct {
			text, code string
			attempts   int
		}{
			{"hang", task.CodeAgentTimeout, 1}, {"fail", task.CodeAgentError, 3}, {"panic", task.CodeAgentPanicked, 3}, {"bad state", task.CodeAgentBadOutput, 1},
		} {
			got := m.say(http.StatusOK, id, tt.text)
			if got.Status != "failed" || got.Error == nil || got.Error.Code != tt.code || attempts[tt.text] != tt.attempts {
				t.Errorf("%s: %+v after %d attempts", tt.text, got, attempts[tt.text])
			}
			if again := m.turn(id, got.TurnID); again.Error == nil || again.Error.Code != tt.code {
				t.Errorf("%s: turn %+v", tt.text, again)
			}
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("took %v", took)
		}
		rec, err := m.st.Session(t.Context(), "default", id)
		if err != nil || string(rec.State) != `{"last":"hello"}` || rec.Turns != 1 || rec.UpdatedAt.Before(began) {
			t.Errorf("session = %+v, %v", rec, err)
		}
		if got := m.say(http.StatusOK, id, "once"); got.Message != "fine" || attempts["once"] != 2 {
			t.Errorf("a turn that is retried = %+v after %d attempts", got, attempts["once"])
		}
		if got := talk(m.transcript(id)); got != "user: hello\nagent: fine\nuser: once\nagent: fine" {
			t.Errorf("transcript:\n%s", got)
		}
	})
}

// A repeat by Idempotency-Key is the same turn, while it runs, when it has ended,
// and when the session takes no more.
func TestSessionIdempotency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		var s slow
		m.work(s.agent(agent.Definition{Name: "slow", MaxTurns: 1, Greeting: "Hi"}))
		key := []string{"Idempotency-Key", `"k1"`}
		w := m.do("POST", "/sessions", `{"agent":"slow"}`, key...)
		again := m.do("POST", "/sessions", `{"agent":"slow"}`, key...)
		if w.Code != 201 || again.Code != 201 || w.Body.String() != again.Body.String() || again.Header().Get("Idempotent-Replayed") != "true" {
			t.Errorf("sessions: %d %s and %d %s", w.Code, w.Body, again.Code, again.Body)
		}
		id := decode[sessionView](t, w.Body).SessionID

		async := append(slices.Clone(key), "Prefer", "respond-async")
		first := m.say(http.StatusAccepted, id, "wait", async...)
		synctest.Wait()
		time.Sleep(3 * time.Minute) // past the server's own window
		if repeat := m.say(http.StatusAccepted, id, "wait", async...); repeat.TurnID != first.TurnID {
			t.Errorf("repeat while it runs = %+v", repeat)
		}
		if w := m.do("POST", "/sessions/"+id+"/messages", `{"text":"other"}`, key...); w.Code != 422 || !strings.Contains(w.Body.String(), "idempotency_key_reused") {
			t.Errorf("another message = %d %s", w.Code, w.Body)
		}
		close(s.release)
		if repeat := m.say(http.StatusOK, id, "wait", key...); repeat.TurnID != first.TurnID || repeat.Message != "done wait" {
			t.Errorf("repeat = %+v", repeat)
		}
		if w := m.do("POST", "/sessions/"+id+"/messages", `{"text":"x"}`); !strings.Contains(w.Body.String(), "session_full") {
			t.Errorf("a further message = %d %s", w.Code, w.Body)
		}
		if repeat := m.say(http.StatusOK, id, "wait", key...); repeat.TurnID != first.TurnID {
			t.Errorf("repeat in a full session = %+v", repeat)
		}
		if n := s.begun.Load(); n != 1 || len(m.transcript(id)) != 3 {
			t.Errorf("%d turns, transcript:\n%s", n, talk(m.transcript(id)))
		}
	})
}

// A refused message is accepted by its repeat, as one turn.
func TestSessionIdempotencyAfterBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		var s slow
		m.work(s.agent(agent.Definition{Name: "slow"}))
		id := m.session("slow")
		m.say(http.StatusAccepted, id, "wait", "Prefer", "respond-async")
		synctest.Wait()
		if w := m.do("POST", "/sessions/"+id+"/messages", `{"text":"b"}`, "Idempotency-Key", "k"); w.Code != http.StatusConflict {
			t.Errorf("busy = %d %s", w.Code, w.Body)
		}
		close(s.release)
		synctest.Wait()
		one := m.say(http.StatusOK, id, "b", "Idempotency-Key", "k")
		two := m.say(http.StatusOK, id, "b", "Idempotency-Key", "k")
		if one.TurnID != two.TurnID || one.Message != "done b" || s.begun.Load() != 2 {
			t.Errorf("%+v and %+v after %d turns", one, two, s.begun.Load())
		}
	})
}

// A turn calls other agents, and canceling it cancels them.
func TestSessionTurnCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		caller := agent.Agent{Definition: agent.Definition{Name: "caller"}, Handler: func(ctx context.Context, job *agent.Job) (any, error) {
			raw, err := job.Call(ctx, "helper", map[string]string{"text": job.Turn.Text()})
			return "helper says " + string(raw), err
		}}
		helper := named("helper", func(ctx context.Context, job *agent.Job) (any, error) {
			if strings.Contains(string(job.Input), "hang") {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}
			return "hello", nil
		})
		m.work(caller, helper)
		id := m.session("caller")
		got := m.say(http.StatusOK, id, "ask")
		if got.Message != `helper says "hello"` || len(m.turn(id, got.TurnID).Children) != 1 {
			t.Errorf("reply = %+v, turn %+v", got, m.turn(id, got.TurnID))
		}
		open := m.say(http.StatusAccepted, id, "hang", "Prefer", "wait=5")
		if w := m.do("POST", "/sessions/"+id+"/turns/"+open.TurnID+"/cancel", ""); w.Code != http.StatusOK {
			t.Fatalf("cancel = %d %s", w.Code, w.Body)
		}
		children := m.turn(id, open.TurnID).Children
		if len(children) != 1 || m.end(children[0]).Status != "canceled" {
			t.Errorf("children = %v", children)
		}
		if got := m.post(http.StatusOK, id, `{"text":"ask","on_busy":"wait"}`); got.Status != "completed" {
			t.Errorf("after the cancel = %+v", got)
		}
	})
}

func TestSessionList(t *testing.T) {
	m := newMesh(t)
	other := counter()
	other.Name = "other"
	m.work(counter(), other)
	var ids []string
	for range 5 {
		ids = append(ids, m.session("counter"))
		m.session("other")
	}
	m.say(http.StatusOK, ids[1], "hi") // the newest change
	slices.Reverse(ids)
	want := append([]string{ids[3]}, slices.Delete(slices.Clone(ids), 3, 4)...)
	var got []string
	cursor := ""
	for {
		page := decode[struct {
			Sessions []sessionView
			Next     string `json:"next_cursor"`
		}](t, m.do("GET", "/sessions?agent=counter&limit=2&cursor="+cursor, "").Body)
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
func TestSessionWhileAMessageWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		var s slow
		m.work(s.agent(agent.Definition{Name: "slow", MaxTurns: 2}))
		for _, tt := range []struct {
			name, answer string
			before       func(id string) (header string)
			meanwhile    func(id string)
		}{
			{"full", `"code":"session_full"`, func(id string) string { m.say(http.StatusOK, id, "one"); return "" }, func(string) { s.release <- struct{}{} }},
			{"changed", `"message":"done x"`, func(id string) string { return m.do("GET", "/sessions/"+id, "").Header().Get("ETag") }, func(string) { s.release <- struct{}{} }},
			{"gone", `"status":"canceled"`, func(string) string { return "" }, func(id string) { m.do("DELETE", "/sessions/"+id, "") }},
		} {
			id := m.session("slow")
			headers := []string{"Prefer", "wait=20"}
			if tag := tt.before(id); tag != "" {
				headers = append(headers, "If-Match", tag)
			}
			m.say(http.StatusAccepted, id, "wait", "Prefer", "respond-async")
			synctest.Wait()
			answer := make(chan string)
			go func() {
				answer <- m.do("POST", "/sessions/"+id+"/messages", `{"text":"x","on_busy":"wait"}`, headers...).Body.String()
			}()
			time.Sleep(time.Second)
			tt.meanwhile(id)
			if got := <-answer; !strings.Contains(got, tt.answer) {
				t.Errorf("%s: %s", tt.name, got)
			}
		}
	})
}
