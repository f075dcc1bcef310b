package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/url"
	"strconv"

	"github.com/tmaxmax/go-sse"
)

// SessionEvent is one thing that happened in a session: an event of one of its
// turns, a reply, or the session's end (the type closed).
type SessionEvent struct {
	Event
	TurnID string
	Reply  string // of a reply
	Reason string // of closed: deleted or expired
}

// Events follows a session, from a turn that is open on, until it is
// deleted or has expired. A broken connection is taken up again: no reply is
// missed, and neither a reply nor output comes twice. The rest of an open turn
// may, and of one that has ended meanwhile there is the reply alone. After some
// time without success the error is yielded and the sequence ends.
func (c Sessions) Events(ctx context.Context, id string) iter.Seq2[SessionEvent, error] {
	return func(yield func(SessionEvent, error) bool) {
		f := &sessionFollower{stream: stream{c: c.wire, path: "/sessions/" + url.PathEscape(id) + "/events"}}
		err := f.read(ctx, func(raw sse.Event) (more bool) {
			e, ok := f.decode(raw)
			return (!ok || yield(e, nil)) && e.Type != "closed"
		})
		if err != nil {
			yield(SessionEvent{}, err)
		}
	}
}

// sessionFollower remembers where a reader of a session is.
type sessionFollower struct {
	stream
	turn   string // whose output is read
	output int64  // bytes of it seen
}

// decode reads an event; ok is false when it brings nothing new.
func (f *sessionFollower) decode(raw sse.Event) (e SessionEvent, ok bool) {
	resumes := f.last
	if _, err := strconv.ParseUint(raw.LastEventID, 10, 64); err == nil {
		f.last = raw.LastEventID
	}
	var about struct {
		TaskID  string `json:"task_id"`
		TurnID  string `json:"turn_id"`
		Message string `json:"message"`
		Reason  string `json:"reason"`
	}
	if len(raw.Data) == 0 || json.Unmarshal([]byte(raw.Data), &about) != nil {
		return e, false
	}
	switch raw.Type {
	case "reply":
		e.Event = Event{ID: f.last, Type: raw.Type, Data: json.RawMessage(raw.Data)}
		e.TurnID, e.Reply = about.TurnID, about.Message
		return e, f.last != resumes
	case "closed":
		e.Event = Event{Type: raw.Type, Data: json.RawMessage(raw.Data)}
		e.Reason = about.Reason
		return e, true
	}
	if about.TaskID != f.turn {
		f.turn, f.output = about.TaskID, 0
	}
	e.TurnID = about.TaskID
	e.Event, ok = decodeEvent(raw, &f.output)
	return e, ok
}
