package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Session is a conversation with one agent, as the gateway shows it.
type Session struct {
	SessionID string    `json:"session_id"`
	Agent     string    `json:"agent"`
	Busy      bool      `json:"busy"`
	OpenTurn  string    `json:"open_turn,omitempty"` // id of the turn that is open
	Waiting   []string  `json:"waiting,omitempty"`   // ids of those that wait behind it, the next one first
	Turns     int       `json:"turns"`
	Messages  int       `json:"messages"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at"` // unless there is a turn before

	// Greeting is how the agent begins, of CreateSession only.
	Greeting string `json:"greeting,omitempty"`
}

// Message is one thing that was said in a session.
type Message struct {
	Role        string    `json:"role"` // user or agent
	Text        string    `json:"text"`
	At          time.Time `json:"at"`
	TurnID      string    `json:"turn_id,omitempty"` // none: the greeting
	Interrupted bool      `json:"interrupted,omitempty"`
}

// Turn is one message to a session and what came of it. It is a task: its id
// serves wherever that of a task does.
type Turn struct {
	SessionID string     `json:"session_id"`
	TurnID    string     `json:"turn_id"`
	Status    string     `json:"status"` // pending, processing, completed, failed or canceled
	Text      string     `json:"text,omitempty"`
	Message   string     `json:"message"` // the reply of a completed turn
	Error     *TaskError `json:"error,omitempty"`
	Attempt   int        `json:"attempt,omitempty"`
	StatusURL string     `json:"status_url,omitempty"`
	TraceID   string     `json:"trace_id,omitempty"`
}

// Done reports whether the turn has ended.
func (t *Turn) Done() bool {
	return t.Status == "completed" || t.Status == "failed" || t.Status == "canceled"
}

// CreateSession begins a conversation with an agent, the mesh's default one when
// it is empty. Like Create it repeats itself under one key.
func (c *Client) CreateSession(ctx context.Context, agent string, o CreateOptions) (*Session, error) {
	body := []byte("{}")
	if agent != "" {
		var err error
		if body, err = json.Marshal(map[string]string{"agent": agent}); err != nil {
			return nil, fmt.Errorf("create session: %w", err)
		}
	}
	var created struct {
		Session
		Message string `json:"message"`
	}
	if err := c.post(ctx, "/sessions", nil, body, o.IdempotencyKey, &created); err != nil {
		return nil, err
	}
	s := created.Session
	s.Greeting, s.UpdatedAt = created.Message, s.CreatedAt
	if s.Greeting != "" {
		s.Messages = 1
	}
	return &s, nil
}

// Session reads a session.
func (c *Client) Session(ctx context.Context, id string) (*Session, error) {
	var s Session
	err := c.call(ctx, http.MethodGet, "/sessions/"+url.PathEscape(id), nil, nil, &s)
	return &s, err
}

// Sessions are all sessions, or those with one agent, newest change first.
func (c *Client) Sessions(ctx context.Context, agent string) iter.Seq2[Session, error] {
	return func(yield func(Session, error) bool) {
		q := url.Values{}
		if agent != "" {
			q.Set("agent", agent)
		}
		for {
			var page struct {
				Sessions []Session `json:"sessions"`
				Next     string    `json:"next_cursor"`
			}
			if err := c.call(ctx, http.MethodGet, "/sessions?"+q.Encode(), nil, nil, &page); err != nil {
				yield(Session{}, err)
				return
			}
			for _, s := range page.Sessions {
				if !yield(s, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			q.Set("cursor", page.Next)
		}
	}
}

// Messages reads the whole transcript of a session, oldest first.
func (c *Client) Messages(ctx context.Context, id string) ([]Message, error) {
	all := []Message{}
	for path := "/sessions/" + url.PathEscape(id) + "/messages"; ; {
		var page struct {
			Messages []Message `json:"messages"`
			Next     int       `json:"next_after"`
		}
		if err := c.call(ctx, http.MethodGet, path, nil, nil, &page); err != nil {
			return nil, err
		}
		if all = append(all, page.Messages...); page.Next == 0 {
			return all, nil
		}
		path = "/sessions/" + url.PathEscape(id) + "/messages?after=" + strconv.Itoa(page.Next)
	}
}

// DeleteSession forgets a session. Its open turn and those that wait are canceled.
func (c *Client) DeleteSession(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/sessions/"+url.PathEscape(id), nil, nil, nil)
}

// SayOptions of a Say.
type SayOptions struct {
	IdempotencyKey string        // empty: one is made, so that repeats converge
	OnBusy         string        // while another turn is open: reject (default), wait behind all that wait, or interrupt them all
	Wait           time.Duration // hold the answer this long for the reply, at most a minute; 0: 30 s
	Async          bool          // do not wait for the reply
}

// Say sends a user's message to a session. Where the gateway is away or busy it
// repeats the request with the same key a few times, and the message is said
// once. The turn has ended unless that took longer than Wait.
func (c *Client) Say(ctx context.Context, sessionID, text string, o SayOptions) (*Turn, error) {
	body, err := json.Marshal(struct {
		Text   string `json:"text"`
		OnBusy string `json:"on_busy,omitempty"`
	}{text, o.OnBusy})
	if err != nil {
		return nil, fmt.Errorf("say: %w", err)
	}
	h := http.Header{}
	if prefer(h, o.Wait); o.Async {
		h.Set("Prefer", "respond-async")
	}
	var t Turn
	if err := c.post(ctx, "/sessions/"+url.PathEscape(sessionID)+"/messages", h, body, o.IdempotencyKey, &t); err != nil {
		return nil, err
	}
	return &t, nil
}

// Turn reads a turn.
func (c *Client) Turn(ctx context.Context, sessionID, turnID string) (*Turn, error) {
	var t Turn
	err := c.call(ctx, http.MethodGet, "/sessions/"+url.PathEscape(sessionID)+"/turns/"+url.PathEscape(turnID), nil, nil, &t)
	t.SessionID, t.TurnID = sessionID, turnID
	return &t, err
}

// WaitTurn waits until a turn has ended, as Wait does, and returns it.
func (c *Client) WaitTurn(ctx context.Context, sessionID, turnID string) (*Turn, error) {
	if _, err := c.Wait(ctx, turnID); err != nil {
		return nil, err
	}
	return c.Turn(ctx, sessionID, turnID)
}
