package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"agentmesh/gateway/client"
)

// maxSaid is the longest line that is read; the gateway says what is too long.
const maxSaid = 1 << 20

// lines reads lines until the end of r. When they end, failed says why, nil for
// the end of r.
func lines(r io.Reader) (said <-chan string, failed *error) {
	all := make(chan string)
	failed = new(error)
	go func() {
		defer close(all)
		in := bufio.NewScanner(r)
		in.Buffer(nil, maxSaid)
		for in.Scan() {
			all <- in.Text()
		}
		*failed = in.Err()
	}()
	return all, failed
}

// chat is a conversation on a terminal or in a pipe.
type chat struct {
	f          *clientFlags
	c          *client.Client
	out, notes io.Writer // replies, and what is said about them
	interrupts <-chan os.Signal
	prompt     bool // somebody sits there
	json       bool

	session string
	failed  bool // a turn has
}

// begin starts a session and shows the greeting, or takes one up and shows what
// was said last.
func (t *chat) begin(ctx context.Context, agent, id string) error {
	s, hello, err := t.start(ctx, agent, id)
	if err != nil {
		return err
	}
	t.session = s.SessionID
	if t.json {
		return WriteJSON(t.out, s)
	}
	if t.prompt {
		fmt.Fprintf(t.notes, "Session %s with %s. Ctrl-D ends, Ctrl-C interrupts.\n", s.SessionID, s.Agent)
	}
	if hello != "" {
		t.print(hello + "\n")
	}
	return nil
}

// start makes a session, or finds the one with this id, and says what its agent
// said last.
func (t *chat) start(ctx context.Context, agent, id string) (s *client.Session, hello string, err error) {
	if id == "" {
		if s, err = t.c.Sessions.Create(ctx, agent, client.CreateOptions{}); err != nil {
			return nil, "", t.f.explain("start session", err)
		}
		return s, s.Greeting, nil
	}
	s, err = t.c.Sessions.Get(ctx, id)
	var said []client.Message
	if err == nil {
		said, err = t.c.Sessions.Messages(ctx, id)
	}
	if err != nil {
		return nil, "", t.f.explain("continue session "+id, err)
	}
	if n := len(said); n > 0 && said[n-1].Role == "agent" {
		hello = said[n-1].Text
	}
	return s, hello, nil
}

// converse sends the lines of in until they end, and says why they cannot be read
// any more.
func (t *chat) converse(ctx context.Context, in io.Reader) error {
	said, failed := lines(in)
	if err := t.run(ctx, said); err != nil {
		return err
	}
	select {
	case _, more := <-said:
		if !more && *failed != nil {
			return fmt.Errorf("read message: %w; to go on: mesh session chat --session %s", *failed, t.session)
		}
	default: // interrupted while nothing was said
	}
	return nil
}

// run sends lines until there are no more.
func (t *chat) run(ctx context.Context, lines <-chan string) error {
	defer func() {
		if t.prompt {
			fmt.Fprintf(t.notes, "\nTo go on: mesh session chat --session %s\n", t.session)
		}
	}()
	for {
		if t.prompt {
			fmt.Fprint(t.out, "> ")
		}
		select {
		case <-t.interrupts:
			return nil
		case <-ctx.Done():
			return nil
		case text, more := <-lines:
			switch {
			case !more && t.failed && !t.prompt:
				return &ExitError{Code: ExitFailed}
			case !more:
				return nil
			case strings.TrimSpace(text) == "":
				continue
			}
			if err := t.turn(ctx, text); err != nil {
				return err
			}
		}
	}
}

// turn sends one message and shows its reply. The error is one that no other
// message will do without.
func (t *chat) turn(ctx context.Context, text string) error {
	turn, err := t.send(ctx, text)
	if err != nil {
		return t.refused(err)
	}
	shown, err := t.stream(ctx, turn.TurnID)
	if err == nil {
		turn, err = t.c.Sessions.WaitTurn(ctx, t.session, turn.TurnID)
	}
	if err != nil {
		return t.refused(err)
	}
	return t.reply(turn, shown)
}

// send opens a turn. While another one is open the message waits, and an interrupt
// reaches it as it reaches a turn that runs.
func (t *chat) send(ctx context.Context, text string) (*client.Turn, error) {
	turn, err := t.c.Sessions.Say(ctx, t.session, text, client.SayOptions{Async: true, OnBusy: "wait"})
	if err != nil || turn.Done {
		return turn, err
	}
	if v, err := t.c.Tasks.Get(ctx, turn.TurnID); err == nil && v.Waiting != nil && v.Waiting.Reason == "session" {
		t.note("another turn is open in this session; waiting for its end, Ctrl-C takes the message back")
	}
	return turn, nil
}

// stream shows a turn's output until the turn has ended, and returns it. An
// interrupt cancels the turn.
func (t *chat) stream(ctx context.Context, turnID string) (shown string, err error) {
	ended := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for {
			select {
			case <-t.interrupts:
				t.cancel(ctx, turnID)
			case <-ended:
				return
			}
		}
	}()
	defer func() { close(ended); <-watched }()
	var all strings.Builder
	for e, err := range t.c.Tasks.Events(ctx, turnID) {
		if err != nil {
			return all.String(), err
		}
		if e.Output != "" && !t.json {
			t.print(e.Output)
			all.WriteString(e.Output)
		}
	}
	return all.String(), nil
}

func (t *chat) cancel(ctx context.Context, turnID string) {
	var refused *client.Problem
	if _, err := t.c.Tasks.Cancel(ctx, turnID); err != nil && !errors.As(err, &refused) { // or it has just ended
		t.note(t.f.explain("interrupt turn", err).Error())
	}
}

// reply shows what of a turn's reply has not been shown as output.
func (t *chat) reply(turn *client.Turn, shown string) error {
	if turn.Status != "completed" {
		t.failed = true
	}
	if t.json {
		return WriteJSON(t.out, turn)
	}
	rest, streamed := strings.CutPrefix(turn.Message, shown)
	switch same := strings.TrimSpace(shown) == strings.TrimSpace(turn.Message); {
	case turn.Status != "completed", same:
		rest = ""
	case !streamed: // the output was something else
		rest = turn.Message
		if shown != "" && !strings.HasSuffix(shown, "\n") {
			rest = "\n" + rest
		}
	}
	if t.print(rest); !strings.HasSuffix(shown+rest, "\n") && shown+rest != "" {
		fmt.Fprintln(t.out)
	}
	switch {
	case turn.Awaiting != "":
		t.note("the agent waits for your answer (" + clean(turn.Awaiting) + ")")
	case turn.Status == "canceled":
		t.note("interrupted; the message stays in the conversation, without a reply")
	case turn.Error != nil:
		t.note(fmt.Sprintf("the turn failed: %s (%s); the session is as it was before, say it again or something else", turn.Error.Message, turn.Error.Code))
	}
	return nil
}

// refused shows why a message got no turn. A refusal that ends the conversation
// is returned.
func (t *chat) refused(err error) error {
	var p *client.Problem
	if errors.As(err, &p) && p.Code != "session_not_found" && p.Code != "session_expired" && p.Code != "session_full" {
		t.failed = true
		t.note(err.Error())
		return nil
	}
	return t.f.explain("say", err)
}

func (t *chat) note(text string) { fmt.Fprintln(t.notes, "mesh: "+clean(text)) }

// print writes what the agent says: to a terminal clean, elsewhere as it is.
func (t *chat) print(text string) {
	if t.prompt || IsTerminal(t.out) {
		text = clean(text)
	}
	fmt.Fprint(t.out, text)
}
