package session_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/session"
	"agentmesh/shared/task"
)

var start = time.Date(2026, 4, 20, 9, 30, 0, 123_456_789, time.FixedZone("", 3600))

func turn(n int, text string) *task.Task {
	return &task.Task{ID: task.ID(fmt.Sprintf("trn_%d", n)), Instruction: text, CreatedAt: task.Stamp(start.Add(time.Duration(n) * time.Minute))}
}

// talk is a transcript in short.
func talk(messages []session.Message) string {
	var all []string
	for _, m := range messages {
		mark := ""
		if m.Interrupted {
			mark = "!"
		}
		all = append(all, m.Role[:1]+":"+m.Text+mark)
	}
	return strings.Join(all, " ")
}

func TestNew(t *testing.T) {
	s := session.New("ses_1", "default", "a", "Hello!", start)
	if talk(s.Messages) != "a:Hello!" || s.Messages[0].TurnID != "" || !s.CreatedAt.Equal(s.UpdatedAt) || s.CreatedAt.Location() != time.UTC || s.CreatedAt.Nanosecond() != 123_000_000 {
		t.Errorf("%+v", s)
	}
	silent := session.New("ses_1", "default", "a", "", start)
	if raw, err := json.Marshal(silent); err != nil || !strings.Contains(string(raw), `"messages":[]`) {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestValidate(t *testing.T) {
	const id = "ses_01a20cd9e03b7276be6a181888e33e52"
	if err := session.New(id, "default", "a", "", start).Validate(); err != nil {
		t.Error(err)
	}
	for _, s := range []*session.Session{
		{}, session.New(session.ID("trn_"+id[4:]), "default", "a", "", start), session.New(id+"0", "default", "a", "", start),
		session.New(id, "a.b", "a", "", start), session.New(id, "default", "A", "", start),
	} {
		if err := s.Validate(); !errors.Is(err, task.ErrBadRecord) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// Each outcome of a turn, in the session and as the session tells it afterwards.
func TestTurns(t *testing.T) {
	s := session.New("ses_1", "default", "a", "Hello!", start)
	s.Fence = &session.Fence{TurnID: "trn_1", Attempt: 2}
	if got := s.Transcript(turn(1, "one")); talk(got) != "a:Hello! u:one" || len(s.Messages) != 1 {
		t.Errorf("the agent sees %q, the session has %q", talk(got), talk(s.Messages))
	}
	s.Commit(turn(1, "one"), "1", json.RawMessage(`{"n":1}`), start.Add(time.Hour))
	s.Interrupt(turn(2, "two"), start.Add(2*time.Hour))
	s.Commit(turn(3, "three"), "", nil, start.Add(3*time.Hour))
	if talk(s.Messages) != "a:Hello! u:one a:1 u:two! u:three a:" || string(s.State) != `{"n":1}` || s.Turns != 3 || s.Fence != nil || !s.UpdatedAt.Equal(task.Stamp(start.Add(3*time.Hour))) {
		t.Errorf("%q %+v", talk(s.Messages), s)
	}
	if m := s.Messages[1]; !m.At.Equal(turn(1, "").CreatedAt) || m.TurnID != "trn_1" {
		t.Errorf("a message is of the time that it was accepted: %+v", m)
	}
	for id, want := range map[string]struct {
		o     session.Outcome
		reply string
	}{"trn_1": {session.Committed, "1"}, "trn_2": {session.Interrupted, ""}, "trn_3": {session.Committed, ""}, "trn_4": {session.Open, ""}} {
		if o, reply := s.Outcome(task.ID(id)); o != want.o || reply != want.reply {
			t.Errorf("%s: %v %q", id, o, reply)
		}
	}
}

// A copy that takes a turn leaves the original alone.
func TestClone(t *testing.T) {
	s := session.New("ses_1", "default", "a", "Hello!", start)
	s.Messages = append(make([]session.Message, 0, 8), s.Messages...) // with room behind
	one, two := s.Clone(), s.Clone()
	one.Commit(turn(1, "one"), "1", nil, start)
	two.Commit(turn(2, "two"), "2", nil, start)
	if talk(s.Messages) != "a:Hello!" || talk(one.Messages) != "a:Hello! u:one a:1" || talk(two.Messages) != "a:Hello! u:two a:2" {
		t.Errorf("%q %q %q", talk(s.Messages), talk(one.Messages), talk(two.Messages))
	}
}

func TestRoom(t *testing.T) {
	s := session.New("ses_1", "default", "a", "", start)
	s.Commit(turn(1, strings.Repeat("x", 300)), strings.Repeat("y", 200), nil, start)
	have := s.Bytes()
	for _, tt := range []struct {
		name string
		text string
		d    task.Definition
		full string
	}{
		{"defaults", "x", task.Definition{}, ""},
		{"turns", "x", task.Definition{MaxTurns: 1}, "it has 1 turns, allowed are 1 (max_turns of agent a)"},
		{"turns of a window", "x", task.Definition{MaxTurns: 1, History: task.HistoryWindow}, "max_turns"},
		{"just fits", "12345", task.Definition{MaxTranscript: have + 5}, ""},
		{"a byte too many", "123456", task.Definition{MaxTranscript: have + 5}, "the message 6, allowed are " + fmt.Sprint(have+5)},
		{"as JSON", "\"\"\"", task.Definition{MaxTranscript: have + 5}, "the message 6"},
		{"a window", "123456", task.Definition{MaxTranscript: have, History: task.HistoryWindow}, ""},
	} {
		err := s.Room(tt.text, tt.d)
		if tt.full == "" && err != nil || tt.full != "" && (!errors.Is(err, session.ErrFull) || !strings.Contains(err.Error(), tt.full)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.full)
		}
	}
}

func TestOverflow(t *testing.T) {
	s := session.New("ses_1", "default", "a", "", start)
	for n := range 8 {
		s.Commit(turn(n, fmt.Sprintf("%0100d", n)), fmt.Sprintf("%0100d", n), nil, start)
	}
	all, size := len(s.Messages), s.Bytes()
	if oldest, bytes := s.Overflow(size); oldest != nil || bytes != 0 || len(s.Messages) != all {
		t.Errorf("at the limit %d messages went", len(oldest))
	}
	first := s.Messages[0]
	oldest, bytes := s.Overflow(size - 1)
	if len(oldest) == 0 || oldest[0] != first || bytes+s.Bytes() != size || s.Bytes() > size-size/4 || len(oldest)+len(s.Messages) != all {
		t.Errorf("%d messages went with %d bytes, %d are left of %d", len(oldest), bytes, s.Bytes(), size)
	}
	s.Pages = append(s.Pages, session.Page{Messages: len(oldest), Bytes: bytes})
	if s.Count() != all {
		t.Errorf("there are %d messages, were %d", s.Count(), all)
	}
	// The newest turn stays, however large.
	if s.Overflow(1); len(s.Messages) != 2 || s.Messages[1].Text != fmt.Sprintf("%0100d", 7) {
		t.Errorf("left is %q", talk(s.Messages))
	}
	if oldest, _ := s.Overflow(1); len(oldest) != 0 {
		t.Errorf("%d more went", len(oldest))
	}
}

// No message is lost between a session and its pages, and the record stays within
// the limit but for the newest turn.
func FuzzOverflow(f *testing.F) {
	f.Add([]byte{1, 200, 30, 0}, uint16(2000))
	f.Add([]byte{255, 255, 255}, uint16(1))
	f.Fuzz(func(t *testing.T, lengths []byte, limit uint16) {
		s := session.New("ses_1", "default", "a", "Hello!", start)
		var paged []session.Message
		for n, length := range lengths {
			s.Commit(turn(n, strings.Repeat("\n", int(length))), fmt.Sprint(n), nil, start)
			oldest, bytes := s.Overflow(int(limit))
			if len(oldest) > 0 {
				paged = append(paged, oldest...)
				s.Pages = append(s.Pages, session.Page{Messages: len(oldest), Bytes: bytes})
			}
			if s.Bytes() > int(limit) && len(s.Messages) > 2 {
				t.Fatalf("%d bytes in %d messages over %d", s.Bytes(), len(s.Messages), limit)
			}
		}
		whole := append(paged, s.Messages...)
		if len(whole) != 1+2*len(lengths) || s.Count() != len(whole) {
			t.Fatalf("%d messages, counted %d, of %d turns", len(whole), s.Count(), len(lengths))
		}
		for n := range lengths {
			if whole[2*n+2].Text != fmt.Sprint(n) {
				t.Fatalf("message %d is %q", 2*n+2, whole[2*n+2].Text)
			}
		}
	})
}

func TestCheckText(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"hi", ""}, {strings.Repeat("x", session.MaxText), ""},
		{"", "it is empty"}, {" \n\t\u00a0", "it is empty"}, {"a\xff", "it is not UTF-8"},
		{strings.Repeat("x", session.MaxText+1), "it has 65537 bytes as JSON, allowed are 65536"},
		{strings.Repeat("\x01", session.MaxText/6+1), "it has 65538 bytes"},
	} {
		if got := session.CheckText(tt.text); !strings.HasPrefix(got, tt.want) || (tt.want == "") != (got == "") {
			t.Errorf("%.20q: %q, want %q", tt.text, got, tt.want)
		}
	}
}

// Size is what the real encoder writes, so that no text outgrows a record.
func FuzzSize(f *testing.F) {
	for _, seed := range []string{"", "hi", "\"\\/\b\f\n\r\t", "\x00\x1f\x7f", "<&>", "\u2028\u2029", "é🎉", "\xff\xfe a\xc3", "\xef", "\xef\xbf", "\xed\xa0\x80", "\ufffd"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		raw, err := task.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := session.Size(text), len(raw)-2; got != want {
			t.Errorf("%q has %d bytes, the encoder writes %d", text, got, want)
		}
	})
}
