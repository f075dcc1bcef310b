package gateway

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
)

// sessionOf reads the session of a path.
func (g *Gateway) sessionOf(r *http.Request) (*session.Session, error) {
	return g.mesh.Sessions.Get(r.Context(), callerOf(r), r.PathValue("id"))
}

// createSession is POST /sessions.
func (g *Gateway) createSession(w http.ResponseWriter, r *http.Request) error {
	var req api.CreateSession
	var body []byte
	has, err := hasBody(r)
	if err != nil {
		return err
	}
	if has {
		if body, err = g.readJSON(w, r); err != nil {
			return err
		}
		if err := decodeObject(body, &req, lenient(r)); err != nil {
			return err
		}
	}
	key, err := keyOf(r, body)
	if err != nil {
		return err
	}
	o, err := g.mesh.Sessions.Open(r.Context(), callerOf(r), req.Agent, key)
	if err != nil {
		return err
	}
	h := w.Header()
	if o.Replayed {
		h.Set("Idempotent-Replayed", "true")
	}
	h.Set("Location", sessionURL(o.SessionID))
	return writeJSON(w, http.StatusCreated, api.SessionCreated{
		SessionID: o.SessionID, Message: o.Message, Agent: o.Agent, CreatedAt: o.CreatedAt, ExpiresAt: o.ExpiresAt,
	})
}

// getSession is GET /sessions/{id}.
func (g *Gateway) getSession(w http.ResponseWriter, r *http.Request) error {
	s, err := g.sessionOf(r)
	if err != nil {
		return err
	}
	v, err := g.sessionView(r.Context(), s)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", sessionTag(s))
	return writeJSON(w, http.StatusOK, v)
}

func (g *Gateway) sessionView(ctx context.Context, s *session.Session) (api.Session, error) {
	v := api.Session{
		SessionID: s.ID, Agent: s.Agent, Turns: s.Turns, Messages: s.Count(),
		CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt, ExpiresAt: g.mesh.Sessions.Expires(s),
	}
	var err error
	v.OpenTurn, v.Waiting, v.Busy, err = g.mesh.Sessions.Busy(ctx, s)
	return v, err
}

// listSessions is GET /sessions.
func (g *Gateway) listSessions(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	limit, err := pageLimit(q)
	if err != nil {
		return err
	}
	found, err := g.mesh.Sessions.List(r.Context(), callerOf(r), q.Get("agent"), limit, q.Get("cursor"))
	if err != nil {
		return err
	}
	page := api.SessionList{Sessions: make([]api.Session, 0, len(found.Sessions)), NextCursor: found.Next, Scanned: found.Scanned}
	for _, s := range found.Sessions {
		v, err := g.sessionView(r.Context(), s)
		if err != nil {
			return err
		}
		page.Sessions = append(page.Sessions, v)
	}
	if found.Next != "" {
		q.Set("cursor", page.NextCursor)
		w.Header().Set("Link", "<"+r.URL.Path+"?"+q.Encode()+`>; rel="next"`)
	}
	return writeJSON(w, http.StatusOK, page)
}

// getMessages is GET /sessions/{id}/messages: the whole transcript, also what
// the agent does not see any more.
func (g *Gateway) getMessages(w http.ResponseWriter, r *http.Request) error {
	s, err := g.sessionOf(r)
	if err != nil {
		return err
	}
	after, limit := 0, mesh.MaxMessages
	for name, to := range map[string]*int{"after": &after, "limit": &limit} {
		if v := r.URL.Query().Get(name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 0 || name == "limit" && (n < 1 || n > mesh.MaxMessages) {
				return mesh.Refuse(problem.ErrBadQuery, "%s is %q, it must be a whole number: after from 0, limit 1 to %d.", name, mesh.Clip(v, 32), mesh.MaxMessages)
			}
			*to = n
		}
	}
	t, err := g.mesh.Sessions.Transcript(r.Context(), s, after, limit)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", sessionTag(s))
	return writeJSON(w, http.StatusOK, transcriptOf(t))
}

func transcriptOf(t mesh.Transcript) api.Transcript {
	v := api.Transcript{SessionID: t.SessionID, Messages: make([]api.Message, 0, len(t.Messages)), First: t.First, Next: t.Next}
	for _, m := range t.Messages {
		v.Messages = append(v.Messages, api.Message(m))
	}
	return v
}

// deleteSession is DELETE /sessions/{id}.
func (g *Gateway) deleteSession(w http.ResponseWriter, r *http.Request) error {
	var expect func(uint64) error
	if known := r.Header.Get("If-Match"); known != "" {
		expect = func(rev uint64) error { return ifMatch(known, rev) }
	}
	if err := g.mesh.Sessions.Delete(r.Context(), callerOf(r), r.PathValue("id"), expect); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// ifMatch refuses a write to a session that has changed since the client read it
// (RFC 9110, 13.1.1).
func ifMatch(known string, rev uint64) error {
	if matches(known, revTag(rev)) {
		return nil
	}
	return mesh.Refuse(mesh.ErrPreconditionFailed, "The session has changed: If-Match is %s, its ETag is %s. Read it again.", mesh.Clip(known, 64), revTag(rev))
}

func sessionTag(s *session.Session) string { return revTag(s.Rev) }

// reason is the text of an error up to the sentinel that it wraps.
func reason(err, sentinel error) string {
	text, _, _ := strings.Cut(err.Error(), ": "+sentinel.Error())
	return text
}
