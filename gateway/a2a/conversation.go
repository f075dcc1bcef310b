package a2a

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/a2aform"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
)

// maxSaidMeta bounds what a turn keeps of its message besides the text: many may wait
// in the record of their session.
const maxSaidMeta = 2 << 10

// say is a message to an agent that converses: a turn of the session of its context.
// While another turn is open it waits, unless the client does not.
func (x messages) say(ctx context.Context, s *sending, agent *mesh.Agent, how begin) (*mesh.Acceptance, error) {
	if err := x.door.Permit(auth.SessionsWrite); err != nil {
		return nil, err
	}
	text, answers, err := s.Message.content().spoken()
	if err != nil {
		return nil, err
	}
	meta, err := s.origin()
	if err != nil {
		return nil, err
	}
	if len(meta) > maxSaidMeta {
		return nil, invalid(mesh.Field("a conversation keeps "+strconv.Itoa(maxSaidMeta)+" bytes of metadata, references and extensions", "/message/metadata"))
	}
	id, named, err := x.sessionOf(ctx, s.Message.ContextID, agent.Name)
	if err != nil {
		return nil, err
	}
	m := &mesh.Message{
		Text: text, Agent: agent.Name, OnBusy: mesh.Wait, Key: how.key, Live: how.live, EventDepth: x.door.Depth(), Until: time.Now().Add(placeWithin), Metadata: meta, Push: how.push, PushField: pushField,
	}
	if s.Config != nil && s.Config.ReturnImmediately {
		m.OnBusy = mesh.Reject
	}
	if named != "" {
		m.Labels = map[string]string{a2aform.ContextLabel: named}
	}
	if m.IsAnswer, err = x.isAnswer(ctx, id, answers); err != nil {
		return nil, err
	}
	a, _, err := x.mesh.Sessions.Say(ctx, x.caller(), id, m)
	if err != nil {
		return nil, ofContext(err)
	}
	x.door.Release()
	return a, nil
}

// placeWithin is how long a message may try to find its place in its session.
const placeWithin = 10 * time.Second

// sessionOf is the session of a context: the one of that id, the one that the client
// calls so, or a new one. A request with a key finds that of its first try.
func (x messages) sessionOf(ctx context.Context, name, agent string) (id session.ID, named string, err error) {
	switch {
	case strings.HasPrefix(name, "ses_"):
		s, err := x.mesh.Sessions.Get(ctx, x.caller(), session.ID(name))
		if err == nil && s.Agent != agent {
			err = session.ErrNotFound
		}
		return session.ID(name), "", ofContext(err)
	case name != "" && !contextID.MatchString(name):
		return "", "", invalid(mesh.Field("it must match "+contextID.String(), "/message/contextId"))
	case name != "":
		id, err = x.mesh.Contexts.Session(ctx, x.caller(), agent, name)
		return id, name, err
	}
	if key := x.r.Header.Get("Idempotency-Key"); key != "" {
		id, err = x.mesh.Contexts.Session(ctx, x.caller(), agent, " key "+key)
		return id, "", err
	}
	o, err := x.mesh.Sessions.Open(ctx, x.caller(), agent, nil)
	if err != nil {
		return "", "", err
	}
	return o.SessionID, "", nil
}

// ofContext is the error of a session as one of the context that named it.
func ofContext(err error) error {
	if errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrExpired) || errors.Is(err, mesh.ErrSessionNotFound) {
		return invalid(mesh.Field("no session of this agent has this id any more; leave it out to begin another", "/message/contextId"))
	}
	return err
}

// isAnswer reports whether a message of one data part answers the question that the
// last turn has ended with.
func (x messages) isAnswer(ctx context.Context, id session.ID, answers bool) (bool, error) {
	if !answers {
		return false, nil
	}
	s, err := x.mesh.Sessions.Get(ctx, x.caller(), id)
	if err != nil {
		return false, ofContext(err)
	}
	return s.Asked != nil, nil
}

// spoken is what a message says in a conversation: its texts, and its data as JSON.
// answers says that it is one data part and nothing else.
func (c content) spoken() (text string, answers bool, err error) {
	if len(c.files) > 0 {
		return "", false, refuse(a2a.ErrUnsupportedContentType, "", "This agent converses: it takes text and data parts.")
	}
	said := make([]string, 0, 1+len(c.data))
	if c.texts > 0 {
		said = append(said, c.text)
	}
	for _, d := range c.data {
		said = append(said, string(compact(d)))
	}
	return strings.Join(said, "\n\n"), c.texts == 0 && len(c.data) == 1, nil
}

func compact(raw json.RawMessage) []byte {
	b, err := json.Marshal(raw)
	if err != nil {
		return raw
	}
	return b
}
