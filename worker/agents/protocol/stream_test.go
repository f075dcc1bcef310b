package protocol_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/protocol"
)

// heard keeps what a job tells.
type heard struct {
	progress, milestones, output, warnings []string
}

func (h *heard) Progress(percent int, message string) {
	h.progress = append(h.progress, strings.TrimSpace(strconv.Itoa(percent)+"% "+message))
}
func (h *heard) Milestone(_ context.Context, name, message string, data json.RawMessage) error {
	h.milestones = append(h.milestones, strings.TrimSpace(name+" "+message+" "+string(data)))
	return nil
}
func (h *heard) Output(text string) { h.output = append(h.output, text) }
func (h *heard) Warn(text string)   { h.warnings = append(h.warnings, text) }

func read(t *testing.T, lines string, h *heard) (string, error) {
	t.Helper()
	o, err := protocol.Read(t.Context(), strings.NewReader(lines), agent.NewJob(&task.Task{ID: "tsk_1"}, nil, "", h))
	if err != nil {
		return "", err
	}
	v, err := o.Value()
	b, _ := task.Marshal(v)
	return string(b), err
}

// A line that was meant to be a message is one, or is refused: an error never
// becomes the result.
func TestALineThatIsNearlyAMessageIsAFault(t *testing.T) {
	for _, line := range []string{
		`{"type":"error","message":"x","took":NaN}`, `{"took":NaN,"type":"error","message":"x"}`, `{"took":Infinity, "n":[1,{"type":"a"}], "type" : "error"}`,
		`{"type":"error","message":"x"`, `{"type":"error","mess`, `{"type":"error"`, `{"type":"err`, `{"type":"`, `{"type":`,
		`{"type":"error","message":"x"}{"type":"result","result":1}`, `{"type":"progress","percent":1} {"type":"error","message":"x"}`, `{"type":"error","message":"x"} trailing`,
		`{"type":"error","message":"x",}`, `{"type":"error","message":"he said "no""}`, `{"message":"he said "no"","type":"error"}`, "{\"type\":\"error\",\"message\":\"a\tb\x01\"}",
		`{'type': 'error', 'message': 'x'}`, `{ type: 'error', message: 'x' }`, `{type:"error",message:"x"}`, `{"type":"error","message":undefined}`, "  \t{\"type\":\"error\",",
		"\uFEFF" + `{"type":"error","took":NaN}`, `{"type":"result","result":`, `{"type":"milestone","name":}`,
	} {
		for _, lines := range []string{line, line + "\n", "text\n" + line + "\r\nmore\n"} {
			got, err := read(t, lines, &heard{})
			var e *agent.Error
			if !errors.As(err, &e) || e.Code != task.CodeAgentBadOutput || !e.Permanent {
				t.Errorf("%q: %s, %v", lines, got, err)
			}
		}
	}
	for line, want := range map[string]string{ // names are exact, and text stays text
		`{"TYPE":"error","message":"x"}`: "", `{"Type":"error"}`: "", `{"type":"Error","message":"x"}`: "", `{"type":"errors"`: "", `{"type":"joke",`: "", `{`: "", `{"ty`: "",
		`{"data":{"type":"error"},"n":NaN}`: "", `{ not json`: "", `a {"type":"error","took":NaN}`: "", `[{"type":"error",`: "", `{"text":"\"type\":\"error\""`: "", `{type: error}`: "",
	} {
		want = `{"text":` + string(marshal(t, line)) + `}`
		if got, err := read(t, line, &heard{}); err != nil || got != want {
			t.Errorf("%q: %s, %v", line, got, err)
		}
	}
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	b, err := task.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAByteOrderMarkIsSkipped(t *testing.T) {
	const mark = "\uFEFF"
	if _, err := read(t, mark+`{"type":"error","code":"away","message":"x"}`, &heard{}); err == nil || err.Error() != "x" {
		t.Errorf("before the first message: %v", err)
	}
	if got, err := read(t, "text\n"+mark+`{"type":"result","result":1}`, &heard{}); err != nil || got != "1" {
		t.Errorf("before a later message: %s, %v", got, err)
	}
	for _, utf16 := range []string{"\xff\xfe{\x00\"\x00", "\xfe\xff\x00{\x00\""} {
		if got, err := read(t, utf16, &heard{}); err == nil || !strings.Contains(err.Error(), "UTF-16") {
			t.Errorf("UTF-16: %s, %v", got, err)
		}
	}
	if got, err := read(t, mark+"text", &heard{}); err != nil || got != `{"text":"text"}` {
		t.Errorf("before text: %s, %v", got, err)
	}
}

// A fault in a side note costs a warning, and the result is kept.
func TestBadSideNotesAreMendedOrDropped(t *testing.T) {
	big := strings.Repeat("x", 5<<10)
	for _, tt := range []struct{ line, progress, milestone, output, warning string }{
		{`{"type":"progress","percent":"70%"}`, "70%", "", "", "is a text"},
		{`{"type":"progress","percent":" 70.5 ","message":7}`, "70% 7", "", "", "is a text"},
		{`{"type":"progress","percent":"soon","message":"x"}`, "", "", "", "was left out"},
		{`{"type":"progress","percent":"NaN%"}`, "", "", "", "was left out"},
		{`{"type":"progress","percent":[70]}`, "", "", "", "was left out"},
		{`{"type":"progress","percent":true}`, "", "", "", "was left out"},
		{`{"type":"progress","percent":1e999,"message":{"a":1}}`, `100% {"a":1}`, "", "", "is no text"},
		{`{"type":"progress","percent":-1e999}`, "0%", "", "", ""},
		{`{"type":"progress","percent":null,"message":null}`, "0%", "", "", ""},
		{`{"type":"milestone","name":"m","message":7}`, "", "m 7", "", "is no text"},
		{`{"type":"milestone","name":7,"data":null}`, "", "7", "", "is no text"},
		{`{"type":"milestone","message":"x"}`, "", "", "", "is missing"},
		{`{"type":"milestone","name":""}`, "", "", "", "is missing"},
		{`{"type":"milestone","name":"m","message":"x","data":"` + big + `"}`, "", "m x", "", "allowed are 4096"},
		{`{"type":"milestone","name":"m","data":{"a":1,"a":1e999}}`, "", "m", "", "exponent"},
		{`{"type":"milestone","name":"m","data":{"a":1,"a":"\ud800"}}`, "", "m  {\"a\":\"\uFFFD\"}", "", ""},
		{`{"type":"output","text":7}`, "", "", "7", "is no text"},
		{`{"type":"output","text":null}`, "", "", "", ""},
		{`{"type":"output"}`, "", "", "", "is missing"},
	} {
		h := &heard{}
		got, err := read(t, tt.line+"\n"+`{"type":"result","result":"kept"}`, h)
		if err != nil || got != `"kept"` || strings.Join(h.progress, "") != tt.progress || strings.Join(h.milestones, "") != tt.milestone ||
			strings.Join(h.output, "") != tt.output || !strings.Contains(strings.Join(h.warnings, ";"), tt.warning) || (len(h.warnings) > 0) != (tt.warning != "") {
			t.Errorf("%.80s: %s, %v, %.200v", tt.line, got, err, *h)
		}
	}
}

// An error message is an error, however odd.
func TestOddErrorsAreErrors(t *testing.T) {
	for line, want := range map[string]agent.Error{
		`{"type":"error","message":{"a":1}}`:                          {Message: `{"a":1}`},
		`{"type":"error","message":"x","code":500}`:                   {Message: "x", Code: "500"},
		`{"type":"error","message":"x","retryable":"false"}`:          {Message: "x", Permanent: true},
		`{"type":"error","message":"x","retryable":0}`:                {Message: "x", Permanent: true},
		`{"type":"error","message":"x","retryable":"no idea"}`:        {Message: "x"},
		"{\"type\":\"error\",\"message\":\"caf\xe9\",\"code\":\"c\"}": {Message: "caf\uFFFD", Code: "c"},
	} {
		_, err := read(t, line, &heard{})
		var e *agent.Error
		if !errors.As(err, &e) || e.Message != want.Message || e.Code != want.Code || e.Permanent != want.Permanent {
			t.Errorf("%s: %+v", line, err)
		}
	}
}

// pieces gives one piece at a time, and says when the reader wants the next.
type pieces struct {
	all   []string
	after func(n int)
}

func (p *pieces) Read(b []byte) (int, error) {
	p.after(len(p.all))
	if len(p.all) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.all[0])
	p.all = p.all[1:]
	return n, nil
}

// Text is passed on before its line ends, in whole characters; a possible message
// waits.
func TestTextIsShownBeforeItsLineEnds(t *testing.T) {
	h := &heard{}
	var seen []string
	r := &pieces{all: []string{"to", "ken ", "caf\xc3", "\xa9 ", " {\"type\":", "\n{\"type\":\"pro", "gress\",\"percent\":5}\n", " ", "{\"type\":\"output\",\"text\":\"x\"}\n", "\xe2\x82", "\xac", "\xff"}}
	r.after = func(int) { seen = append(seen, strings.Join(h.output, "")) }
	o, err := protocol.Read(t.Context(), r, agent.NewJob(&task.Task{ID: "tsk_1"}, nil, "", h))
	want := []string{"", "to", "token ", "token caf", "token café ", "token café  {\"type\":", "token café  {\"type\":\n", "token café  {\"type\":\n", "token café  {\"type\":\n",
		"token café  {\"type\":\nx", "token café  {\"type\":\nx", "token café  {\"type\":\nx€", "token café  {\"type\":\nx€\xff"}
	if err != nil || strings.Join(seen, "|") != strings.Join(want, "|") || len(h.progress) != 1 || o.Text != "token café  {\"type\":\nx€\uFFFD" {
		t.Errorf("%v %v\nseen %q\nwant %q", err, o, seen, want)
	}
}

// A result may be as long as the worker takes, and no longer.
func TestAResultMayBeAsLongAsAllowed(t *testing.T) {
	big := `"` + strings.Repeat("x", 5<<20) + `"`
	if got, err := read(t, `{"type":"result","result":`+big+"}\n", &heard{}); err != nil || got != big {
		t.Errorf("5 MiB: %d bytes, %v", len(got), err)
	}
	for lines, fits := range map[string]bool{
		`{"type":"result","result":"` + strings.Repeat("x", 1022) + `"}`: true, `{"type":"result","result":"` + strings.Repeat("x", 1023) + `"}`: false,
		strings.Repeat("x", 1024): true, strings.Repeat("x", 1025): false, strings.Repeat("x\n", 513): false, `{"type":"result","result":"` + strings.Repeat("x", 70<<10): false,
	} {
		job := agent.NewJob(&task.Task{ID: "tsk_1"}, nil, "", &heard{})
		job.MaxResult = 1024
		_, err := protocol.Read(t.Context(), strings.NewReader(lines), job)
		var e *agent.Error
		if fits && err != nil || !fits && (!errors.As(err, &e) || e.Code != task.CodeResultTooLarge || !e.Permanent) {
			t.Errorf("%.40s (%d bytes): %v", lines, len(lines), err)
		}
	}
}
