package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

func TestReplyOf(t *testing.T) {
	big := strings.Repeat("x", session.MaxReply)
	type wide struct{ A, B int }
	for _, tt := range []struct {
		name           string
		v              any
		message, state string
		code, err      string
	}{
		{"nothing", nil, "", "", "", ""},
		{"text", "hi <you>", "hi <you>", "", "", ""},
		{"reply", agent.Reply{Message: "hi", State: wide{1, 2}}, "hi", `{"A":1,"B":2}`, "", ""},
		{"reply without state", agent.Reply{Message: "hi"}, "hi", "", "", ""},
		{"empty reply", agent.Reply{}, "", "", "", ""},
		{"pointer", &agent.Reply{Message: "hi"}, "hi", "", "", ""},
		{"object", json.RawMessage(`{"message":"hi","state":{"n":1}}`), "hi", `{"n":1}`, "", ""},
		{"state null", json.RawMessage(`{"message":"hi","state":null}`), "hi", "", "", ""},
		{"text of a program", map[string]string{"text": "hi\nyou\r\n"}, "hi\nyou", "", "", ""},
		{"message before text", json.RawMessage(`{"text":"no","message":"hi"}`), "hi", "", "", ""},
		{"other object", wide{1, 2}, `{"A":1,"B":2}`, "", "", ""},
		{"array", []int{1, 2}, "[1,2]", "", "", ""},
		{"number", 7, "7", "", "", ""},
		{"null", json.RawMessage("null"), "null", "", "", ""},
		{"JSON text", json.RawMessage(`"a\nb"`), "a\nb", "", "", ""},
		{"as large as allowed", big, big, "", "", ""},
		{"too large", big + "x", "", "", task.CodeResultTooLarge, "the reply has 262145 bytes, allowed are 262144"},
		{"too large as JSON", strings.Repeat("\x01", session.MaxReply/6+1), "", "", task.CodeResultTooLarge, "the reply has"},
		{"state a text", agent.Reply{Message: "hi", State: "x"}, "", "", task.CodeAgentBadOutput, "the state must be a JSON object"},
		{"state a number", agent.Reply{Message: "hi", State: 7}, "", "", task.CodeAgentBadOutput, "the state must be a JSON object"},
		{"state an array", json.RawMessage(`{"message":"hi","state":[1]}`), "", "", task.CodeAgentBadOutput, "the state must be a JSON object"},
		{"state too large", agent.Reply{Message: "hi", State: map[string]string{"a": strings.Repeat("x", session.MaxState)}}, "", "", task.CodeResultTooLarge, "the state has"},
		{"message no text", json.RawMessage(`{"message":7}`), "", "", task.CodeAgentBadOutput, "message and text must be texts"},
		{"no JSON", agent.Reply{Message: "hi", State: func() {}}, "", "", task.CodeAgentBadOutput, "the reply is not JSON"},
		{"broken JSON", json.RawMessage(`{`), "", "", task.CodeAgentBadOutput, "the reply is not JSON"},
	} {
		message, state, err := agent.ReplyOf(tt.v)
		var e *agent.Error
		switch {
		case tt.err == "" && (err != nil || message != tt.message || string(state) != tt.state):
			t.Errorf("%s: %.40q %s, %v", tt.name, message, state, err)
		case tt.err != "" && (!errors.As(err, &e) || e.Code != tt.code || !e.Permanent || !strings.Contains(e.Message, tt.err)):
			t.Errorf("%s: %+v, want %s with %q", tt.name, err, tt.code, tt.err)
		}
	}
}

// The state that a conversation leaves is the one it finds in the next turn.
func TestConversation(t *testing.T) {
	type memory struct {
		Said []string `json:"said"`
	}
	a := agent.Conversation(func(_ context.Context, job *agent.Job, text string, m *memory) (string, error) {
		if text == "fail" {
			return "", errors.New("away")
		}
		m.Said = append(m.Said, text)
		return strings.Join(m.Said, "+"), nil
	})
	var state json.RawMessage
	say := func(text string) (string, error) {
		job := agent.NewJob(&task.Task{Instruction: text}, nil, "", nil)
		job.Turn = &agent.Turn{SessionID: "ses_1", Messages: []agent.Message{{Text: "before"}, {Text: text}}, State: state}
		v, err := a.Handler(t.Context(), job)
		if err != nil {
			return "", err
		}
		message, next, err := agent.ReplyOf(v)
		state = next
		return message, err
	}
	for _, tt := range [][2]string{{"a", "a"}, {"b", "a+b"}, {"c", "a+b+c"}} {
		if got, err := say(tt[0]); err != nil || got != tt[1] {
			t.Errorf("%s: %q, %v", tt[0], got, err)
		}
	}
	if string(state) != `{"said":["a","b","c"]}` {
		t.Errorf("state %s", state)
	}
	if _, err := say("fail"); err == nil || err.Error() != "away" {
		t.Errorf("%v", err)
	}
	state = json.RawMessage(`{"said":7}`)
	var e *agent.Error
	if _, err := say("x"); !errors.As(err, &e) || !e.Permanent || !strings.Contains(err.Error(), "decode the state of session ses_1") {
		t.Errorf("a foreign state: %v", err)
	}
	// A task is the first message of a session that is forgotten.
	if v, err := a.Handler(t.Context(), agent.NewJob(&task.Task{Instruction: "x"}, nil, "", nil)); err != nil || v.(agent.Reply).Message != "x" {
		t.Errorf("%+v, %v", v, err)
	}
}
