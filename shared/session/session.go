// Package session holds a conversation with one agent: its transcript, the
// agent's own state, and what one turn may do to both.
//
// It promises that a turn changes a session once, by [Session.Commit] or by
// [Session.Interrupt], however often it is tried, and that a session's size is
// bounded. It imports the standard library and package task only, and does not
// know where a session is stored.
package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"agentmesh/shared/task"
)

// Errors of a session; ask with errors.Is.
var (
	ErrNotFound = errors.New("session not found")
	ErrExpired  = errors.New("session has expired")
	ErrConflict = errors.New("session was changed by another writer")
	ErrBusy     = errors.New("session has an open turn")
	ErrFull     = errors.New("session is full")

	ErrQueueFull = errors.New("session's queue is full")
)

// Limits of what a session holds, in bytes as JSON text. Together they stay
// below the largest message that a NATS server takes by default (1 MiB).
const (
	MaxText  = 64 << 10  // of a user's message
	MaxReply = 256 << 10 // of an agent's reply
	MaxState = 128 << 10 // of an agent's state
)

// Roles of a message.
const (
	User  = "user"
	Agent = "agent"
)

// Session is the record of a conversation. Times are UTC with millisecond
// precision.
type Session struct {
	ID     ID     `json:"session_id"`
	Tenant string `json:"tenant"`
	Agent  string `json:"agent"`

	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"` // the last turn's end, or the last message that waits

	// Pages are the oldest parts of a transcript that does not fit the record,
	// where the agent's history is a window. The agent does not see them.
	Pages []Page `json:"pages,omitempty"`

	// Messages are the transcript behind the pages, oldest first.
	Messages []Message `json:"messages"`

	// State is the agent's own, a JSON object; nil before the first.
	State json.RawMessage `json:"state,omitempty"`

	Turns int `json:"turns"` // turns that are in the transcript

	// Waiting are the turns that were accepted while another one was open, in
	// the order of their acceptance. Their place here is what accepts them.
	Waiting []Waiting `json:"waiting,omitempty"`

	// Asked is the question that the last turn has ended with: the next turn answers
	// it. It stays until a turn commits.
	Asked *Asked `json:"asked,omitempty"`

	// Fence is the newest attempt of a turn that was delivered again. An
	// attempt before it holds an older revision, so its commit fails.
	Fence *Fence `json:"fence,omitempty"`

	// Rev is the bucket revision this copy was read or written at, 0 when it is
	// not stored. It is not stored itself.
	Rev uint64 `json:"-"`
}

// Message is one thing that was said.
type Message struct {
	Role        string    `json:"role" enum:"user,agent"`
	Text        string    `json:"text"`
	At          time.Time `json:"at"`
	TurnID      task.ID   `json:"turn_id,omitempty"` // none: the greeting
	Interrupted bool      `json:"interrupted,omitempty" doc:"The turn was canceled: there is no reply."`
}

// Page is a part of the transcript that is kept as an artifact: a JSON array of
// messages.
type Page struct {
	Object   string    `json:"object"`
	Messages int       `json:"messages"`
	Bytes    int       `json:"bytes"`
	At       time.Time `json:"at"` // when it was stored
}

// Fence names an attempt of a turn.
type Fence struct {
	TurnID  task.ID `json:"turn_id"`
	Attempt int     `json:"attempt"`
}

// New makes a session that begins with the agent's greeting, if it has one.
func New(id ID, tenant, agent, greeting string, now time.Time) *Session {
	now = task.Stamp(now)
	s := &Session{ID: id, Tenant: tenant, Agent: agent, CreatedAt: now, UpdatedAt: now, Messages: []Message{}}
	if greeting != "" {
		s.Messages = append(s.Messages, Message{Role: Agent, Text: greeting, At: now})
	}
	return s
}

// Validate refuses a record that no reader could use.
func (s *Session) Validate() error {
	if !s.ID.Valid() || !task.ValidTenant(s.Tenant) || !task.ValidAgent(s.Agent) {
		return fmt.Errorf("session %q of tenant %q and agent %q: %w", s.ID, s.Tenant, s.Agent, task.ErrBadRecord)
	}
	return nil
}

// Clone returns a copy that shares nothing that is appended to.
func (s *Session) Clone() *Session {
	c := *s
	c.Messages = s.Messages[:len(s.Messages):len(s.Messages)]
	c.Pages = s.Pages[:len(s.Pages):len(s.Pages)]
	c.Waiting = slices.Clone(s.Waiting)
	return &c
}

// Outcome is what a turn left in a transcript.
type Outcome int

// The outcomes of a turn. A turn that failed leaves nothing.
const (
	Open Outcome = iota
	Committed
	Interrupted
)

// Outcome says what a turn has left in the record's messages, and the reply of a
// committed one; a turn that is canceled in the list is interrupted, too. A turn
// that has left nothing there is taken for open, also when it has failed or its
// messages are in a page.
func (s *Session) Outcome(turnID task.ID) (o Outcome, reply string) {
	for i := len(s.Messages) - 1; i >= 0; i-- {
		switch m := s.Messages[i]; {
		case m.TurnID != turnID:
		case m.Role == Agent:
			return Committed, m.Text
		default:
			return Interrupted, ""
		}
	}
	if w, ok := s.Listed(turnID); ok && w.Canceled {
		return Interrupted, ""
	}
	return Open, ""
}

// Commit appends a turn's message and its reply, and replaces the state unless
// state is nil.
func (s *Session) Commit(turn *task.Task, reply string, state json.RawMessage, now time.Time) {
	s.Messages = append(s.Messages, said(turn), Message{Role: Agent, Text: reply, At: task.Stamp(now), TurnID: turn.ID})
	if state != nil {
		s.State = state
	}
	s.Asked = nil
	s.end(turn, now)
}

// Interrupt appends the message of a turn that is canceled.
func (s *Session) Interrupt(turn *task.Task, now time.Time) {
	m := said(turn)
	m.Interrupted = true
	s.Messages = append(s.Messages, m)
	s.end(turn, now)
}

func (s *Session) end(turn *task.Task, now time.Time) {
	s.Leave(turn.ID)
	s.Turns++
	s.UpdatedAt = task.Stamp(now)
	s.Fence = nil
}

func said(turn *task.Task) Message {
	return Message{Role: User, Text: Said(turn), At: turn.CreatedAt, TurnID: turn.ID}
}

// Transcript is what an agent sees in a turn: the messages so far and the new
// one.
func (s *Session) Transcript(turn *task.Task) []Message {
	return append(s.Messages[:len(s.Messages):len(s.Messages)], said(turn))
}

// Count is how many messages there are, those in pages too.
func (s *Session) Count() int {
	n := len(s.Messages)
	for _, p := range s.Pages {
		n += p.Messages
	}
	return n
}

// Said counts the turns of which the record holds the messages.
func (s *Session) Said() (turns int) {
	for _, m := range s.Messages {
		if m.Role == User {
			turns++
		}
	}
	return turns
}

// Bytes is the size of the messages that the record holds.
func (s *Session) Bytes() int {
	n := 0
	for _, m := range s.Messages {
		n += m.size()
	}
	return n
}

// Room returns ErrFull, wrapped with the reason, when a session cannot take
// another message of this text under the agent's limits.
func (s *Session) Room(text string, d task.Definition) error {
	return s.room(text, d, s.Turns, s.Bytes())
}

// RoomBehind is Room for a message that comes behind all that wait.
func (s *Session) RoomBehind(text string, d task.Definition) error {
	bytes := s.Bytes()
	for _, w := range s.Waiting {
		bytes += w.Bytes + messageFrame
	}
	return s.room(text, d, s.Turns+len(s.Waiting), bytes)
}

func (s *Session) room(text string, d task.Definition, turns, have int) error {
	d = d.WithDefaults()
	if turns >= d.MaxTurns {
		return fmt.Errorf("it has %d turns, allowed are %d (max_turns of agent %s): %w", turns, d.MaxTurns, s.Agent, ErrFull)
	}
	if d.History != task.HistoryWindow && have+Size(text) > d.MaxTranscript {
		return fmt.Errorf("its transcript has %d bytes and the message %d, allowed are %d (max_transcript of agent %s): %w", have, Size(text), d.MaxTranscript, s.Agent, ErrFull)
	}
	return nil
}

// Overflow takes the oldest messages off a transcript that is over limit, in
// pieces of at least a quarter of it, so that few pages are written. The newest
// turn stays. The caller keeps what it returns.
func (s *Session) Overflow(limit int) (oldest []Message, bytes int) {
	have := s.Bytes()
	if have <= limit {
		return nil, 0
	}
	n := 0
	for n < len(s.Messages)-2 && have-bytes > limit-limit/4 {
		bytes += s.Messages[n].size()
		n++
	}
	oldest, s.Messages = s.Messages[:n:n], s.Messages[n:]
	return oldest, bytes
}

// messageFrame is what a message takes beside its text.
const messageFrame = 128

func (m Message) size() int { return Size(m.Text) + messageFrame }

// Size is how many bytes a text takes as JSON text, without the quotes.
func Size(text string) int {
	n := len(text)
	for i, r := range text {
		switch {
		case r == '"', r == '\\', r == '\n', r == '\r', r == '\t', r == '\b', r == '\f':
			n++
		case r < 0x20:
			n += 5
		case r == '\u2028', r == '\u2029': // escaped for the sake of JavaScript
			n += 3
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"): // a byte that is not UTF-8 becomes \ufffd
			n += 5
		}
	}
	return n
}

// CheckText says what is wrong with a user's message; empty: nothing.
func CheckText(text string) string {
	switch {
	case strings.TrimSpace(text) == "":
		return "it is empty; send what the user says"
	case !utf8.ValidString(text):
		return "it is not UTF-8"
	case Size(text) > MaxText:
		return fmt.Sprintf("it has %d bytes as JSON, allowed are %d", Size(text), MaxText)
	}
	return ""
}
