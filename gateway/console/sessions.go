package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"agentmesh/gateway/client"
)

var (
	// sessionsScreen lists conversations, sessionScreen is one of them.
	sessionsScreen = screen{name: "sessions", path: "/sessions", title: "Sessions", load: loadSessions, live: []string{"sessions-rows"}, every: 3 * time.Second}
	sessionScreen  = screen{
		name: "session", path: "/sessions/{id}", nav: "sessions", load: loadSession, named: func(body any) string { return "Session " + short(body.(*sessionPage).S.SessionID) },
		live: []string{"session-head", "session-chat", "session-turn", "session-state"}, every: 5 * time.Second, hears: hearsSession,
	}
)

type sessionsPage struct {
	Agent    string
	Sessions []client.Session
	Agents   []client.Agent
	Next     string
}

func loadSessions(v *visit) (any, error) {
	p := &sessionsPage{Agent: v.q("agent")}
	all, next, err := v.api.Sessions.List(v.ctx(), p.Agent, v.q("cursor"))
	if err != nil {
		return nil, err
	}
	p.Sessions, p.Next = all, older(v.r.URL.Query(), next)
	p.Agents, err = optional(v.api.Agents.List(v.ctx()))
	return p, err
}

// sessionPage is a conversation.
type sessionPage struct {
	S        *client.Session
	Messages []said
	Left     int          // messages before those that are shown
	Turn     *client.Task // the open one; nil: none
	Output   string       // of the open turn
	State    json.RawMessage

	Turns []tab // the newest ones, to choose of which Fall is
	Fall  *fall // of one turn; nil: it is not known
	Of    string
}

// said is a message and its number.
type said struct {
	client.Message
	N    int
	Last bool // the last message of its turn: the conversation can be forked there
}

// messagesMost is how much of a conversation a page shows, its end.
const (
	messagesMost = 200
	turnsMost    = 12 // that can be chosen for their times
)

func loadSession(v *visit) (any, error) {
	s, err := v.api.Sessions.State(v.ctx(), v.id())
	if err != nil {
		return nil, err
	}
	p := &sessionPage{S: s, State: s.State}
	all, err := v.api.Sessions.Messages(v.ctx(), v.id())
	if err != nil {
		return nil, err
	}
	for i, m := range all {
		p.Messages = append(p.Messages, said{m, i + 1, i+1 == len(all) || all[i+1].TurnID != m.TurnID})
	}
	if p.Left = len(p.Messages) - messagesMost; p.Left > 0 {
		p.Messages = p.Messages[p.Left:]
	}
	if s.OpenTurn != "" {
		if p.Turn, err = optional(v.api.Tasks.Get(v.ctx(), s.OpenTurn)); notFound(err) {
			err = nil // a worker has not written its record yet
		}
		p.Output = v.heard.of(s.OpenTurn)
	}
	if err != nil {
		return nil, err
	}
	return p, p.times(v)
}

// times draws the life of one turn, as that of a task: of the newest, or of the one that
// the URL names.
func (p *sessionPage) times(v *visit) error {
	var ids []string
	for _, m := range p.Messages {
		if m.TurnID != "" && (len(ids) == 0 || ids[len(ids)-1] != m.TurnID) {
			ids = append(ids, m.TurnID)
		}
	}
	if p.S.OpenTurn != "" && !slices.Contains(ids, p.S.OpenTurn) {
		ids = append(ids, p.S.OpenTurn)
	}
	if len(ids) == 0 {
		return nil
	}
	if p.Of = ids[len(ids)-1]; slices.Contains(ids, v.q("turn")) {
		p.Of = v.q("turn")
	}
	for _, id := range ids[max(0, len(ids)-turnsMost):] {
		p.Turns = append(p.Turns, tab{Name: id, Text: short(id), Query: with(v.r.URL.Query(), "turn", id) + "#h-turn", Here: id == p.Of})
	}
	t, err := optional(v.api.Tasks.Get(v.ctx(), p.Of))
	if t == nil || err != nil {
		if notFound(err) { // no worker has written its record yet, or it is not kept any more
			err = nil
		}
		return err
	}
	turn := &taskPage{T: t}
	if err := turn.family(v); err != nil {
		return err
	}
	p.Fall = turn.draw(v.now())
	return nil
}

// of is the output of a turn that was heard.
func (h *heard) of(turn string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.turn != turn {
		return ""
	}
	return h.text
}

// hearsSession wakes a page with each event of its session, and gathers the output of
// the open turn.
func hearsSession(ctx context.Context, v *visit, wake func()) {
	for e, err := range v.api.Sessions.Events(ctx, v.id()) {
		if err != nil {
			return
		}
		v.heard.begin(e.TurnID)
		v.heard.add(e.Output)
		wake()
	}
}

// begin forgets the output of another turn.
func (h *heard) begin(turn string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if turn != "" && h.turn != turn {
		h.turn, h.text = turn, ""
	}
}

func openSession(v *visit) (string, error) {
	s, err := v.api.Sessions.Create(v.ctx(), v.form("agent"), client.CreateOptions{})
	if err != nil {
		return "", err
	}
	return "sessions/" + s.SessionID, nil
}

func saySession(v *visit) (string, error) {
	o := client.SayOptions{Async: true, OnBusy: v.form("on_busy")}
	text := v.r.PostFormValue("text")
	if text == "" {
		return "sessions/" + v.id(), nil
	}
	_, err := v.api.Sessions.Say(v.ctx(), v.id(), text, o)
	return "sessions/" + v.id(), err
}

// stopTurn cancels the open turn.
func stopTurn(v *visit) (string, error) {
	s, err := v.api.Sessions.Get(v.ctx(), v.id())
	if err == nil && s.OpenTurn != "" {
		_, err = v.api.Tasks.Cancel(v.ctx(), s.OpenTurn)
	}
	return "sessions/" + v.id(), err
}

func deleteSession(v *visit) (string, error) {
	return "sessions?said=deleted", v.api.Sessions.Delete(v.ctx(), v.id())
}

// forkSession begins a new conversation with the beginning of this one.
func forkSession(v *visit) (string, error) {
	after, err := strconv.Atoi(v.form("after"))
	if err != nil || after < 1 {
		return "", errors.New("say after which message the fork begins")
	}
	f, err := v.api.Sessions.Fork(v.ctx(), v.id(), after, nil, client.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("fork: %w", err)
	}
	return "sessions/" + f.SessionID + "?said=forked", nil
}
