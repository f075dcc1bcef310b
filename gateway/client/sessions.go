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

	"agentmesh/gateway/api"
)

// Message is one thing that was said in a session.
type Message = api.Message

// Turn is one message to a session and what came of it. It is a task: its id
// serves wherever that of a task does. Its Message is the reply once it is
// completed.
type Turn = api.Turn

// Session is a conversation with one agent, as the gateway shows it.
type Session struct {
	api.Session
	Greeting string `json:"greeting,omitempty"` // how the agent begins, of CreateSession only
}

// Create begins a conversation with an agent, the mesh's default one when
// it is empty. Like Create it repeats itself under one key.
func (c Sessions) Create(ctx context.Context, agent string, o CreateOptions) (*Session, error) {
	body, err := json.Marshal(api.CreateSession{Agent: agent})
	if err != nil {
		return nil, fmt.Errorf("create session: %w", err)
	}
	var created api.SessionCreated
	if err := c.post(ctx, "/sessions", nil, body, o.IdempotencyKey, &created); err != nil {
		return nil, err
	}
	s := Session{
		Session: api.Session{
			SessionID: created.SessionID, Agent: created.Agent, CreatedAt: created.CreatedAt, UpdatedAt: created.CreatedAt, ExpiresAt: created.ExpiresAt,
		},
		Greeting: created.Message,
	}
	if s.Greeting != "" {
		s.Session.Messages = 1
	}
	return &s, nil
}

// Get reads a session.
func (c Sessions) Get(ctx context.Context, id string) (*Session, error) {
	var s Session
	err := c.call(ctx, http.MethodGet, "/sessions/"+url.PathEscape(id), nil, nil, &s)
	return &s, err
}

// State reads a session with what its agent keeps of it.
func (c Sessions) State(ctx context.Context, id string) (*Session, error) {
	var s Session
	err := c.call(ctx, http.MethodGet, "/sessions/"+url.PathEscape(id)+"?include=state", nil, nil, &s)
	return &s, err
}

// Fork begins a session with what was said in another one up to message number after
// (0: all). state is the agent's at that point; nil: that of the session where all is
// taken over, and none otherwise.
func (c Sessions) Fork(ctx context.Context, id string, after int, state json.RawMessage, o CreateOptions) (*api.SessionForked, error) {
	r := api.ForkSession{State: state}
	if after > 0 {
		r.After = &after
	}
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("fork session %s: %w", id, err)
	}
	var forked api.SessionForked
	err = c.post(ctx, "/sessions/"+url.PathEscape(id)+"/fork", nil, body, o.IdempotencyKey, &forked)
	return &forked, err
}

// Pages reads page after page of all sessions, or those with one agent, newest
// change first.
func (c Sessions) Pages(ctx context.Context, agent string) iter.Seq2[*api.SessionList, error] {
	q := url.Values{}
	if agent != "" {
		q.Set("agent", agent)
	}
	return pages(ctx, c.wire, "/sessions", q, func(p *api.SessionList) string { return p.NextCursor })
}

// All are the sessions of every page.
func (c Sessions) All(ctx context.Context, agent string) iter.Seq2[Session, error] {
	return func(yield func(Session, error) bool) {
		for page, err := range c.Pages(ctx, agent) {
			if err != nil {
				yield(Session{}, err)
				return
			}
			for _, s := range page.Sessions {
				if !yield(Session{Session: s}, nil) {
					return
				}
			}
		}
	}
}

// Messages reads the whole transcript of a session, oldest first.
func (c Sessions) Messages(ctx context.Context, id string) ([]Message, error) {
	all := []Message{}
	for path := "/sessions/" + url.PathEscape(id) + "/messages"; ; {
		var page api.Transcript
		if err := c.call(ctx, http.MethodGet, path, nil, nil, &page); err != nil {
			return nil, err
		}
		if all = append(all, page.Messages...); page.Next == 0 {
			return all, nil
		}
		path = "/sessions/" + url.PathEscape(id) + "/messages?after=" + strconv.Itoa(page.Next)
	}
}

// Delete forgets a session. Its open turn and those that wait are canceled.
func (c Sessions) Delete(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/sessions/"+url.PathEscape(id), nil, nil, nil)
}

// SayOptions of a Say.
type SayOptions struct {
	IdempotencyKey string          // empty: one is made, so that repeats converge
	OnBusy         string          // while another turn is open: reject (default), wait behind all that wait, or interrupt them all
	Wait           time.Duration   // hold the answer this long for the reply, at most a minute; 0: 30 s
	Answer         json.RawMessage // instead of a text, to the question that the session awaits
	Async          bool            // do not wait for the reply
}

// Say sends a user's message to a session. Where the gateway is away or busy it
// repeats the request with the same key a few times, and the message is said
// once. The turn has ended unless that took longer than Wait.
func (c Sessions) Say(ctx context.Context, sessionID, text string, o SayOptions) (*Turn, error) {
	body, err := json.Marshal(api.PostMessage{Text: text, Answer: o.Answer, OnBusy: o.OnBusy})
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
	t.TaskID, t.Done = t.TurnID, t.Status == "completed" || t.Status == "failed" || t.Status == "canceled"
	return &t, nil
}

// Turn reads a turn.
func (c Sessions) Turn(ctx context.Context, sessionID, turnID string) (*Turn, error) {
	var t Turn
	err := c.call(ctx, http.MethodGet, "/sessions/"+url.PathEscape(sessionID)+"/turns/"+url.PathEscape(turnID), nil, nil, &t)
	t.SessionID, t.TurnID = sessionID, turnID
	return &t, err
}

// WaitTurn waits until a turn has ended, as Wait does, and returns it.
func (c Sessions) WaitTurn(ctx context.Context, sessionID, turnID string) (*Turn, error) {
	if _, err := Tasks(c).Wait(ctx, turnID); err != nil {
		return nil, err
	}
	return c.Turn(ctx, sessionID, turnID)
}
