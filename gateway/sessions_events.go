package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// sessionFollowing asks for the events of a session.
type sessionFollowing struct {
	request
	ID          session.ID `path:"id"`
	LastEventID string     `header:"Last-Event-ID" doc:"Go on after this message of the transcript."`
	After       string     `query:"after" doc:"As Last-Event-ID, where headers cannot be set."`
}

// sessionEvents is GET /sessions/{id}/events: what happens in a session, turn by
// turn, as server-sent events. The events of a turn are those of its task. The
// ids are numbers of messages in the transcript: a reader that resumes gets the
// replies behind its last one, and what is open now.
func (h sessions) sessionEvents(ctx context.Context, in sessionFollowing) (out followed, err error) {
	if err := in.hold(mesh.HeldStream); err != nil {
		return out, err
	}
	watch, sess, err := h.mesh.Sessions.Watch(ctx, in.caller(), in.ID)
	if err != nil {
		return out, err
	}
	return followed{Stream: func(w http.ResponseWriter, _ *http.Request) {
		defer watch.Close()
		s := &sessionStream{of: h, who: in.caller(), stream: newStream(w), watch: watch, sess: sess, seen: sess.Count()}
		s.plain = true
		if after := (resumed{in.LastEventID, in.After}).number(); after != nil && *after < uint64(s.seen) {
			s.seen = int(*after)
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(h.closing, cancel)()
		if s.begin(uint64(s.seen)) == nil {
			s.run(ctx)
		}
	}}, nil
}

// sessionStream writes one session's events to one reader.
type sessionStream struct {
	of  sessions
	who auth.Caller
	stream
	watch *store.SessionWatch
	sess  *session.Session
	seen  int    // number of the last message sent
	last  uint64 // place in the queue of the newest turn that was followed

	ahead   []*task.Task // turns that were opened meanwhile
	changed bool         // the session has, meanwhile
}

// run follows turn after turn, in their order, until the reader, the session or
// the gateway ends.
func (s *sessionStream) run(ctx context.Context) {
	turn, err := s.open(ctx)
	for ; err == nil; turn, err = s.next(ctx) {
		if turn != nil && turn.QueueSeq > s.last {
			s.last = turn.QueueSeq
			if !s.before(ctx, turn.ID) || !s.follow(ctx, turn) {
				return
			}
		}
		sess, err := s.of.mesh.Sessions.Get(ctx, s.who, s.sess.ID)
		switch {
		case err == nil:
			s.sess = sess
			s.look()
			if !s.replies(ctx, "") {
				return
			}
		case errors.Is(err, session.ErrExpired):
			_ = s.event("closed", "", api.Closed{SessionID: string(s.sess.ID), Reason: "expired"})
			return
		case errors.Is(err, session.ErrNotFound):
			_ = s.event("closed", "", api.Closed{SessionID: string(s.sess.ID), Reason: "deleted"})
			return
		}
	}
}

// before tells what the transcript has in front of a turn: others that were canceled
// while they waited for this one's place may have got there only now.
func (s *sessionStream) before(ctx context.Context, turn task.ID) (ok bool) {
	sess, err := s.of.mesh.Sessions.Get(ctx, s.who, s.sess.ID)
	if err != nil {
		return true // what there is to say of it is said after the turn
	}
	s.sess = sess
	return s.replies(ctx, turn)
}

// look takes what has happened since the session was read: a turn that was opened
// comes before its reply.
func (s *sessionStream) look() {
	turns, changed := s.watch.Ahead()
	s.ahead, s.changed = append(s.ahead, turns...), s.changed || changed
}

// open is the turn that is open now, nil when there is none.
func (s *sessionStream) open(ctx context.Context) (*task.Task, error) {
	turn, err := s.of.mesh.Sessions.OpenTurn(ctx, s.sess)
	if err != nil {
		return nil, ctx.Err() // none, or the store is away: the reader waits
	}
	return turn, nil
}

// next waits for the next turn, nil when something else has changed, and keeps
// the connection alive meanwhile. The server tells of turns at most once, so it
// looks around now and then.
func (s *sessionStream) next(ctx context.Context) (*task.Task, error) {
	switch {
	case len(s.ahead) > 0:
		turn := s.ahead[0]
		s.ahead = s.ahead[1:]
		return turn, nil
	case s.changed:
		s.changed = false
		return nil, nil
	}
	window, done := context.WithTimeout(ctx, heartbeatEvery)
	defer done()
	turn, err := s.watch.Next(window)
	if err != nil && ctx.Err() == nil {
		if err := s.write([]byte(": heartbeat\n\n")); err != nil {
			return nil, err
		}
		if err := s.of.mesh.Sessions.Tend(ctx, s.sess); err != nil {
			s.of.log.Debug("turns that wait not looked after", "session", s.sess.ID, "error", err)
		}
		return s.open(ctx)
	}
	return turn, err
}

// follow sends the events of one turn until it has finished.
func (s *sessionStream) follow(ctx context.Context, turn *task.Task) (ok bool) {
	watch, t, err := s.of.mesh.Sessions.WatchTurn(ctx, turn)
	if err != nil {
		return false
	}
	defer watch.Close()
	s.stream.id, s.stream.seen, s.stream.output, s.stream.attempt = string(turn.ID), 0, 0, 0
	s.stream.rev, s.stream.ahead = 0, nil
	if s.event(string(task.EventStatus), "", begun(s.links, t)) != nil {
		return false
	}
	return s.stream.follow(ctx, watch, t)
}

// replies sends what the agent has said since the last one, up to the turn until, and
// tells of the turns that were canceled before they were open: nobody follows those.
func (s *sessionStream) replies(ctx context.Context, until task.ID) bool {
	t, err := s.of.mesh.Sessions.Transcript(ctx, s.sess, s.seen, mesh.MaxMessages)
	if err != nil {
		return false // the reader resumes
	}
	for _, m := range t.Messages {
		if until != "" && m.TurnID == until || slices.ContainsFunc(s.ahead, func(t *task.Task) bool { return t.ID == m.TurnID && t.QueueSeq > s.last }) {
			return true
		}
		s.seen++
		if m.Interrupted && string(m.TurnID) != s.stream.id && !s.canceled(ctx, m.TurnID) {
			return false
		}
		if m.Role != session.Agent {
			continue
		}
		s.plain = false
		err := s.event("reply", strconv.Itoa(s.seen), api.Reply{SessionID: string(s.sess.ID), Message: m.Text, TurnID: string(m.TurnID), At: m.At})
		s.plain = true
		if err != nil {
			return false
		}
	}
	return true
}

func (s *sessionStream) canceled(ctx context.Context, id task.ID) (ok bool) {
	t, err := s.of.mesh.Sessions.Turn(ctx, s.who, s.sess.ID, id)
	if err != nil || !t.Waited || t.Lease != nil || t.Status != task.Canceled {
		return true
	}
	v := viewOf(s.links, t)
	v.At = v.UpdatedAt
	return s.event(string(task.EventStatus), "", v) == nil
}
