package mesh

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"agentmesh/shared/audit"
	"agentmesh/shared/auth"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
)

// Forks makes sessions that begin as others did.
type Forks struct{ *core }

// Fork says how a session begins that goes on from another one.
type Fork struct {
	After int // the number of the last message that it takes over; 0: all
	// State is the agent's at that point; nil: that of the session, where the fork
	// takes over all of it, and none otherwise: what it was then is not kept.
	State json.RawMessage
	Key   *Key // of the request, nil: none
}

// Forked is a new session, and how many messages it has taken over.
type Forked struct {
	Opened
	Messages int  `json:"messages"`
	Stated   bool `json:"stated"` // it has a state
}

// Session opens a session with what was said in another one, up to a message. What
// waits there, and a question that is open, stay behind.
func (c Forks) Session(ctx context.Context, who auth.Caller, id session.ID, f Fork) (o *Forked, err error) {
	defer func() {
		if err != nil || !o.Replayed {
			c.audit(ctx, who, audit.SessionFork, string(id), err)
		}
	}()
	if f.State != nil && (len(f.State) > session.MaxState || f.State[0] != '{') {
		return nil, RefuseFields(Field("it must be an object of at most "+strconv.Itoa(session.MaxState)+" bytes", "/state"))
	}
	s, err := c.from(ctx, who, id, f)
	if err != nil {
		// A repeat gets its first answer, even if the session has gone since.
		o = &Forked{Opened: Opened{Replayed: true}}
		known, again := answers(c).recallAnswer(ctx, who.Tenant, f.Key, o)
		if known {
			_, again = Sessions(c).Get(ctx, who, o.SessionID)
		}
		if known && again == nil {
			return o, nil
		}
		return nil, err
	}
	return c.open(context.WithoutCancel(ctx), s, f)
}

// from is a new session with what was said in another one.
func (c Forks) from(ctx context.Context, who auth.Caller, id session.ID, f Fork) (*session.Session, error) {
	old, err := Sessions(c).Get(ctx, who, id)
	if err != nil {
		return nil, err
	}
	messages, err := c.upTo(ctx, old, f.After)
	if err != nil {
		return nil, err
	}
	s := session.New(session.NewID(uuid.Must(uuid.NewV7())), who.Tenant, old.Agent, "", time.Now())
	s.Messages, s.State = messages, f.State
	if f.State == nil && len(messages) == old.Count() {
		s.State = old.State
	}
	s.Turns = s.Said()
	return s, nil
}

// upTo reads the messages of a session up to a number, which must be the end of a turn.
func (c Forks) upTo(ctx context.Context, s *session.Session, after int) (all []session.Message, err error) {
	count := s.Count()
	if after == 0 {
		after = count
	}
	if after < 0 || after > count {
		return nil, RefuseFields(Field(fmt.Sprintf("it is %d, the session has %d messages", after, count), "/after"))
	}
	for len(all) < after {
		page, err := Sessions(c).Transcript(ctx, s, len(all), after-len(all))
		if err != nil {
			return nil, err
		}
		if len(page.Messages) == 0 {
			return nil, Refuse(ErrSessionExpired, "The oldest messages of the session are past their retention, so it cannot be forked.")
		}
		all = append(all, page.Messages...)
	}
	if last := len(all) - 1; last >= 0 && all[last].Role == session.User && !all[last].Interrupted {
		return nil, RefuseFields(Field(fmt.Sprintf("message %d has a reply, take %d or %d", after, after-1, after+1), "/after"))
	}
	return all, nil
}

// open records a session that was made from another one.
func (c Forks) open(ctx context.Context, s *session.Session, f Fork) (o *Forked, err error) {
	o = &Forked{Opened: Opened{SessionID: s.ID, Agent: s.Agent, CreatedAt: s.CreatedAt, ExpiresAt: Sessions(c).Expires(s)}, Messages: len(s.Messages), Stated: s.State != nil}
	room, err := c.sessionRoom(ctx, s.Tenant, f.Key)
	if err != nil {
		return nil, err
	}
	made := false
	if room != nil {
		defer func() { room.settle(made) }()
	}
	if f.Key != nil {
		ours, err := answers(c).claimAnswer(ctx, s.Tenant, f.Key, string(o.SessionID), o)
		if err != nil {
			return nil, err
		}
		if o.Replayed = !ours; o.Replayed {
			if _, err := c.store.Sessions.Get(ctx, s.Tenant, o.SessionID); !gone(err) {
				return o, err
			}
			s.ID, s.CreatedAt = o.SessionID, o.CreatedAt // the first request died on its way, or is there yet
			if len(s.Messages) > o.Messages {            // more was said since: what the state was then is not kept
				s.Messages, s.State = s.Messages[:o.Messages], f.State
				s.Turns, o.Stated = s.Said(), f.State != nil
			}
		}
	}
	if err := c.shorten(ctx, s, "fork-"+uuid.NewString()); err != nil {
		return nil, err
	}
	// The agent may have had a larger window before.
	if err := c.store.Sessions.Shorten(ctx, s, task.MaxTranscript, "fork-"+uuid.NewString()); err != nil {
		return nil, err
	}
	made, err = c.begin(ctx, s)
	return o, err
}
