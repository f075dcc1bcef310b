package api

import (
	"encoding/json"
	"time"
)

// CreateSession is the body of POST /sessions.
type CreateSession struct {
	Agent string `json:"agent,omitempty" pattern:"^[a-z0-9-]{1,40}$" doc:"Whom to talk with; the mesh's default agent when left out."`
}

// SessionCreated is the answer of POST /sessions.
type SessionCreated struct {
	SessionID string    `json:"session_id"`
	Message   string    `json:"message" doc:"The agent's greeting, empty when it has none."`
	Agent     string    `json:"agent"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at" doc:"Unless there is a turn before."`
}

// Session is a session as clients see it.
type Session struct {
	SessionID string    `json:"session_id"`
	Agent     string    `json:"agent"`
	Busy      bool      `json:"busy" doc:"A turn is open or waits."`
	OpenTurn  string    `json:"open_turn,omitempty" doc:"The id of the open turn."`
	Waiting   []string  `json:"waiting,omitempty" doc:"The ids of the turns that wait behind it, the next one first."`
	Turns     int       `json:"turns" doc:"Turns in the transcript; one that failed is not."`
	Messages  int       `json:"messages" doc:"Messages in the transcript."`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	ExpiresAt time.Time `json:"expires_at" doc:"Unless there is a turn before."`

	State json.RawMessage `json:"state,omitempty" doc:"What the agent keeps of the session, with ?include=state."`
}

// ForkSession is the body of POST /sessions/{id}/fork; it may be left out.
type ForkSession struct {
	After *int            `json:"after,omitempty" minimum:"1" doc:"The number of the last message that is taken over: the end of a turn. All when left out."`
	State json.RawMessage `json:"state,omitempty" doc:"The agent's state at that point. Left out: the session's, where all messages are taken over, and none otherwise: what it was then is not kept."`
}

// SessionForked is the answer of a fork.
type SessionForked struct {
	SessionID  string    `json:"session_id" doc:"Of the new session."`
	ForkedFrom string    `json:"forked_from"`
	Agent      string    `json:"agent"`
	Messages   int       `json:"messages" doc:"Messages that were taken over."`
	HasState   bool      `json:"has_state" doc:"The agent finds a state."`
	CreatedAt  time.Time `json:"created_at"`
	ExpiresAt  time.Time `json:"expires_at" doc:"Unless there is a turn before."`
}

// SessionList is a page of GET /sessions.
type SessionList struct {
	Sessions   []Session `json:"sessions"`
	NextCursor string    `json:"next_cursor" doc:"Empty on the last page. A page may be short and still have a next one."`
	Scanned    int       `json:"scanned" doc:"How many records were looked at for this page."`
}

// Transcript is what has been said in a session.
type Transcript struct {
	SessionID string    `json:"session_id"`
	Messages  []Message `json:"messages" doc:"Oldest first."`
	First     int       `json:"first" doc:"The number of the first message here; the session's first one is 1."`
	Next      int       `json:"next_after,omitempty" doc:"There are more: ask for those ?after= this one."`
}

// Message is one thing that was said in a session.
type Message struct {
	Role        string    `json:"role" enum:"user,agent"`
	Text        string    `json:"text"`
	At          time.Time `json:"at"`
	TurnID      string    `json:"turn_id,omitempty"` // none: the greeting
	Interrupted bool      `json:"interrupted,omitempty" doc:"The turn was canceled: there is no reply."`
}
