package cli

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents"
)

// conversing is a chat without a terminal.
type conversing struct {
	*chat
	out, notes meshtest.Transcript
	interrupt  chan os.Signal
	lines      chan string
	ended      chan error
}

func startChat(t *testing.T, url, agentName, id, output string) *conversing {
	t.Helper()
	f := &clientFlags{gateway: url, output: output}
	c, err := f.client()
	if err != nil {
		t.Fatal(err)
	}
	v := &conversing{interrupt: make(chan os.Signal), lines: make(chan string), ended: make(chan error, 1)}
	v.chat = &chat{f: f, c: c, out: &v.out, notes: &v.notes, interrupts: v.interrupt, json: output == "json"}
	if err := v.begin(t.Context(), agentName, id); err != nil {
		t.Fatal(err)
	}
	go func() { v.ended <- v.run(t.Context(), v.lines) }()
	return v
}

// say sends lines and ends the input.
func (v *conversing) say(lines ...string) error {
	for _, l := range lines {
		v.lines <- l
	}
	close(v.lines)
	return <-v.ended
}

func TestChat(t *testing.T) {
	m := newMesh(t)
	m.Work(agents.Samples()...)
	srv, _ := m.Serve()
	v := startChat(t, srv.URL, "travel", "", "text")
	if err := v.say("Find flights to Tokyo.", "", "tomorrow, one way", "ANA from London"); err != nil {
		t.Errorf("ended with %v %s", err, v.notes.String())
	}
	lines := strings.Split(strings.TrimSpace(v.out.String()), "\n")
	if len(lines) != 6 || !strings.HasPrefix(lines[0], "Hello!") || !strings.HasPrefix(lines[1], "When would you like to travel to Tokyo?") ||
		!strings.Contains(lines[2], "Which airline do you prefer") || !strings.Contains(lines[3], "sample data, not real flights") || !strings.HasPrefix(lines[4], "1. ANA") {
		t.Errorf("it shows\n%s", v.out.String())
	}
	// Going on shows what was said last.
	again := startChat(t, srv.URL, "", v.session, "text")
	if err := again.say(); err != nil || !strings.Contains(again.out.String(), "1. ANA") {
		t.Errorf("%v, it shows\n%s", err, again.out.String())
	}
	// For scripts: the session, then its turns.
	script := startChat(t, srv.URL, "echo", "", "json")
	if code := ExitCode(script.say("hi", `{"echo_fail_permanent":"broken"}`)); code != ExitFailed {
		t.Errorf("exit %d after a failed turn", code)
	}
	dec := json.NewDecoder(strings.NewReader(script.out.String()))
	var s client.Session
	var good, bad client.Turn
	if dec.Decode(&s) != nil || dec.Decode(&good) != nil || dec.Decode(&bad) != nil ||
		s.SessionID != script.session || s.Greeting == "" || good.Message != "hi" || good.Status != "completed" || bad.Status != "failed" || bad.Error.Code != "agent_error" {
		t.Errorf("it shows\n%s", script.out.String())
	}
}

// A failed turn is told, and the conversation goes on; that of a session that
// is gone does not.
func TestChatFailures(t *testing.T) {
	m := newMesh(t)
	m.Work(agents.Samples()...)
	srv, c := m.Serve()
	v := startChat(t, srv.URL, "echo", "", "text")
	code := ExitCode(v.say(`{"echo_fail_permanent":"broken"}`, strings.Repeat("x", 70_000), "hi"))
	if notes := v.notes.String(); code != ExitFailed || !strings.HasSuffix(v.out.String(), "\nhi\n") || strings.Count(notes, "\n") != 3 ||
		!strings.Contains(notes, "mesh: the turn failed: broken (agent_error)") || !strings.Contains(notes, "allowed are 65536") {
		t.Errorf("exit %d, it shows\n%s%s", code, v.out.String(), notes)
	}
	gone := startChat(t, srv.URL, "echo", "", "text")
	if err := c.Sessions.Delete(t.Context(), gone.session); err != nil {
		t.Fatal(err)
	}
	if err := gone.say("hi"); err == nil || !strings.Contains(err.Error(), "session_not_found") {
		t.Errorf("a deleted session: %v", err)
	}
}

// Output is shown before the turn has ended, and the reply only where it says
// more.
func TestChatStreams(t *testing.T) {
	m := newMesh(t)
	seen := make(chan struct{})
	m.Work(meshtest.Named("slowly", func(ctx context.Context, job *agent.Job) (any, error) {
		switch job.Turn.Text() {
		case "same":
			job.Output("Well, ")
			select {
			case <-seen:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			job.Output("yes.")
			return "Well, yes.", nil
		case "more":
			job.Output("Well,")
			return "Well, no.", nil
		case "other":
			job.Output("thinking")
			return "No.", nil
		}
		return "Hm.", nil
	}))
	srv, _ := m.Serve()
	v := startChat(t, srv.URL, "slowly", "", "text")
	v.lines <- "same"
	natstest.Until(t, "the first piece is shown", func() bool { return v.out.String() == "Well, " })
	close(seen)
	if err := v.say("more", "other", "nothing"); err != nil || v.out.String() != "Well, yes.\nWell, no.\nthinking\nNo.\nHm.\n" {
		t.Errorf("%v, it shows %q", err, v.out.String())
	}
}

// An interrupt cancels the turn that runs, and ends the chat when none does.
func TestChatInterrupt(t *testing.T) {
	m := newMesh(t)
	m.Work(agents.Samples()...)
	srv, c := m.Serve()
	v := startChat(t, srv.URL, "echo", "", "text")
	v.lines <- `{"echo_delay":"10m"}`
	v.interrupt <- os.Interrupt
	v.lines <- "hi"
	natstest.Until(t, "the next turn has a reply", func() bool { return strings.HasSuffix(v.out.String(), "\nhi\n") })
	v.interrupt <- os.Interrupt
	if err := <-v.ended; err != nil || !strings.Contains(v.notes.String(), "interrupted") {
		t.Errorf("%v, it says %q", err, v.notes.String())
	}
	said, err := c.Sessions.Messages(t.Context(), v.session)
	if err != nil || len(said) != 4 || !said[1].Interrupted || said[3].Text != "hi" {
		t.Errorf("%+v, %v", said, err)
	}
}

// While somebody else's turn is open a message waits, and can be taken back.
func TestChatWaits(t *testing.T) {
	m := newMesh(t)
	m.Work(agents.Samples()...)
	srv, c := m.Serve()
	v := startChat(t, srv.URL, "echo", "", "text")
	other, err := c.Sessions.Say(t.Context(), v.session, `{"echo_delay":"10m"}`, client.SayOptions{Async: true})
	if err != nil {
		t.Fatal(err)
	}
	v.lines <- "never"
	natstest.Until(t, "it says that it waits", func() bool { return strings.Contains(v.notes.String(), "waiting for its end") })
	v.interrupt <- os.Interrupt
	natstest.Until(t, "the message is taken back", func() bool { return strings.Contains(v.notes.String(), "interrupted; the message stays") })
	v.lines <- "hi"
	if _, err := c.Tasks.Cancel(t.Context(), other.TurnID); err != nil {
		t.Fatal(err)
	}
	if err := v.say(); ExitCode(err) != ExitFailed || !strings.HasSuffix(v.out.String(), "\nhi\n") || strings.Contains(v.out.String(), "never") {
		t.Errorf("%v, it shows %q and says %q", err, v.out.String(), v.notes.String())
	}
}

func TestSessionCommands(t *testing.T) {
	m := newMesh(t)
	m.Work(agents.Samples()...)
	srv, c := m.Serve()
	s, err := c.Sessions.Create(t.Context(), "travel", client.CreateOptions{})
	if err == nil {
		_, err = c.Sessions.Say(t.Context(), s.SessionID, "to Tokyo", client.SayOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	const unknown = "ses_01a20cd9e03b7276be6a181888e33e52"
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"list"}, 0, s.SessionID + "  travel  open   1      0s ago     in 23h"},
		{[]string{"list", "--agent", "echo", "-o", "json"}, 0, "[]\n"},
		{[]string{"list", "--curl", "--agent", "echo"}, 0, "curl -sS '" + srv.URL + "/sessions?agent=echo'\n"},
		{[]string{"list", "--limit", "x"}, 2, "--help lists the flags"},
		{[]string{"show", s.SessionID}, 0, "user\n  to Tokyo\n"},
		{[]string{"show", s.SessionID, "-o", "json"}, 0, `"transcript":[{"role":"agent","text":"Hello!`},
		{[]string{"show", s.SessionID, "--curl"}, 0, "/messages'\n"},
		{[]string{"show"}, 2, "takes one session id"},
		{[]string{"show", unknown}, 1, "show session: No session with this id"},
		{[]string{"chat", "--agent", "nobody"}, 1, `start session: There is no agent "nobody"`},
		{[]string{"chat", "--session", unknown}, 1, "continue session " + unknown + ": "},
		{[]string{"chat", "--session", unknown, "--agent", "echo"}, 2, "choose one of --agent and --session"},
		{[]string{"chat", "--agent", "echo", "--curl"}, 0, `-d '{"agent":"echo"}' '` + srv.URL + "/sessions'\n"},
		{[]string{"chat", "--gateway", "http://127.0.0.1:1"}, 1, "is `mesh up` running?"},
		{[]string{"chat", "hello"}, 2, ""},
		{[]string{"chat", "-o", "xml"}, 2, "text and json"},
		{[]string{"nope"}, 2, "mesh session --help"},
		{[]string{"say", s.SessionID, "on May 10", "--on-busy", "wait"}, 0, "Tokyo"},
		{[]string{"say", s.SessionID, "x", "--no-wait"}, 0, "trn_"},
		{[]string{"say", s.SessionID, "x", "--curl"}, 0, `-d '{"on_busy":"reject","text":"x"}' '` + srv.URL + "/sessions/" + s.SessionID + "/messages'\n"},
		{[]string{"say", s.SessionID, "two", "words"}, 2, "quote it"},
		{[]string{"delete", s.SessionID}, 0, ""},
		{[]string{"delete", s.SessionID}, 1, "session_not_found"},
	} {
		code, out, errs := cli(t, append([]string{"session", "--gateway", srv.URL}, tt.args...)...)
		if code != tt.code || !strings.Contains(out+errs, tt.want) || tt.code != 0 && strings.Count(errs, "\n") != 1 {
			t.Errorf("mesh session %s: exit %d\n%s%s\nwant %d and %s", strings.Join(tt.args, " "), code, out, errs, tt.code, tt.want)
		}
	}
}

// A line that cannot be read is not taken for the end of the conversation.
func TestChatTellsOfALineItCannotRead(t *testing.T) {
	m := newMesh(t)
	m.Work(agents.Samples()...)
	srv, _ := m.Serve()
	root, out := Root(nil), &meshtest.Transcript{}
	root.SetArgs([]string{"session", "chat", "--agent", "echo", "--gateway", srv.URL})
	root.SetIn(strings.NewReader("hi\n" + strings.Repeat("x", maxSaid+1) + "\nnever\n"))
	root.SetOut(out)
	root.SetErr(out)
	err := root.ExecuteContext(t.Context())
	if err == nil || !strings.Contains(err.Error(), "read message: ") || !strings.Contains(err.Error(), "mesh session chat --session ses_") || !strings.HasSuffix(out.String(), "\nhi\n") {
		t.Errorf("%v, it shows\n%s", err, out)
	}
}

// An agent's words do not command the reader's terminal.
func TestChatShowsNoControlSequences(t *testing.T) {
	const said = "a\x1b]0;title\a\x1b[2J\r\n\tb\u009b1m\n"
	for prompt, want := range map[bool]string{true: "a]0;title[2J\n\tb1m\n", false: said} {
		var out meshtest.Transcript
		if (&chat{out: &out, prompt: prompt}).print(said); out.String() != want {
			t.Errorf("prompt %v: it shows %q", prompt, out.String())
		}
	}
}
