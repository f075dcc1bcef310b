package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
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
}

// SessionList is a page of GET /sessions.
type SessionList struct {
	Sessions   []Session `json:"sessions"`
	NextCursor string    `json:"next_cursor" doc:"Empty on the last page. A page may be short and still have a next one."`
	Scanned    int       `json:"scanned" doc:"How many records were looked at for this page."`
}

// Transcript is what has been said in a session.
type Transcript struct {
	SessionID string            `json:"session_id"`
	Messages  []session.Message `json:"messages" doc:"Oldest first."`
	First     int               `json:"first" doc:"The number of the first message here; the session's first one is 1."`
	Next      int               `json:"next_after,omitempty" doc:"There are more: ask for those ?after= this one."`
}

// sessionOf reads the session of a path. An id that is not ours is not found,
// and never reaches a subject.
func (g *Gateway) sessionOf(r *http.Request) (*session.Session, error) {
	id := r.PathValue("id")
	if !session.ValidID(id) {
		return nil, mesh.Refuse(mesh.ErrSessionNotFound, "%q is not the id of a session.", mesh.Clip(id, 64))
	}
	return g.store.Session(r.Context(), tenant, id)
}

// createSession is POST /sessions.
func (g *Gateway) createSession(w http.ResponseWriter, r *http.Request) error {
	var req CreateSession
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
	key, err := newKey(r, body)
	if err != nil {
		return err
	}
	if req.Agent != "" && !task.ValidAgent(req.Agent) {
		return mesh.RefuseFields(mesh.Field("agent names match [a-z0-9-]{1,40}", "/agent"))
	}
	a, err := g.agents.resolve(r.Context(), req.Agent)
	if err != nil {
		return err
	}
	s := session.New(task.NewID(task.PrefixSession, uuid.Must(uuid.NewV7())), tenant, a.Name, a.Greeting, time.Now())
	answer := SessionCreated{SessionID: s.ID, Message: a.Greeting, Agent: s.Agent, CreatedAt: s.CreatedAt, ExpiresAt: g.expires(s)}
	ctx := context.WithoutCancel(r.Context())
	replayed, err := g.claimSession(ctx, key, &answer)
	if err != nil {
		return err
	}
	s.ID, s.Agent, s.CreatedAt = answer.SessionID, answer.Agent, answer.CreatedAt
	err = g.store.SaveSession(ctx, s)
	if err != nil && !(replayed && errors.Is(err, session.ErrConflict)) { // it is there already
		return err
	}
	h := w.Header()
	if replayed {
		h.Set("Idempotent-Replayed", "true")
	}
	h.Set("Location", sessionURL(s.ID))
	return writeJSON(w, http.StatusCreated, answer)
}

// claimSession makes answer the answer of the key, or replaces it by the one
// that the key has already.
func (g *Gateway) claimSession(ctx context.Context, key *requestKey, answer *SessionCreated) (replayed bool, err error) {
	if key == nil {
		return false, nil
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return false, err
	}
	stored, ours, err := g.store.ClaimKey(ctx, tenant, key.hash, store.Key{Fingerprint: key.fingerprint, TaskID: answer.SessionID, Answer: body})
	if err != nil || ours {
		return false, err
	}
	if err := key.matches(stored); err != nil {
		return false, err
	}
	if err := json.Unmarshal(stored.Answer, answer); err != nil {
		return false, fmt.Errorf("decode stored answer: %w", err)
	}
	return true, nil
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

func (g *Gateway) sessionView(ctx context.Context, s *session.Session) (Session, error) {
	v := Session{
		SessionID: s.ID, Agent: s.Agent, Turns: s.Turns, Messages: s.Count(),
		CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt, ExpiresAt: g.expires(s),
	}
	open, err := g.store.OpenTurn(ctx, tenant, s.Agent, s.ID)
	switch {
	case err == nil && g.over(ctx, open): // its acknowledgement is on its way
	case err == nil:
		v.OpenTurn = open.ID
	case errors.Is(err, task.ErrBadRecord):
		v.Busy = true // with what nobody can read: it must not hide the session
	case !errors.Is(err, task.ErrNotFound):
		return v, err
	}
	v.Waiting = s.Queue(v.OpenTurn)
	v.Busy = v.Busy || v.OpenTurn != "" || len(v.Waiting) > 0
	return v, nil
}

// expires is when a session is forgotten.
func (g *Gateway) expires(s *session.Session) time.Time {
	return task.Stamp(s.UpdatedAt.Add(g.store.SessionIdle()))
}

// listSessions is GET /sessions.
func (g *Gateway) listSessions(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	limit, err := pageLimit(q)
	if err != nil {
		return err
	}
	f := filter{agent: q.Get("agent"), canonical: digest("sessions", q.Get("agent"))}
	from, err := decodeCursor(q.Get("cursor"), f)
	if err != nil {
		return err
	}
	at := from.Record
	if from == store.Start {
		at = 0
	}
	found, err := g.store.Sessions(r.Context(), tenant, at, limit, func(s *session.Session) bool { return f.agent == "" || s.Agent == f.agent })
	if err != nil {
		return err
	}
	page := SessionList{Sessions: make([]Session, 0, len(found.Items)), Scanned: found.Scanned}
	for _, s := range found.Items {
		v, err := g.sessionView(r.Context(), s)
		if err != nil {
			return err
		}
		page.Sessions = append(page.Sessions, v)
	}
	if found.Next > 0 {
		page.NextCursor = encodeCursor(store.Position{Record: found.Next}, f)
		q.Set("cursor", page.NextCursor)
		w.Header().Set("Link", "<"+r.URL.Path+"?"+q.Encode()+`>; rel="next"`)
	}
	return writeJSON(w, http.StatusOK, page)
}

// Bounds of one answer of GET /sessions/{id}/messages.
const (
	maxMessages     = 10_000
	maxMessageBytes = 8 << 20
)

// getMessages is GET /sessions/{id}/messages: the whole transcript, also what
// the agent does not see any more.
func (g *Gateway) getMessages(w http.ResponseWriter, r *http.Request) error {
	s, err := g.sessionOf(r)
	if err != nil {
		return err
	}
	after, limit := 0, maxMessages
	for name, to := range map[string]*int{"after": &after, "limit": &limit} {
		if v := r.URL.Query().Get(name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 0 || name == "limit" && (n < 1 || n > maxMessages) {
				return mesh.Refuse(api.ErrBadQuery, "%s is %q, it must be a whole number: after from 0, limit 1 to %d.", name, mesh.Clip(v, 32), maxMessages)
			}
			*to = n
		}
	}
	t, err := g.transcript(r.Context(), s, after, limit)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", sessionTag(s))
	return writeJSON(w, http.StatusOK, t)
}

// transcript reads the messages after number after, from the pages and from the
// record.
func (g *Gateway) transcript(ctx context.Context, s *session.Session, after, limit int) (Transcript, error) {
	t := Transcript{SessionID: s.ID, Messages: []session.Message{}, First: after + 1}
	bytes, at := 0, 0
	take := func(messages []session.Message) bool {
		for _, m := range messages {
			if at++; at <= after {
				continue
			}
			if bytes += len(m.Text); len(t.Messages) > 0 && (len(t.Messages) == limit || bytes > maxMessageBytes) {
				t.Next = at - 1
				return false
			}
			t.Messages = append(t.Messages, m)
		}
		return true
	}
	for _, p := range s.Pages {
		if at+p.Messages <= after {
			at += p.Messages
			continue
		}
		messages, err := g.store.Page(ctx, p)
		if errors.Is(err, task.ErrNotFound) { // past its retention
			at += p.Messages
			continue
		}
		if err != nil {
			return t, err
		}
		if !take(messages) {
			return t, nil
		}
	}
	take(s.Messages)
	return t, nil
}

// deleteSession is DELETE /sessions/{id}. An open turn is canceled, and before
// the session is gone those that wait.
func (g *Gateway) deleteSession(w http.ResponseWriter, r *http.Request) error {
	s, err := g.sessionOf(r)
	if err != nil {
		return err
	}
	ctx := context.WithoutCancel(r.Context())
	for begun := false; ; {
		if !begun {
			if err := ifMatch(r.Header.Get("If-Match"), s); err != nil {
				return err
			}
		}
		waits := len(s.Waiting) > 0
		if s, err = g.cancelWaiting(ctx, s); err == nil {
			begun = begun || waits // what changes from now on is this request's own doing
			err = g.store.DeleteSession(ctx, s)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, session.ErrConflict) {
			return err
		}
		if s, err = g.store.Session(ctx, tenant, s.ID); err != nil { // a turn has ended meanwhile
			return err
		}
	}
	if open, err := g.store.OpenTurn(ctx, tenant, s.Agent, s.ID); err == nil {
		if _, err := g.cancelTree(ctx, open.ID, placeOf(open)); err != nil && !errors.Is(err, task.ErrFinished) && !errors.Is(err, task.ErrNotFound) {
			g.log.Warn("open turn of a deleted session not canceled, it ends without effect", "session", s.ID, "task", open.ID, "error", err)
		}
	}
	if err := g.store.DropPages(ctx, s.Pages); err != nil {
		g.log.Debug("messages of a deleted session not dropped, they expire by themselves", "session", s.ID, "error", err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// ifMatch refuses a write to a session that has changed since the client read it
// (RFC 9110, 13.1.1).
func ifMatch(known string, s *session.Session) error {
	if known == "" || matches(known, sessionTag(s)) {
		return nil
	}
	return mesh.Refuse(mesh.ErrPreconditionFailed, "The session has changed: If-Match is %s, its ETag is %s. Read it again.", mesh.Clip(known, 64), sessionTag(s))
}

func sessionTag(s *session.Session) string { return `"` + strconv.FormatUint(s.Rev, 10) + `"` }

func sessionURL(id string) string { return "/sessions/" + id }

func turnURL(sessionID, id string) string { return sessionURL(sessionID) + "/turns/" + id }

// reason is the text of an error up to the sentinel that it wraps.
func reason(err, sentinel error) string {
	text, _, _ := strings.Cut(err.Error(), ": "+sentinel.Error())
	return text
}
