package travel_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/travel"
)

// output collects what a reader of the stream sees.
type output struct {
	text   strings.Builder
	pieces int
}

func (*output) Progress(int, string)                                             {}
func (*output) Milestone(context.Context, string, string, json.RawMessage) error { return nil }
func (o *output) Output(text string)                                             { o.pieces++; o.text.WriteString(text) }

// chat is a session that is kept as the mesh keeps it.
type chat struct {
	t *testing.T
	s *session.Session
}

// The messages of the tests are of this day, a Monday.
var today = time.Date(2026, 4, 20, 9, 30, 0, 0, time.UTC)

func newChat(t *testing.T) *chat {
	a := travel.Agent()
	return &chat{t, session.New("ses_1", "default", a.Name, a.Greeting, today)}
}

// say is one turn: it goes through JSON, as it does between gateway and worker.
func (c *chat) say(text string) string {
	c.t.Helper()
	turn := &task.Task{ID: "trn_1", Instruction: text, CreatedAt: today}
	var o output
	job := agent.NewJob(turn, nil, "", &o)
	job.Turn = &agent.Turn{SessionID: string(c.s.ID), Messages: c.s.Transcript(turn), State: c.s.State}
	v, err := travel.Agent().Handler(c.t.Context(), job)
	if err != nil {
		c.t.Fatalf("%.100q: %v", text, err)
	}
	reply, state, err := agent.ReplyOf(v)
	switch {
	case err != nil || state == nil:
		c.t.Fatalf("%.100q left state %s, %v", text, state, err)
	case strings.TrimSpace(reply) == "" || !utf8.ValidString(reply) || len(reply) > 4<<10:
		c.t.Fatalf("%.100q is answered by %d bytes, %.300q", text, len(reply), reply)
	case o.text.String() != reply:
		c.t.Fatalf("the output %q is not the reply %q", o.text.String(), reply)
	case strings.Contains(reply, "EUR") && (o.pieces < 2 || !strings.Contains(reply, "sample data, not real flights")):
		c.t.Fatalf("a list in %d pieces: %s", o.pieces, reply)
	}
	c.s.Commit(turn, reply, state, today)
	return reply
}

// expect says something and looks for a text in the reply.
func (c *chat) expect(text, want string) {
	c.t.Helper()
	if got := c.say(text); !strings.Contains(got, want) {
		c.t.Fatalf("%q is answered\n%s\nwithout %q; state %s", text, got, want, c.s.State)
	}
}

// The conversation that the mesh is shown with.
func TestConversation(t *testing.T) {
	c := newChat(t)
	if first := c.s.Messages[0].Text; !strings.HasPrefix(first, "Hello!") {
		t.Errorf("it begins with %q", first)
	}
	c.expect("Find flights to Tokyo.", "When would you like to travel to Tokyo?")
	c.expect("From May 15 to May 20.", "Which airline do you prefer: ANA, British Airways, Japan Airlines")
	c.expect("ANA", "Flights to Tokyo, leaving Friday, May 15, 2026, back Wednesday, May 20, 2026, with ANA. I found 3 flights (sample data, not real flights):\n1. ANA NH 9014, Osaka 19:00 to Tokyo 20:10; back NH 9013, 08:00 to 09:10: EUR 150\n2. ANA NH 9211, London")
	c.expect("No, from the 16th.", "leaving Saturday, May 16, 2026, back Wednesday, May 20, 2026, with ANA. I found 3 flights")
	c.expect("asdf", "Sorry, I did not understand that. I understand cities, dates")
	c.expect("from London please", "Flights from London to Tokyo, leaving Saturday, May 16, 2026, back Wednesday, May 20, 2026, with ANA. I found 1 flight")
	c.expect("any airline", "I found 2 flights (sample data, not real flights):\n1. British Airways BA 9005")
	c.expect("Actually to Osaka", "Flights from London to Osaka, leaving Saturday, May 16, 2026, back Wednesday, May 20, 2026, any airline. I found 1 flight")
	c.expect("Thanks!", "You're welcome!")
	c.expect("bye", "Goodbye!")
	c.expect("start over", "Let us start over. Where would you like to go?")
	if string(c.s.State) != "{}" {
		t.Errorf("after starting over it knows %s", c.s.State)
	}
}

// The slots after a message and those before it (divided by |).
func TestUnderstanding(t *testing.T) {
	const tokyo = `Tokyo from May 10 to May 20, any airline|`
	for _, tt := range []struct{ said, state string }{
		{"2026-05-10 to 2026-05-16", `{"depart":"2026-05-10","return":"2026-05-16"}`},
		{"May 10th until the 16th", `{"depart":"2026-05-10","return":"2026-05-16"}`},
		{"back on May 16, leaving on May 10", `{"depart":"2026-05-10","return":"2026-05-16"}`},
		{"Dec 28 to Jan 3", `{"depart":"2026-12-28","return":"2027-01-03"}`},
		{"April 19", `{"depart":"2027-04-19"}`},
		{"the 31st", `{"depart":"2026-05-31"}`},
		{"tomorrow, one way", `{"depart":"2026-04-21","one_way":true}`},
		{"one way|May 10, back May 12", `{"depart":"2026-05-10","return":"2026-05-12"}`},
		// Dates that are none, or cannot be.
		{"Feb 30", `{}`}, {"2026-13-01", `{}`}, {"2020-01-01", `{}`}, {"9999-12-31", `{}`}, {"0000-00-00", `{}`}, {"I may go", `{}`},
		// Corrections.
		{tokyo + "no, from the 16th", `{"destination":"Tokyo","depart":"2026-05-16","return":"2026-05-20","airline":"any"}`},
		{tokyo + "from May 30", `{"destination":"Tokyo","depart":"2026-05-30","airline":"any"}`},
		{tokyo + "until May 1", `{"destination":"Tokyo","depart":"2026-05-10","return":"2026-05-20","airline":"any"}`},
		{tokyo + "actually to Osaka", `{"destination":"Osaka","depart":"2026-05-10","return":"2026-05-20","airline":"any"}`},
		{"Tokyo, May 10|no, the 12th", `{"destination":"Tokyo","depart":"2026-05-12"}`},
		{"Tokyo, May 10|the 12th", `{"destination":"Tokyo","depart":"2026-05-10","return":"2026-05-12"}`},
		{tokyo + "start over, to Paris", `{"destination":"Paris"}`},
		// Places and airlines.
		{"London to new york city", `{"destination":"New York","origin":"London"}`},
		{"Tokyo|London", `{"destination":"Tokyo","origin":"London"}`},
		{"to London from London", `{"destination":"London"}`},
		{"flights to Atlantis", `{}`},
		{"Tokyo with JAL", `{"destination":"Tokyo","airline":"Japan Airlines"}`},
		{"Singapore Airlines to Singapore", `{"destination":"Singapore","airline":"Singapore Airlines"}`},
		{"Tokyo|I don't care", `{"destination":"Tokyo"}`},
	} {
		c := newChat(t)
		for _, text := range strings.Split(tt.said, "|") {
			c.say(text)
		}
		if string(c.s.State) != tt.state {
			t.Errorf("%q leaves %s, want %s; it said %q", tt.said, c.s.State, tt.state, c.s.Messages[len(c.s.Messages)-1].Text)
		}
	}
}

// Everything has an answer that leads on.
func TestAnswers(t *testing.T) {
	const ask = "Where would you like to go?"
	for said, want := range map[string]string{
		"🎉": ask, "   \n": ask, "\xff\xfe": ask, "'; DROP TABLE flights; --": ask,
		strings.Repeat("lorem ipsum ", 5000):      "Sorry, I did not understand that.",
		strings.Repeat("9", 60000):                ask,
		strings.Repeat("to Tokyo ", 7000):         "When would you like",
		"hello":                                   "Hello! " + ask,
		"to Osaka, Qantas, tomorrow, one way":     "with Qantas. I found 0 flights",
		"to Osaka from Berlin, tomorrow, one way": "prefer: ANA, Air France or Japan Airlines?",
		"to London from London":                   "You cannot fly from London to London.",
		"Feb 30":                                  "There is no day",
		"May 10 back May 5":                       "You leave on May 10, so you cannot come back on May 5.",
	} {
		newChat(t).expect(said, want)
	}
	c := newChat(t)
	c.expect("Tokyo, May 10 to May 16", "Which airline")
	c.expect("что?", "I understand cities")
}

// Outside of a session nobody remembers.
func TestTaskWithoutASession(t *testing.T) {
	for said, want := range map[string]string{"": "Where would you like to go?", "Tokyo": "When would you like", "Tokyo tomorrow": "when do you come back"} {
		v, err := travel.Agent().Handler(t.Context(), agent.NewJob(&task.Task{Instruction: said}, nil, "", &output{}))
		if r, ok := v.(agent.Reply); err != nil || !ok || !strings.Contains(r.Message, want) {
			t.Errorf("%q: %+v, %v", said, v, err)
		}
	}
}

// Any message of two users who take turns has an answer, and leaves a state that
// the next one can be answered with.
func FuzzConversation(f *testing.F) {
	for _, seed := range [][2]string{
		{"Find flights to Tokyo.", "no, from the 16th"}, {"from 31/31 to 99999-1-1", "the 0th 00.00. 31.2.2026"}, {"for 366 days", "Feb 29 - feb 29"},
		{"next sun in a week for nine weeks", "not not to to - - to"}, {"\x00\xff’", "make it 9"}, {"one - way one", "back back on on the"}, {"may may 1 of may", "united airlines of us"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		c := newChat(t)
		c.say(first)
		c.say(second)
		c.say("to Tokyo, any airline")
	})
}
