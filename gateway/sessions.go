package gateway

import (
	"cmp"
	"context"
	"log/slog"
	"strconv"

	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
)

// sessions are the operations on sessions, but for their turns.
type sessions struct {
	mesh    *mesh.Mesh
	log     *slog.Logger
	closing context.Context // done when streams should end
}

func (h sessions) routes() []route {
	const one = "/sessions/{id}"
	gone := []*mesh.Refusal{mesh.ErrSessionNotFound, mesh.ErrSessionExpired}
	return []route{
		operation("POST", "/sessions", auth.SessionsWrite, "createSession", "Begin a conversation with an agent", h.createSession, mesh.ErrAgentNotFound, mesh.ErrAgentRequired, mesh.ErrStoreFull, mesh.ErrTooManySessions),
		operation("GET", "/sessions", auth.SessionsRead, "listSessions", "List sessions, newest change first", h.listSessions, mesh.ErrBadCursor),
		operation("GET", one, auth.SessionsRead, "getSession", "Read a session", h.getSession, gone...),
		operation("POST", one+"/fork", auth.SessionsWrite, "forkSession", "Begin a session with what was said in another one, up to a message", h.forkSession, append(gone, mesh.ErrTooManySessions, mesh.ErrStoreFull)...),
		operation("DELETE", one, auth.SessionsWrite, "deleteSession", "Delete a session; its open turn and those that wait are canceled", h.deleteSession, mesh.ErrSessionNotFound, mesh.ErrSessionExpired, mesh.ErrPreconditionFailed),
		operation("GET", one+"/messages", auth.SessionsRead, "getMessages", "Read the transcript", h.getMessages, gone...),
		operation("GET", one+"/events", auth.SessionsRead, "sessionEvents", "Follow a session: status, progress, milestone and output of its turns, and each reply", h.sessionEvents, gone...),
	}
}

// sessionCreation asks for a new session.
type sessionCreation struct {
	request
	_    struct{}          `header:"Idempotency-Key" doc:"The same request with the same key makes one session for 24 hours."`
	Body api.CreateSession `body:"optional"`
}

// sessionCreated is its answer.
type sessionCreated struct {
	Body     *api.SessionCreated `status:"201"`
	Location string              `header:"Location" doc:"Where the session is read."`
	Replayed string              `header:"Idempotent-Replayed" doc:"true: the key was known, and no session was made."`
}

// createSession is POST /sessions.
func (h sessions) createSession(ctx context.Context, in sessionCreation) (out sessionCreated, err error) {
	key, err := in.key()
	if err != nil {
		return out, err
	}
	o, err := h.mesh.Sessions.Open(ctx, in.caller(), in.Body.Agent, key)
	if err != nil {
		return out, err
	}
	return sessionCreated{
		Body:     &api.SessionCreated{SessionID: string(o.SessionID), Message: o.Message, Agent: o.Agent, CreatedAt: o.CreatedAt, ExpiresAt: o.ExpiresAt},
		Location: sessionURL(o.SessionID), Replayed: replayed(o.Replayed),
	}, nil
}

// onSession is a request about a session that takes nothing else.
type onSession struct {
	request
	ID session.ID `path:"id"`
}

// sessionPoll asks for a session.
type sessionPoll struct {
	onSession
	kept
	Include sessionParts `query:"include,list" doc:"Parts that are left out otherwise: state, what the agent keeps of the session."`
}

// sessionParts are the parts of a session that are left out otherwise.
type sessionParts []string

const includeState = "state"

func (p *sessionParts) read(_ *call, values []string) error {
	*p = split(values)
	for _, part := range *p {
		if part != includeState {
			return mesh.Refuse(problem.ErrBadQuery, "include is %q, allowed is %s.", mesh.Clip(part, 64), includeState)
		}
	}
	return nil
}

// getSession is GET /sessions/{id}.
func (h sessions) getSession(ctx context.Context, in sessionPoll) (out revised[api.Session], err error) {
	s, err := h.mesh.Sessions.Get(ctx, in.caller(), in.ID)
	if err != nil {
		return out, err
	}
	v, err := h.sessionView(ctx, s)
	if len(in.Include) > 0 {
		v.State = s.State
	}
	out.Body, out.ETag = &v, sessionTag(s.Rev, &v)
	return out.unless(in.kept), err
}

// sessionTag is the version of a session as it is shown. A turn that opens changes the
// answer and not the record: while one is open the tag names it, too.
func sessionTag(rev uint64, v *api.Session) string {
	if !v.Busy {
		return revTag(rev)
	}
	return `"` + strconv.FormatUint(rev, 10) + betweenTag + cmp.Or(v.OpenTurn, "busy") + `"`
}

// sessionFork asks for a session that goes on from another one.
type sessionFork struct {
	onSession
	_    struct{}        `header:"Idempotency-Key" doc:"The same request with the same key makes one session for 24 hours."`
	Body api.ForkSession `body:"optional"`
}

// sessionForked is its answer.
type sessionForked struct {
	Body     *api.SessionForked `status:"201"`
	Location string             `header:"Location" doc:"Where the new session is read."`
	Replayed string             `header:"Idempotent-Replayed" doc:"true: the key was known, and no session was made."`
}

// forkSession is POST /sessions/{id}/fork.
func (h sessions) forkSession(ctx context.Context, in sessionFork) (out sessionForked, err error) {
	key, err := in.key()
	if err != nil {
		return out, err
	}
	f := mesh.Fork{State: null(in.Body.State), Key: key}
	if in.Body.After != nil {
		if f.After = *in.Body.After; f.After < 1 {
			return out, mesh.RefuseFields(mesh.Field("it must be the number of a message, from 1; leave it out to take over all", "/after"))
		}
	}
	o, err := h.mesh.Forks.Session(ctx, in.caller(), in.ID, f)
	if err != nil {
		return out, err
	}
	return sessionForked{
		Body:     &api.SessionForked{SessionID: string(o.SessionID), ForkedFrom: string(in.ID), Agent: o.Agent, Messages: o.Messages, HasState: o.Stated, CreatedAt: o.CreatedAt, ExpiresAt: o.ExpiresAt},
		Location: sessionURL(o.SessionID), Replayed: replayed(o.Replayed),
	}, nil
}

func (h sessions) sessionView(ctx context.Context, s *session.Session) (api.Session, error) {
	v := api.Session{
		SessionID: string(s.ID), Agent: s.Agent, Turns: s.Turns, Messages: s.Count(),
		CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt, ExpiresAt: h.mesh.Sessions.Expires(s),
	}
	open, waiting, busy, err := h.mesh.Sessions.Busy(ctx, s)
	v.OpenTurn, v.Waiting, v.Busy = string(open), texts(waiting), busy
	return v, err
}

// sessionQuery asks for a page of sessions.
type sessionQuery struct {
	request
	Agent string `query:"agent" doc:"Sessions with this agent."`
	paged
}

// listSessions is GET /sessions.
func (h sessions) listSessions(ctx context.Context, in sessionQuery) (out page[api.SessionList], err error) {
	found, err := h.mesh.Sessions.List(ctx, in.caller(), in.Agent, in.Limit.items(), in.Cursor)
	if err != nil {
		return out, err
	}
	list := &api.SessionList{Sessions: make([]api.Session, 0, len(found.Sessions)), NextCursor: found.Next, Scanned: found.Scanned}
	for _, s := range found.Sessions {
		v, err := h.sessionView(ctx, s)
		if err != nil {
			return out, err
		}
		list.Sessions = append(list.Sessions, v)
	}
	return page[api.SessionList]{Body: list, Link: in.next(found.Next)}, nil
}

// transcriptQuery asks for a part of a transcript.
type transcriptQuery struct {
	request
	kept
	ID    session.ID `path:"id"`
	After string     `query:"after" doc:"Messages after this number; the first one is 1."`
	Limit string     `query:"limit" doc:"1 to 10000, default 10000. An answer has at most 8 MiB of text."`
}

// getMessages is GET /sessions/{id}/messages: the whole transcript, also what
// the agent does not see any more.
func (h sessions) getMessages(ctx context.Context, in transcriptQuery) (out revised[api.Transcript], err error) {
	s, err := h.mesh.Sessions.Get(ctx, in.caller(), in.ID)
	if err != nil {
		return out, err
	}
	after, err := messageNumber("after", in.After, 0, 0)
	if err != nil {
		return out, err
	}
	limit, err := messageNumber("limit", in.Limit, mesh.MaxMessages, 1)
	if err != nil {
		return out, err
	}
	t, err := h.mesh.Sessions.Transcript(ctx, s, after, limit)
	if err != nil {
		return out, err
	}
	out.Body, out.ETag = new(transcriptOf(t)), revTag(s.Rev)
	return out.unless(in.kept), nil
}

// messageNumber reads a parameter of a transcript. least is the smallest value of
// one that has a largest, too.
func messageNumber(name, text string, otherwise, least int) (int, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || least > 0 && n > mesh.MaxMessages {
		return 0, mesh.Refuse(problem.ErrBadQuery, "%s is %q, it must be a whole number: after from 0, limit 1 to %d.", name, mesh.Clip(text, 32), mesh.MaxMessages)
	}
	return n, nil
}

func transcriptOf(t mesh.Transcript) api.Transcript {
	v := api.Transcript{SessionID: string(t.SessionID), Messages: make([]api.Message, 0, len(t.Messages)), First: t.First, Next: t.Next}
	for _, m := range t.Messages {
		v.Messages = append(v.Messages, api.Message{Role: m.Role, Text: m.Text, At: m.At, TurnID: string(m.TurnID), Interrupted: m.Interrupted})
	}
	return v
}

// sessionDeletion asks for the end of a session.
type sessionDeletion struct {
	request
	ID session.ID `path:"id"`
	ifUnchanged
}

// deleteSession is DELETE /sessions/{id}.
func (h sessions) deleteSession(ctx context.Context, in sessionDeletion) (deleted, error) {
	return deleted{Gone: true}, h.mesh.Sessions.Delete(ctx, in.caller(), in.ID, in.expect())
}
