package meshtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

var Async = []string{"Prefer", "respond-async"}

// Enqueue posts a message that waits, at a gateway, and returns its turn.
func Enqueue(t *testing.T, h http.Handler, id, text, onBusy string, headers ...string) TurnView {
	t.Helper()
	w := Call(h, "POST", "/sessions/"+id+"/messages", fmt.Sprintf(`{"text":%q,"on_busy":%q}`, text, onBusy), append(slices.Clone(Async), headers...)...)
	if w.Code != http.StatusAccepted {
		t.Fatalf("POST %s = %d %s", text, w.Code, w.Body)
	}
	return Decode[TurnView](t, w.Body)
}

// Gateways are two replicas, each with a store of its own.
func (m *Mesh) Gateways() [2]http.Handler {
	m.T.Helper()
	st, _ := m.OpenStore()
	return [2]http.Handler{m.Gateway.Handler(), m.NewGateway(st).Handler()}
}

// Turns are the user's messages of a transcript, those without a reply marked.
func (m *Mesh) Turns(id string) string {
	m.T.Helper()
	var said []string
	for _, msg := range m.Transcript(id) {
		switch {
		case msg.Interrupted:
			said = append(said, msg.Text+"!")
		case msg.Role == "user":
			said = append(said, msg.Text)
		}
	}
	return strings.Join(said, " ")
}

// Idle waits until nothing is open and nothing waits in a session.
func (m *Mesh) Idle(id string) {
	m.T.Helper()
	for range 600 {
		if !Decode[SessionView](m.T, m.Do("GET", "/sessions/"+id, "").Body).Busy {
			return
		}
		time.Sleep(time.Second)
	}
	m.T.Fatalf("session %s stays busy: %s", id, m.Do("GET", "/sessions/"+id, "").Body)
}

// SessionEvent is one event of a session's stream as it comes over the wire.
type SessionEvent struct {
	ID, Event string
	Data      struct {
		SessionID string `json:"session_id"`
		TurnID    string `json:"turn_id"`
		Status    string
		Message   string
		Text      string
		Reason    string
		Error     *task.Error
	}
}

// FollowSession reads a session's stream; the channel closes with it.
func FollowSession(t *testing.T, base, id, after string) (<-chan SessionEvent, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", base+"/sessions/"+id+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("GET events = %v, %v", resp, err)
	}
	events := make(chan SessionEvent, 1000)
	go func() {
		defer close(events)
		defer func() { _ = resp.Body.Close() }()
		ScanEvents(resp.Body, func(id, event, data string) {
			e := SessionEvent{ID: id, Event: event}
			_ = json.Unmarshal([]byte(data), &e.Data)
			events <- e
		})
	}()
	return events, cancel
}

// ReadUntil reads events up to one of a kind, and returns them as a line.
func ReadUntil(t *testing.T, events <-chan SessionEvent, last string) (line string, e SessionEvent) {
	t.Helper()
	var kinds []string
	for e := range events {
		kind := e.Event
		switch e.Event {
		case "status":
			kind = e.Data.Status
		case "output":
			kind = "output " + e.Data.Text
		}
		if len(kinds) == 0 || kinds[len(kinds)-1] != kind {
			kinds = append(kinds, kind)
		}
		if e.Event == last || kind == last {
			return strings.Join(kinds, ", "), e
		}
	}
	t.Fatalf("the stream ends after %v without %s", kinds, last)
	return "", SessionEvent{}
}

// Wire forms of sessions, as a client without our types would read them.
type (
	SessionView struct {
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
	TurnView struct {
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
	TranscriptView struct {
		SessionID string `json:"session_id"`
		Messages  []session.Message
		Next      int `json:"next_after"`
	}
)

// Counter is an agent that counts its turns in its state and says so.
func Counter() agent.Agent {
	a := agent.Conversation(func(_ context.Context, _ *agent.Job, text string, state *struct{ N int }) (string, error) {
		state.N++
		return fmt.Sprintf("%d %s", state.N, text), nil
	})
	a.Definition = agent.Definition{Name: "counter", Greeting: "Hello!", Concurrency: 16}
	return a
}

// Session opens a session and returns its id.
func (m *Mesh) Session(agentName string) string {
	m.T.Helper()
	w := m.Do("POST", "/sessions", `{"agent":"`+agentName+`"}`)
	if w.Code != http.StatusCreated {
		m.T.Fatalf("POST /sessions = %d %s", w.Code, w.Body)
	}
	return Decode[SessionView](m.T, w.Body).SessionID
}

// Say posts a message whose answer must have the status.
func (m *Mesh) Say(status int, id, text string, headers ...string) TurnView {
	m.T.Helper()
	return m.PostMessage(status, id, fmt.Sprintf(`{"text":%q}`, text), headers...)
}

// PostMessage posts a message as JSON whose answer must have the status.
func (m *Mesh) PostMessage(status int, id, body string, headers ...string) TurnView {
	m.T.Helper()
	w := m.Do("POST", "/sessions/"+id+"/messages", body, headers...)
	if w.Code != status {
		m.T.Fatalf("POST /sessions/%s/messages %s = %d %s", id, body, w.Code, w.Body)
	}
	return Decode[TurnView](m.T, w.Body)
}

// Transcript reads what was said in a session.
func (m *Mesh) Transcript(id string) []session.Message {
	m.T.Helper()
	w := m.Do("GET", "/sessions/"+id+"/messages", "")
	if w.Code != http.StatusOK {
		m.T.Fatalf("GET messages = %d %s", w.Code, w.Body)
	}
	return Decode[TranscriptView](m.T, w.Body).Messages
}

// Talk is a transcript as lines.
func Talk(messages []session.Message) string {
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

// Turn reads a turn of a session.
func (m *Mesh) Turn(id, turn string, headers ...string) TurnView {
	m.T.Helper()
	w := m.Do("GET", "/sessions/"+id+"/turns/"+turn, "", headers...)
	if w.Code != http.StatusOK {
		m.T.Fatalf("GET turn = %d %s", w.Code, w.Body)
	}
	return Decode[TurnView](m.T, w.Body)
}

// Slow is an agent whose turns last until told, or until their context ends.
type Slow struct {
	Release chan struct{}
	Begun   atomic.Int32
}

// Agent is the agent with a definition; Release ends the turns that wait.
func (s *Slow) Agent(d agent.Definition) agent.Agent {
	s.Release = make(chan struct{})
	return agent.Agent{Definition: d, Handler: func(ctx context.Context, job *agent.Job) (any, error) {
		s.Begun.Add(1)
		if !strings.HasPrefix(job.Turn.Text(), "wait") {
			return "done " + job.Turn.Text(), nil
		}
		select {
		case <-s.Release:
			return agent.Reply{Message: "done " + job.Turn.Text(), State: map[string]string{"last": job.Turn.Text()}}, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}}
}
