package mesh

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"agentmesh/shared/audit"
	"agentmesh/shared/auth"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/topology"
	"agentmesh/shared/webhook"
)

// Opened is a session that was opened, now or by an equal request before.
type Opened struct {
	SessionID session.ID `json:"session_id"`
	Message   string     `json:"message"` // the greeting
	Agent     string     `json:"agent"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt time.Time  `json:"expires_at"`

	Replayed bool `json:"-"`
}

// Open opens a session with an agent, the default one when the name is empty.
func (c Sessions) Open(ctx context.Context, who auth.Caller, agent string, key *Key) (o *Opened, err error) {
	if agent != "" && !task.ValidAgent(agent) {
		return nil, RefuseFields(Field("agent names match [a-z0-9-]{1,40}", "/agent"))
	}
	o = &Opened{SessionID: session.NewID(uuid.Must(uuid.NewV7())), CreatedAt: task.Stamp(time.Now())}
	if a, err := c.agents.resolve(ctx, agent); err == nil {
		o.Agent, o.Message = a.Name, a.Greeting
	} else if known, again := answers(c).recallAnswer(ctx, who.Tenant, key, o); !known {
		return nil, cmp.Or(again, err)
	} else {
		o.Replayed = true // the agent has gone since
	}
	o.ExpiresAt = c.Expires(&session.Session{UpdatedAt: o.CreatedAt})
	ctx = context.WithoutCancel(ctx)
	room, err := c.sessionRoom(ctx, who.Tenant, key)
	if err != nil {
		return nil, err
	}
	made := false
	if room != nil {
		defer func() { room.settle(made) }()
	}
	if key != nil && !o.Replayed {
		ours, err := answers(c).claimAnswer(ctx, who.Tenant, key, string(o.SessionID), o)
		if err != nil {
			return nil, err
		}
		o.Replayed = !ours
	}
	s := session.New(o.SessionID, who.Tenant, o.Agent, o.Message, time.Now())
	s.CreatedAt = o.CreatedAt
	if made, err = c.begin(ctx, s); err != nil {
		return nil, err
	}
	c.auditMade(ctx, who, audit.SessionOpen, string(o.SessionID), &Acceptance{made: made}, nil)
	return o, nil
}

// begin records a new session. One that is there already was made by an equal request,
// the first one or a repeat that was quicker: nobody else knows its id.
func (c *core) begin(ctx context.Context, s *session.Session) (made bool, err error) {
	if err = c.store.Sessions.Save(ctx, s); errors.Is(err, session.ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

// Get reads a session. An id that is not ours is not found.
func (c Sessions) Get(ctx context.Context, who auth.Caller, id session.ID) (*session.Session, error) {
	if !id.Valid() {
		return nil, Refuse(ErrSessionNotFound, "%q is not the id of a session.", Clip(id, 64))
	}
	return c.store.Sessions.Get(ctx, who.Tenant, id)
}

// Expires is when a session is forgotten.
func (c Sessions) Expires(s *session.Session) time.Time {
	return task.Stamp(s.UpdatedAt.Add(c.store.Sessions.Idle()))
}

// Busy says which turn of a session is open, and whether one is or waits.
func (c Sessions) Busy(ctx context.Context, s *session.Session) (open task.ID, waiting []task.ID, busy bool, err error) {
	turn, err := c.store.Turns.Open(ctx, s.Tenant, s.Agent, s.ID)
	switch {
	case err == nil && queue(c).over(ctx, turn): // its acknowledgement is on its way
	case err == nil:
		open = turn.ID
	case errors.Is(err, task.ErrBadRecord):
		busy = true // with what nobody can read: it must not hide the session
	case !errors.Is(err, task.ErrNotFound):
		return "", nil, false, err
	}
	waiting = s.Queue(open)
	return open, waiting, busy || open != "" || len(waiting) > 0, nil
}

// OnBusy is what a message asks for while another turn is open.
type OnBusy string

// The three answers to an open turn.
const (
	Reject    OnBusy = "reject"
	Wait      OnBusy = "wait"
	Interrupt OnBusy = "interrupt"
)

// Message is what somebody says in a session.
type Message struct {
	Text string
	// IsAnswer says that Text is the JSON of an answer to the session's question.
	IsAnswer bool
	OnBusy   OnBusy
	Agent    string // if set, it must be the session's
	// Expect says of the session's revision whether it is what the caller knows; nil:
	// any. The message is accepted in such a revision, or not at all.
	Expect func(rev uint64) error
	Key    *Key
	// EventDepth is how many events lie behind the message, see task.Task.
	EventDepth int
	// Until is how long the message may try to find its place.
	Until time.Time
	// Live has the acceptance ready to follow what the agent says meanwhile.
	Live bool
	// Labels and Metadata are those of the turn.
	Labels   map[string]string
	Metadata json.RawMessage
	// Push is who is told what happens to the turn, in the form of A2A; nil: nobody.
	Push      *PushSettings
	PushField string
}

// Say accepts a message: a turn of the session. Close what it returns.
func (c Sessions) Say(ctx context.Context, who auth.Caller, id session.ID, m *Message) (*Acceptance, *task.Task, error) {
	s, err := c.Get(ctx, who, id)
	if err == nil {
		err = queue(c).admit(ctx, s, m)
	}
	var push *webhook.Push
	if err == nil {
		push, err = Pushes(c).prepare(who, m.Push, m.PushField)
	}
	if err != nil {
		// A repeat gets its first answer, even if the session takes no more.
		if a, t := c.said(ctx, who, id, m.Key); a != nil {
			return a, t, nil
		}
		return nil, nil, err
	}
	t := &task.Task{
		ID: newID(task.KindTurn), Tenant: who.Tenant, Kind: task.KindTurn, Agent: s.Agent, SessionID: string(s.ID),
		Status: task.Pending, Instruction: m.Text, CreatedAt: task.Stamp(time.Now()), EventDepth: m.EventDepth, IsAnswer: m.IsAnswer,
		Labels: m.Labels, Metadata: m.Metadata, TraceParent: telemetry.TraceParent(ctx), TraceState: telemetry.TraceState(ctx),
	}
	refused, err := Budgets(c).admit(ctx, t.Tenant, t.Agent, m.Key)
	if err != nil {
		return nil, nil, err
	}
	turn := t.ID
	before := func(ctx context.Context, id task.ID) error {
		if refused != nil {
			return refused
		}
		return Pushes(c).keep(ctx, id, push, m.Push)
	}
	a, t, err := c.acceptTurn(ctx, s, m, t, before)
	c.auditMade(ctx, who, audit.SessionMessage, string(turn), a, err)
	if err != nil && !errors.Is(err, task.ErrUnavailable) { // an equal request may have been accepted meanwhile
		if again, t := c.said(ctx, who, id, m.Key); again != nil {
			return again, t, nil
		}
	}
	return a, t, err
}

// admit says whether a session takes a message.
func (c queue) admit(ctx context.Context, s *session.Session, m *Message) error {
	if m.Agent != "" && m.Agent != s.Agent {
		return RefuseFields(Field("the session is with agent "+s.Agent+"; leave it out, or start another session", "/agent"))
	}
	if m.Expect != nil {
		if err := m.Expect(s.Rev); err != nil {
			return err
		}
	}
	a, err := c.agents.resolve(ctx, s.Agent)
	if err != nil {
		return err
	}
	return s.RoomBehind(m.Text, a.Definition.Definition)
}

// said is the turn of a message that was accepted before, nil when it was not.
func (c Sessions) said(ctx context.Context, who auth.Caller, id session.ID, key *Key) (*Acceptance, *task.Task) {
	a, err := answers(c).recall(ctx, who, key)
	if err != nil || a == nil {
		return nil, nil
	}
	t, err := c.find(ctx, who.Tenant, a.TaskID, location{a.Agent, id})
	if err != nil {
		return nil, nil // it was never accepted
	}
	return a, queue(c).tend(ctx, t)
}

// acceptTurn claims the key and opens the turn, or gives it its place in the
// session's queue. before stores what must be durable before somebody can run it.
func (c Sessions) acceptTurn(ctx context.Context, s *session.Session, m *Message, t *task.Task, before func(context.Context, task.ID) error) (*Acceptance, *task.Task, error) {
	outer := ctx
	telemetry.Annotate(ctx, append(telemetry.Session(t.SessionID), telemetry.TaskID(t.ID), telemetry.Agent(t.Agent))...)
	ctx, span := telemetry.StartPublish(ctx, topology.TurnsTemplate, append(telemetry.Session(t.SessionID), telemetry.TaskID(t.ID), telemetry.MessageID(t.ID))...)
	a := &Acceptance{TaskID: t.ID, SessionID: s.ID, Agent: t.Agent, CreatedAt: t.CreatedAt, TraceID: telemetry.TraceID(ctx), Warning: c.agents.warning(ctx, t.Agent)}
	err := answers(c).claim(context.WithoutCancel(ctx), t.Tenant, m.Key, a, locationOf(t))
	if t.ID = a.TaskID; err == nil && !a.Replayed {
		err = before(context.WithoutCancel(ctx), t.ID)
	}
	if err == nil && !a.Replayed {
		// Subscribed before the turn exists, so that no outcome is missed.
		if a.watch, err = c.store.Tasks.Watch(t.Tenant, t.ID, m.Live); err == nil {
			if err = queue(c).openTurn(ctx, s, m, t, m.Until); err == nil {
				a.made, a.task = true, t
				telemetry.TasksAccepted.Add(1, t.Agent, string(t.Kind))
			}
		}
	}
	telemetry.End(span, err)
	if err == nil && a.Replayed {
		if t, err = c.find(outer, t.Tenant, t.ID, locationOf(t)); err == nil {
			t = queue(c).tend(outer, t)
		}
	}
	if err != nil {
		a.Close()
		return nil, nil, err
	}
	return a, t, nil
}

// WaitTurn waits until a turn that was said has ended, at most d, and returns the
// newest state. A turn that waits in its session's queue goes on meanwhile.
func (c Sessions) WaitTurn(ctx context.Context, a *Acceptance, t *task.Task, d time.Duration) *task.Task {
	defer queue(c).tending(ctx, t)()
	var done *task.Task
	var err error
	if a.watch != nil {
		done, err = waits(c).await(ctx, t.Tenant, t.ID, d, a.watch)
	} else {
		done, err = waits(c).awaitChange(ctx, t, false, d)
	}
	if err != nil || done == nil {
		return t
	}
	return done
}

// Reply is the message of a completed turn, empty of any other.
func (c Sessions) Reply(ctx context.Context, t *task.Task) (string, error) {
	message, _, err := c.Replied(ctx, t)
	return message, err
}

// Replied is the message of a completed turn, empty of any other, and the name of the
// question that it is, if it is one.
func (c Sessions) Replied(ctx context.Context, t *task.Task) (message, awaiting string, err error) {
	if t.Status != task.Completed {
		return "", "", nil
	}
	raw, err := c.store.Artifacts.Read(ctx, t.Result)
	if err != nil {
		return "", "", err
	}
	var result struct {
		Message  string `json:"message"`
		Awaiting string `json:"awaiting"`
	}
	err = json.Unmarshal(raw, &result)
	return result.Message, result.Awaiting, err
}

// Turn reads a turn of a session.
func (c Sessions) Turn(ctx context.Context, who auth.Caller, id session.ID, turn task.ID) (*task.Task, error) {
	if !id.Valid() || !turn.Valid() || turn.Kind() != task.KindTurn {
		return nil, Refuse(ErrTurnNotFound, "%q is not the id of a turn of session %q.", Clip(turn, 64), Clip(id, 64))
	}
	t, err := c.store.Tasks.Get(ctx, who.Tenant, turn)
	if errors.Is(err, task.ErrNotFound) {
		if s, none := c.store.Sessions.Get(ctx, who.Tenant, id); none == nil {
			t, err = c.store.Turns.Find(ctx, who.Tenant, s.Agent, id, turn)
		}
	}
	if err == nil && session.Of(t) != id || errors.Is(err, task.ErrNotFound) {
		return nil, Refuse(ErrTurnNotFound, "The session has no such turn, or it is past its retention of 7 days.")
	}
	if err != nil {
		return nil, err
	}
	return queue(c).tend(ctx, t), nil
}

// Cancel cancels a turn, also one that waits in its session's queue.
func (c Sessions) Cancel(ctx context.Context, who auth.Caller, t *task.Task) (*task.Task, error) {
	canceled, err := cancels(c).cancelTree(context.WithoutCancel(ctx), who.Tenant, t.ID, locationOf(t))
	c.audit(ctx, who, audit.TaskCancel, string(t.ID), err)
	return canceled, err
}

// Transcript is what has been said in a session.
type Transcript struct {
	SessionID session.ID        `json:"session_id"`
	Messages  []session.Message `json:"messages" doc:"Oldest first."`
	First     int               `json:"first" doc:"The number of the first message here; the session's first one is 1."`
	Next      int               `json:"next_after,omitempty" doc:"There are more: ask for those ?after= this one."`
}

// Bounds of one reading of a transcript.
const (
	MaxMessages     = 10_000
	maxMessageBytes = 8 << 20
)

// Transcript reads the messages after number after, from the pages and from the
// record: also what the agent does not see any more.
func (c Sessions) Transcript(ctx context.Context, s *session.Session, after, limit int) (Transcript, error) {
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
		messages, err := c.store.Sessions.Page(ctx, p)
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

// Delete forgets a session. An open turn is canceled, and before the session is
// gone those that wait.
func (c Sessions) Delete(ctx context.Context, who auth.Caller, id session.ID, expect func(rev uint64) error) error {
	err := c.forget(ctx, who, id, expect)
	c.audit(ctx, who, audit.SessionDelete, string(id), err)
	return err
}

func (c Sessions) forget(ctx context.Context, who auth.Caller, id session.ID, expect func(rev uint64) error) error {
	s, err := c.Get(ctx, who, id)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	for begun := false; ; {
		if !begun && expect != nil {
			if err := expect(s.Rev); err != nil {
				return err
			}
		}
		waits := len(s.Waiting) > 0
		if s, err = queue(c).cancelWaiting(ctx, s); err == nil {
			begun = begun || waits // later changes are this request's own doing
			err = c.store.Sessions.Delete(ctx, s)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, session.ErrConflict) {
			return err
		}
		if s, err = c.store.Sessions.Get(ctx, who.Tenant, s.ID); err != nil { // a turn has ended meanwhile
			return err
		}
	}
	if open, err := c.store.Turns.Open(ctx, s.Tenant, s.Agent, s.ID); err == nil {
		if _, err := cancels(c).cancelTree(ctx, s.Tenant, open.ID, locationOf(open)); err != nil && !errors.Is(err, task.ErrFinished) && !errors.Is(err, task.ErrNotFound) {
			c.log.Warn("open turn of a deleted session not canceled, it ends without effect", "session", s.ID, "task", open.ID, "error", err)
		}
	}
	if err := c.store.Sessions.DropPages(ctx, s.Pages); err != nil {
		c.log.Debug("messages of a deleted session not dropped, they expire by themselves", "session", s.ID, "error", err)
	}
	return nil
}

// SessionList is a page of a listing of sessions.
type SessionList struct {
	Sessions []*session.Session
	Next     string // cursor of the next page, empty on the last one
	Scanned  int
}

// List lists sessions, the newest change first, a page from a cursor on; those of
// one agent when it is named.
func (c Sessions) List(ctx context.Context, who auth.Caller, agent string, limit int, cursor string) (l SessionList, err error) {
	bound := digest("sessions", agent)
	at, err := decodeRevision(cursor, bound)
	if err != nil {
		return l, err
	}
	q := store.Search[*session.Session]{From: at, Limit: limit, Holds: holding("agent", agent), Match: func(s *session.Session) bool { return agent == "" || s.Agent == agent }}
	found, err := c.store.Sessions.List(ctx, who.Tenant, q)
	if err != nil {
		return l, err
	}
	l.Sessions, l.Scanned = found.Items, found.Scanned
	if found.Next > 0 {
		l.Next = encodeRevision(found.Next, bound)
	}
	return l, nil
}
