package protocol_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/linestest"
	"agentmesh/worker/agents/protocol"
)

func durableJob(m *linestest.Memory) *agent.Job {
	return agent.NewJob(&task.Task{ID: "tsk_1", Kind: task.KindTask, Agent: "a", Attempt: 1}, nil, "", &heard{}).WithLines(m)
}

// run reads the lines of one run of an agent that keeps steps. told is what was kept
// and the words that were asked for.
func run(t *testing.T, m *linestest.Memory, lines string) (value string, again bool, told []string, err error) {
	t.Helper()
	job := durableJob(m)
	b, err := protocol.OpenBook(t.Context(), job, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := len(m.Told())
	words := func(a protocol.Ack) { told = append(told, string(marshal(t, a))) }
	o, err := protocol.ReadDurable(t.Context(), iotest.OneByteReader(strings.NewReader(lines)), job, b, words)
	for _, l := range m.Told()[before:] {
		told = append(told, spell(l))
	}
	if err != nil {
		return "", false, told, err
	}
	v, again, err := b.Ended(o)
	return string(marshal(t, v)), again, told, err
}

// spell is a line in short.
func spell(l agent.Line) string {
	text := fmt.Sprintf("%s %s.%d", l.Kind, l.Name, l.N)
	if l.Value != nil {
		text += " = " + string(l.Value)
	}
	if l.Error != nil {
		text += " fails: " + l.Error.Code + ": " + l.Error.Message
	}
	if l.Key != "" {
		text += " by " + l.Key
	}
	switch l.Kind {
	case agent.LineSleep:
		text += fmt.Sprintf(" for %v until %v", l.For, l.Until.UTC().Format("15:04"))
	case agent.LineAsk, agent.LineWait:
		text += fmt.Sprintf(" %q %s %v", l.Prompt, l.Schema, l.Timeout)
	}
	return text
}

// What an agent that keeps steps says is kept in its order, with the number that it
// has among those of its name.
func TestDurableLinesAreKeptInTheirOrder(t *testing.T) {
	for _, tt := range []struct {
		name, lines string
		told        string
		value       string
		again       bool
	}{
		{"a step", `{"type":"step","name":"charge","value":{"b":1,"a":[]}}`, `step charge.0 = {"b":1,"a":[]}`, `{"text":""}`, false},
		{"its word", `{"type":"step","name":"charge","value":null,"ack":true}` + "\n" + `{"type":"result","result":1}`, `{"type":"ok","name":"charge","n":0}|step charge.0 = null`, "1", false},
		{"no word", `{"type":"step","name":"charge","value":1,"ack":false}`, `step charge.0 = 1`, `{"text":""}`, false},
		{"counted by name", `{"type":"step","name":"p","value":1}` + "\n" + `{"type":"step","name":"q","value":2}` + "\n" + `{"type":"step","name":"p","value":3}`, "step p.0 = 1|step q.0 = 2|step p.1 = 3", `{"text":""}`, false},
		{"with a number", `{"type":"step","name":"p","n":7,"value":1}` + "\n" + `{"type":"step","name":"p","value":2}`, "step p.7 = 1|step p.0 = 2", `{"text":""}`, false},
		{"started, then finished", `{"type":"started","name":"p"}` + "\n" + `{"type":"step","name":"p","value":2}` + "\n" + `{"type":"started","name":"p"}`, "started p.0|step p.0 = 2|started p.1", `{"text":""}`, false},
		{"told again", `{"type":"step","name":"p","n":0,"value":2}` + "\n" + `{"type":"step","name":"p","n":0,"value":2}`, "step p.0 = 2", `{"text":""}`, false},
		{"another key", `{"type":"step","name":"p","n":0,"key":1,"value":2}` + "\n" + `{"type":"step","name":"p","n":0,"key":2,"value":3}`,
			"step p.0 = 2 by 6b86b273ff34fce1|step p.0 = 3 by d4735e3a265e16ee", `{"text":""}`, false},
		{"a failure", `{"type":"step","name":"p","error":"no such card"}`, "step p.0 fails: agent_error: no such card", `{"text":""}`, false},
		{"a failure with a code", `{"type":"step","name":"p","error":{"code":"declined","message":"x"},"value":null}`, "step p.0 fails: declined: x", `{"text":""}`, false},
		{"a checkpoint", `{"type":"checkpoint","value":{"page":7},"ack":true}`, `{"type":"ok"}|checkpoint .0 = {"page":7}`, `{"text":""}`, false},
		{"sleep for", `{"type":"sleep","name":"cool-down","for":"24h"}`, "sleep cool-down.0 for 24h0m0s until 00:00", "null", true},
		{"sleep for seconds", `{"type":"sleep","name":"s","for":1.5}`, "sleep s.0 for 1.5s until 00:00", "null", true},
		{"sleep until", `{"type":"sleep","name":"s","until":"2026-05-19T10:30:00Z"}`, "sleep s.0 for 0s until 10:30", "null", true},
		{"ask", `{"type":"ask","name":"approve","prompt":"Refund?","schema":{"type":"boolean"},"timeout":"48h"}`, `ask approve.0 "Refund?" {"type":"boolean"} 48h0m0s`, "null", true},
		{"ask shortly", `{"type":"ask","name":"approve"}`, `ask approve.0 ""  0s`, "null", true},
		{"wait", `{"type":"wait","name":"payment","timeout":"10m"}`, `wait payment.0 ""  10m0s`, "null", true},
		{"two at once, and text", "text\n" + `{"type":"ask","name":"a"}` + "\n" + `{"type":"sleep","name":"b","for":"1m"}` + "\nmore", `ask a.0 ""  0s|sleep b.0 for 1m0s until 00:00`, "null", true},
		{"side notes", `{"type":"progress","percent":5}` + "\n" + `{"type":"step","name":"p","value":1}`, "step p.0 = 1", `{"text":""}`, false},
	} {
		m := &linestest.Memory{}
		value, again, told, err := run(t, m, tt.lines)
		if err != nil || value != tt.value || again != tt.again || strings.Join(told, "|") != tt.told {
			t.Errorf("%s: %s, again %v, %v\ntold %s\nwant %s", tt.name, value, again, err, strings.Join(told, "|"), tt.told)
		}
	}
}

// A durable line that is not as it should be is a fault which names the line, since
// the agent goes on as if it were kept.
func TestADurableLineThatIsNoneIsAFaultThatNamesIt(t *testing.T) {
	long := strings.Repeat("x", 129)
	for line, want := range map[string]string{
		`{"type":"step","name":"charge"}`:                                                                  `the step message {"name":"charge","type":"step"} has neither "value" nor "error"`,
		`{"type":"step","value":1}`:                                                                        `has no "name"`,
		`{"type":"step","name":"","value":1}`:                                                              `has no "name"`,
		`{"type":"step","name":7,"value":1}`:                                                               `has a "name" that is not a text`,
		`{"type":"step","name":"` + long + `","value":1}`:                                                  `has a "name" of 129 bytes, allowed are 128`,
		`{"type":"step","name":"p","value":1,"n":-1}`:                                                      `"n" that is no whole number from 0 to 9999`,
		`{"type":"step","name":"p","value":1,"n":1.5}`:                                                     `"n" that is no whole number`,
		`{"type":"step","name":"p","value":1,"n":"0"}`:                                                     `"n" that is no whole number`,
		`{"type":"step","name":"p","value":1,"n":10000}`:                                                   `"n" that is no whole number`,
		`{"type":"step","name":"p","value":1,"error":"x"}`:                                                 `has both "value" and "error"`,
		`{"type":"step","name":"p","error":7}`:                                                             `"error" that is neither a text nor`,
		`{"type":"step","name":"p","error":{"code":"x"}}`:                                                  `"error" without a message`,
		`{"type":"step","name":"p","value":1e999}`:                                                         `has a "value" that cannot be kept`,
		`{"type":"step","name":"p","value":1,"ack":"yes"}`:                                                 `has a "ack" that is not true or false`,
		`{"type":"step","name":"p","value":`:                                                               `the step message {"type":"step","name":"p","value": is no JSON object`,
		`{"type":"started"}`:                                                                               `the started message {"type":"started"} has no "name"`,
		`{"type":"checkpoint"}`:                                                                            `has no "value"`,
		`{"type":"sleep","name":"s"}`:                                                                      `needs either "for" or "until"`,
		`{"type":"sleep","name":"s","for":"1h","until":"2026-05-19T10:30:00Z"}`:                            `needs either "for" or "until"`,
		`{"type":"sleep","name":"s","for":"tomorrow"}`:                                                     `"for" that is no duration such as 90s or 24h`,
		`{"type":"sleep","name":"s","for":"-1h"}`:                                                          `"for" that is no duration`,
		`{"type":"sleep","name":"s","for":"10000h"}`:                                                       `at most 8784h`,
		`{"type":"sleep","name":"s","for":1e99}`:                                                           `"for" that is no duration`,
		`{"type":"sleep","name":"s","until":"tomorrow"}`:                                                   `has a "until" that is not a time such as`,
		`{"type":"ask","name":"a","prompt":7}`:                                                             `has a "prompt" that is not a text`,
		`{"type":"ask","name":"a","schema":{"type":"objekt"}}`:                                             `"schema" that is no JSON Schema`,
		`{"type":"ask","name":"a","schema":{"$ref":"file:///etc/passwd"}}`:                                 `"schema" that is no JSON Schema`,
		`{"type":"ask","name":"a","timeout":"soon"}`:                                                       `"timeout" that is no duration`,
		`{"type":"wait","name":"w","timeout":0}`:                                                           `"timeout" that is no duration`,
		`{"type":"wait"}`:                                                                                  `the wait message {"type":"wait"} has no "name"`,
		`{"type":"ask","name":"a"` + "\n":                                                                  `the ask message`,
		`{"type":"sleep","name":"s","for":"1h"}` + "\n" + `{"type":"result","result":1}`:                   `a result beside a sleep, an ask or a wait`,
		`{"type":"step","name":"p","value":1}` + "\n" + `{"type":"ask","name":"p"}`:                        `has the name of a step of this task`,
		`{"type":"step","name":"p","n":0,"value":1}` + "\n" + `{"type":"step","name":"p","n":0,"value":2}`: `is of a step that has finished before: take its value from "steps"`,
		`{"type":"step","name":"p","n":0,"value":1}` + "\n" + `{"type":"started","name":"p","n":0}`:        `is of a step that has finished before`,
	} {
		_, _, _, err := run(t, &linestest.Memory{}, line)
		var e *agent.Error
		if !errors.As(err, &e) || e.Code != task.CodeAgentBadOutput || !e.Permanent || !strings.Contains(e.Message, want) {
			t.Errorf("%s: %v\nwant %s", line, err, want)
		}
	}
}

// To a run that follows, the n of a line that has none is the first that has not come
// to its end.
func TestARunThatFollowsGoesOnWithTheNumbers(t *testing.T) {
	m := &linestest.Memory{}
	if _, _, _, err := run(t, m, `{"type":"step","name":"p","value":1}`+"\n"+`{"type":"step","name":"p","key":"k","value":2}`+"\n"+`{"type":"started","name":"p"}`+"\n"+`{"type":"checkpoint","value":[2]}`); err != nil {
		t.Fatal(err)
	}
	m.Come(agent.PastStep{Name: "approve", Kind: agent.PastAnswer, Value: json.RawMessage("true")})
	m.Come(agent.PastStep{Name: "nap", Kind: agent.LineSleep})
	m.Come(agent.PastStep{Name: "big", ValueURL: "http://x/big"})
	b, err := protocol.OpenBook(t.Context(), durableJob(m), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"task_id":"tsk_1","kind":"task","agent":"a","attempt":1,"run":2,"steps":[{"name":"p","n":0,"value":1},{"name":"p","n":1,"value":2},{"name":"p","n":2,"kind":"started"},` +
		`{"name":"approve","n":0,"kind":"answer","value":true},{"name":"nap","n":0,"kind":"sleep"},{"name":"big","n":0,"value_url":"http://x/big"}],"checkpoint":[2],"steps_url":"http://x/steps","lease":"l"}`
	if got, err := b.Encode("http://x/steps", "l"); err != nil || string(got) != want {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
	for _, tt := range []struct{ lines, told string }{
		{`{"type":"step","name":"p","n":1,"key":"k","value":2}`, ""}, // told again
		{`{"type":"step","name":"p","n":1,"key":"l","value":3}`, "step p.1 = 3 by "},
		{`{"type":"wait","name":"approve"}`, `wait approve.1 ""  0s`},
		{`{"type":"sleep","name":"nap","for":"1h"}`, "sleep nap.1 for 1h0m0s until 00:00"},
		{`{"type":"step","name":"p","value":3}`, "step p.2 = 3"},
	} {
		_, _, got, err := run(t, m, tt.lines)
		if err != nil || !strings.HasPrefix(strings.Join(got, "|"), tt.told) || tt.told == "" && got != nil {
			t.Errorf("%s: %q, %v, want %q", tt.lines, got, err, tt.told)
		}
	}
}

// What has come is not waited for: a program that does not look would be started
// again and again.
func TestWhatHasComeIsNotWaitedFor(t *testing.T) {
	m := &linestest.Memory{}
	m.Come(agent.PastStep{Name: "approve", Kind: agent.PastAnswer, Value: json.RawMessage("true")})
	m.Come(agent.PastStep{Name: "nap", Kind: agent.LineSleep})
	for _, line := range []string{`{"type":"ask","name":"approve","n":0}`, `{"type":"sleep","name":"nap","n":0,"for":"1h"}`} {
		var e *agent.Error
		if _, _, _, err := run(t, m, line); !errors.As(err, &e) || e.Code != task.CodeAgentBadOutput || !strings.Contains(e.Message, `has come: take it from "steps"`) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// Agents that keep no steps say what they like: their lines are text.
func TestDurableLinesOfOtherAgentsAreText(t *testing.T) {
	line := `{"type":"step","name":"charge","value":1}`
	if got, err := read(t, line, &heard{}); err != nil || got != `{"text":`+string(marshal(t, line))+`}` {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := protocol.Encode(agent.NewJob(&task.Task{ID: "tsk_1", Kind: task.KindTask, Agent: "a", Attempt: 1}, nil, "", nil)); err != nil || string(got) != `{"task_id":"tsk_1","kind":"task","agent":"a","attempt":1}` {
		t.Errorf("%s, %v", got, err)
	}
}

// A line that the journal refuses ends the run with the journal's word.
func TestALineThatIsNotKeptEndsTheRun(t *testing.T) {
	lost := errors.New("lost")
	for _, refusal := range []error{lost, &agent.Error{Code: "journal_full", Permanent: true, Err: lost}} {
		m := &linestest.Memory{Refuse: func(l agent.Line) error {
			if l.N == 1 {
				return refusal
			}
			return nil
		}}
		_, _, told, err := run(t, m, strings.Repeat(`{"type":"step","name":"p","value":1,"ack":true}`+"\n", 3))
		if !errors.Is(err, lost) || strings.Join(told, "|") != `{"type":"ok","name":"p","n":0}|step p.0 = 1` {
			t.Errorf("%q, %v", told, err)
		}
	}
}

// One message that comes by itself is kept and answered, or refused with its fault.
func TestAnswerKeepsOneMessage(t *testing.T) {
	m := &linestest.Memory{}
	b, err := protocol.OpenBook(t.Context(), durableJob(m), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Answer(t.Context(), []byte(`{"type":"step","name":"p","value":1}`)); err != nil || string(got) != `{"type":"ok","name":"p","n":0}` || len(m.Told()) != 1 {
		t.Errorf("%s, %v", got, err)
	}
	for line, want := range map[string]string{
		`{"type":"progress","percent":1}`: "is none of the messages step, started", `text`: "is none of the messages", `{"type":"step"`: "the step message", `{"type":"step","name":"p"}`: "neither",
	} {
		var e *agent.Error
		if _, err := b.Answer(t.Context(), []byte(line)); !errors.As(err, &e) || e.Code != task.CodeAgentBadOutput || !strings.Contains(e.Message, want) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// Whatever an agent that keeps steps says, in any pieces, has one outcome, and what is
// kept has a name, a number and a value that is JSON.
func FuzzDurable(f *testing.F) {
	for _, seed := range []string{
		`{"type":"step","name":"a","value":1}` + "\n" + `{"type":"step","name":"a","n":0,"value":2}`, `{"type":"ask","name":"a","schema":{},"timeout":"1h"}` + "\n" + `{"type":"result","result":1}`,
		`{"type":"sleep","name":"a","for":1e308}`, `{"type":"sleep","name":"a","until":"9999-12-31T23:59:59Z"}`, `{"type":"checkpoint","value":{"a":1,"a":"\ud800"}}`, `{"type":"started","name":"\ud800","n":9999}`,
		`{"type":"step","name":"a","error":{"code":7}}`, `{"type":"wait","name":"a","timeout":null}` + "\n" + `{"type":"error","message":"x"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := &linestest.Memory{}
		_, _, _, err := run(t, m, string(raw))
		var e *agent.Error
		if err != nil && (!errors.As(err, &e) || e.Message == "") {
			t.Fatalf("%q: %v", raw, err)
		}
		seen := map[string]bool{}
		for _, l := range m.Told() {
			if l.Value != nil && !json.Valid(l.Value) || l.Kind != agent.LineCheckpoint && l.Name == "" || l.N < 0 || l.N > 9999 || l.For < 0 || l.Timeout < 0 {
				t.Fatalf("%q keeps %+v", raw, l)
			}
			id := fmt.Sprint(l.Name, l.N, l.Key)
			if l.Kind == agent.LineStep && seen[id] {
				t.Fatalf("%q keeps %s twice", raw, id)
			}
			seen[id] = seen[id] || l.Kind == agent.LineStep
		}
	})
}
