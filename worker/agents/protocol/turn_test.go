package protocol_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/protocol"
)

func turnJob(t *testing.T, state string) *agent.Job {
	at := time.Date(2026, 5, 19, 10, 30, 0, 0, time.UTC)
	job := agent.NewJob(&task.Task{ID: "trn_1", Kind: task.KindTurn, Agent: "a", Attempt: 1, Instruction: "<b>"}, nil, "", sane{t})
	job.Turn = &agent.Turn{SessionID: "ses_1", Messages: []agent.Message{{Role: "agent", Text: "Hello!", At: at}, {Role: "user", Text: "<b>", At: at, TurnID: "trn_1"}}}
	if state != "" {
		job.Turn.State = json.RawMessage(state)
	}
	return job
}

func TestEncodeTurn(t *testing.T) {
	for state, want := range map[string]string{"": "{}", `{"n":1}`: `{"n":1}`} {
		got, err := protocol.Encode(turnJob(t, state))
		if line := `{"task_id":"trn_1","kind":"turn","agent":"a","attempt":1,"instruction":"<b>","session":{"session_id":"ses_1","messages":[` +
			`{"role":"agent","text":"Hello!","at":"2026-05-19T10:30:00Z"},{"role":"user","text":"<b>","at":"2026-05-19T10:30:00Z","turn_id":"trn_1"}],"state":` + want + `}}`; err != nil || string(got) != line {
			t.Errorf("%s, %v\nwant %s", got, err, line)
		}
	}
}

// The output of a program is one reply and one state, or an error that names the
// fault.
func TestReplies(t *testing.T) {
	for _, tt := range []struct{ name, lines, message, state, err string }{
		{"reply", `{"type":"reply","message":"hi","state":{"n":1}}`, "hi", `{"n":1}`, ""},
		{"without state", `{"type":"reply","message":"hi"}`, "hi", "", ""},
		{"state null", `{"type":"reply","message":"hi","state":null}`, "hi", "", ""},
		{"the last one wins", `{"type":"reply","message":"a","state":{"n":1}}` + "\n" + `{"type":"reply","message":"b"}`, "b", "", ""},
		{"after output", "thinking\n" + `{"type":"output","text":"more"}` + "\n" + `{"type":"reply","message":"hi"}`, "hi", "", ""},
		{"before a result", `{"type":"reply","message":"hi"}` + "\n" + `{"type":"result","result":1}`, "hi", "", ""},
		{"a result alone", `{"type":"result","result":{"message":"hi","state":{}}}`, "hi", "{}", ""},
		{"text alone", "hi\nyou\n", "hi\nyou", "", ""},
		{"message missing", `{"type":"reply","state":{}}`, "", "", `has no "message"`},
		{"message empty", `{"type":"reply","message":""}`, "", "", `has no "message"`},
		{"message a number", `{"type":"reply","message":7}`, "", "", "the reply message"},
		{"state a text", `{"type":"reply","message":"hi","state":"x"}`, "", "", "the state must be a JSON object"},
		{"state an array", `{"type":"reply","message":"hi","state":[]}`, "", "", "the state must be a JSON object"},
		{"broken JSON", `{"type":"reply","message":"hi`, "", "", "the reply message"},
		{"broken state", `{ "type": "reply", "message": "hi", "state": {n:1}}`, "", "", "the reply message"},
		{"error after a reply", `{"type":"reply","message":"hi"}` + "\n" + `{"type":"error","message":"away"}`, "", "", "away"},
	} {
		o, err := protocol.Read(t.Context(), strings.NewReader(tt.lines), turnJob(t, ""))
		var v any
		var message string
		var state json.RawMessage
		if err == nil {
			v, err = o.Value()
		}
		if err == nil {
			message, state, err = agent.ReplyOf(v)
		}
		var e *agent.Error
		switch {
		case tt.err == "" && (err != nil || message != tt.message || string(state) != tt.state):
			t.Errorf("%s: %q %s, %v", tt.name, message, state, err)
		case tt.err != "" && (!errors.As(err, &e) || !strings.Contains(e.Message, tt.err)):
			t.Errorf("%s: %v, want %q", tt.name, err, tt.err)
		}
	}
}

// Any output of a turn is a reply with an object as state, or an error with a
// code.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		`{"type":"reply","message":"hi","state":{"n":1}}`, `{"type":"reply","message":"hi","state":[]}`, `{"type":"reply"`, `{"type":"reply","message":"a","Message":"b","state": {} }`,
		`{"type":"result","result":{"text":7}}`, "text\r\n", `{"type":"reply","message":"\ud800","state":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var e *agent.Error
		o, err := protocol.Read(t.Context(), strings.NewReader(string(raw)), turnJob(t, ""))
		if err != nil {
			if !errors.As(err, &e) || e.Code == "" {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		v, err := o.Value()
		if err != nil {
			return
		}
		message, state, err := agent.ReplyOf(v)
		if err != nil {
			if !errors.As(err, &e) || e.Code == "" || !e.Permanent {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		var object map[string]any
		if state != nil && json.Unmarshal(state, &object) != nil {
			t.Fatalf("%q is %q with state %s", raw, message, state)
		}
	})
}
