package mesh

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
)

// The protocol of a session. The compare-and-set of its record decides what
// becomes of a turn, before the turn's own record says so: Commit of a worker
// against interrupt of a client, and against an earlier attempt whose worker was
// frozen. The process that ends a turn publishes the next one, after the message
// of the one before is gone.

// turns are the turns of the sessions in a store.
type turns struct {
	store *store.Store
	blind bool // see Options
}

// Standing is what a session says of a turn.
type Standing int

// The standings of a turn.
const (
	TurnOpen        Standing = iota // nothing is decided
	TurnCommitted                   // its reply is in the transcript
	TurnInterrupted                 // it is canceled
	TurnOvertaken                   // a later attempt of it has begun
	SessionGone                     // the session was deleted or has expired
	SessionFull                     // the session has no room for its message
)

// Turn is a turn as its session has it.
type Turn struct {
	Standing Standing
	Session  *session.Session // as last read or written; nil: it is gone
	Reply    string           // of a turn that is committed
	Why      error            // of a session that is full
}

// standing reads what a session says of an attempt of a turn.
func standing(s *session.Session, id task.ID, attempt int) Turn {
	t := Turn{Session: s}
	outcome, reply := s.Outcome(id)
	switch {
	case outcome == session.Committed:
		t.Standing, t.Reply = TurnCommitted, reply
	case outcome == session.Interrupted:
		t.Standing = TurnInterrupted
	case s.Fence != nil && s.Fence.TurnID == id && s.Fence.Attempt > attempt:
		t.Standing = TurnOvertaken
	}
	return t
}

// Beginning is an attempt of a turn that is about to begin.
type Beginning struct {
	Attempt int
	Fences  bool            // the turn was delivered before, or ends without an attempt
	Runs    bool            // its agent is to hear of it
	Agent   task.Definition // as its worker has it
}

// Begin reads what the session says of a turn that was delivered to a worker. One that
// fences has the session refuse the attempts before: their commit would come too late.
func (c Sessions) Begin(ctx context.Context, t *task.Task, b Beginning) (Turn, error) {
	for {
		s, err := c.store.Sessions.Get(ctx, t.Tenant, session.Of(t))
		if gone(err) {
			return Turn{Standing: SessionGone}, nil
		}
		if err != nil {
			return Turn{}, err
		}
		now := standing(s, t.ID, b.Attempt)
		if now.Standing == TurnCommitted || now.Standing == TurnInterrupted {
			return now, nil
		}
		if b.Runs && t.Waited { // others have spoken since it was accepted
			if full := s.Room(t.Instruction, b.Agent); full != nil {
				return Turn{Standing: SessionFull, Session: s, Why: full}, nil
			}
		}
		if !b.Fences {
			return Turn{Session: s}, nil
		}
		if now.Standing == TurnOvertaken || s.Fence != nil && *s.Fence == (session.Fence{TurnID: t.ID, Attempt: b.Attempt}) {
			return now, nil
		}
		now.Session = s.Clone()
		now.Session.Fence = &session.Fence{TurnID: t.ID, Attempt: b.Attempt}
		err = c.store.Sessions.Save(ctx, now.Session)
		if !errors.Is(err, session.ErrConflict) {
			return now, err
		}
	}
}

// Reply is what the agent answered in a turn.
type Reply struct {
	Message string
	Asked   *session.Asked  // nil: it asks nothing
	State   json.RawMessage // nil: unchanged
}

// Commit puts a turn's message, the reply and the new state into its session, by
// one compare-and-set. s is the session as the attempt knows it. TurnOpen says that
// the session has changed since and tells nothing of the turn: look whether the
// attempt still has it, and commit again. With an error the outcome may be
// unknown: a repeat tells.
func (c Sessions) Commit(ctx context.Context, s *session.Session, t *task.Task, r Reply, d task.Definition) (Turn, error) {
	next := s.Clone()
	next.Commit(t, r.Message, r.State, time.Now())
	next.Asked = r.Asked
	if d.History == task.HistoryWindow { // messages that do not fit the agent's window leave the record
		if err := c.store.Sessions.Shorten(ctx, next, d.MaxTranscript, string(t.ID)+"-"+strconv.Itoa(t.Attempt)); err != nil {
			return Turn{Session: s}, err
		}
	}
	saving, span := telemetry.StartInternal(ctx, telemetry.SpanCommit, telemetry.TaskID(t.ID))
	err := c.store.Sessions.Save(saving, next)
	telemetry.End(span, err)
	if err == nil {
		return Turn{Standing: TurnCommitted, Session: next, Reply: r.Message}, nil
	}
	if !errors.Is(err, session.ErrConflict) {
		return Turn{Session: s}, err
	}
	now, err := c.store.Sessions.Get(ctx, t.Tenant, session.Of(t))
	if gone(err) {
		return Turn{Standing: SessionGone}, nil
	}
	if err != nil {
		return Turn{Session: s}, err
	}
	return standing(now, t.ID, t.Attempt), nil
}

// Release says in its session that an attempt of a turn fails, before the turn's record
// says so: from then on nobody notes it as interrupted, see ended. It keeps the session
// alive and takes the turn off its list. A turn that was interrupted before is not
// failed any more.
func (c Sessions) Release(ctx context.Context, s *session.Session, t *task.Task) (Turn, error) {
	for {
		now := standing(s, t.ID, t.Attempt)
		if now.Standing != TurnOpen {
			return now, nil
		}
		now.Session = s.Clone()
		now.Session.UpdatedAt = task.Stamp(time.Now())
		now.Session.Leave(t.ID)
		now.Session.Fence = &session.Fence{TurnID: t.ID, Attempt: t.Attempt + 1}
		err := c.store.Sessions.Save(ctx, now.Session)
		if !errors.Is(err, session.ErrConflict) {
			return now, err
		}
		if s, err = c.store.Sessions.Get(ctx, t.Tenant, session.Of(t)); gone(err) {
			return Turn{Standing: SessionGone}, nil
		}
		if err != nil {
			return Turn{}, err
		}
	}
}

// Next opens the next turn of a session's queue, unless one is open, and returns
// its id, empty when there is nothing to open.
func (c Sessions) Next(ctx context.Context, tenant string, id session.ID) (opened task.ID, err error) {
	return c.publishNext(ctx, tenant, id)
}

// openTurnOf is a session's open turn, nil when there is none.
func (c turns) openTurnOf(ctx context.Context, s *session.Session) (*task.Task, error) {
	open, err := c.store.Turns.Open(ctx, s.Tenant, s.Agent, s.ID)
	if errors.Is(err, task.ErrNotFound) {
		return nil, nil
	}
	return open, err
}

func idOf(t *task.Task) task.ID {
	if t == nil {
		return ""
	}
	return t.ID
}

// interrupt notes in its session that a turn is canceled, which decides against
// the worker that would commit a reply. It returns task.ErrFinished when the
// reply came first.
func (c turns) interrupt(ctx context.Context, t *task.Task) error {
	for {
		s, err := c.store.Sessions.Get(ctx, t.Tenant, session.Of(t))
		if gone(err) {
			return nil
		}
		if err != nil {
			return err
		}
		switch o, _ := s.Outcome(t.ID); o {
		case session.Committed:
			return task.ErrFinished
		case session.Interrupted:
			return nil
		}
		// Read after the session: a turn that has ended by now is not noted.
		if over, err := c.ended(ctx, s, t.ID); err == nil && over {
			return task.ErrFinished
		}
		next := s.Clone()
		_, listed := s.Listed(t.ID)
		open, err := c.openTurnOf(ctx, s)
		switch {
		case err != nil:
		case listed && idOf(open) != t.ID: // its message comes into the transcript in its turn
			next.Cancel(t.ID)
		default:
			err = c.note(ctx, next, t)
		}
		if err == nil {
			err = c.store.Sessions.Save(ctx, next)
		}
		if !errors.Is(err, session.ErrConflict) {
			return err
		}
	}
}

// note puts the message of a canceled turn into the transcript.
func (c turns) note(ctx context.Context, next *session.Session, t *task.Task) error {
	next.Interrupt(t, time.Now())
	return c.shorten(ctx, next, string(t.ID))
}

// publishNext opens the next turn of a session's queue, unless one is open, and
// returns its id, empty when there is nothing to open. It completes what a crash
// has left undone: the cancel of a turn that the session has as canceled, a
// record that is missing. Any process may call it at any time; the one that ends
// a turn must.
func (c turns) publishNext(ctx context.Context, tenant string, sessionID session.ID) (id task.ID, err error) {
	repeat := task.ID("") // a turn that the server takes for one it had before
	for {
		sess, err := c.store.Sessions.Get(ctx, tenant, sessionID)
		if gone(err) || err == nil && len(sess.Waiting) == 0 {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		next, open, err := c.nextTurn(ctx, sess)
		if errors.Is(err, session.ErrConflict) || errors.Is(err, task.ErrConflict) {
			continue // somebody else has gone on
		}
		if err != nil || next == nil || open {
			return "", err
		}
		enqueue := c.store.Turns.Enqueue
		if repeat == next.ID {
			enqueue = c.store.Turns.EnqueueAgain
		}
		duplicate, err := enqueue(telemetry.WithTraceParent(ctx, next.TraceParent, next.TraceState), next)
		switch {
		case errors.Is(err, session.ErrBusy): // the process that ends that one looks again
			return "", nil
		case err != nil:
			return "", err
		case !duplicate:
			return next.ID, nil
		}
		// It was open already and has ended, unless its message was lost.
		repeat = next.ID
	}
}

// nextTurn takes what has ended off the front of a session's list and returns the
// first turn that has not. open says that a turn is open.
func (c turns) nextTurn(ctx context.Context, sess *session.Session) (next *task.Task, open bool, err error) {
	var now *task.Task
	if !c.blind { // else the server tells, when the next turn is published
		if now, err = c.openTurnOf(ctx, sess); err != nil {
			return nil, false, err
		}
	}
	if now != nil {
		if outcome, _ := sess.Outcome(now.ID); outcome != session.Interrupted {
			return nil, true, nil
		}
		over, err := c.finishCancel(ctx, now)
		if err != nil {
			return nil, false, err
		}
		if over {
			now = nil
		}
	}
	shorter := sess.Clone()
	noted := task.ID("")
	for len(shorter.Waiting) > 0 {
		w := shorter.Waiting[0]
		if now != nil && now.ID == w.TurnID {
			break // its own end takes it off
		}
		t, err := c.store.Turns.Waiting(ctx, shorter, w)
		if err == nil && w.Canceled {
			t, err = c.cancelTurn(ctx, t)
		}
		if err != nil {
			return nil, false, err
		}
		if !t.Status.Terminal() {
			if t.Status == task.Pending && t.Attempt == 0 {
				next = t
			} // else it was open and its message is lost: that is the reconciler's
			break
		}
		if t.Status == task.Canceled {
			shorter.Interrupt(t, time.Now())
			noted = t.ID
		}
		shorter.Leave(t.ID)
	}
	if len(shorter.Waiting) < len(sess.Waiting) {
		var err error
		if noted != "" {
			err = c.shorten(ctx, shorter, string(noted)+"-canceled")
		}
		if err == nil {
			err = c.store.Sessions.Save(ctx, shorter)
		}
		if err != nil {
			return nil, false, err
		}
	}
	return next, now != nil, nil
}

// shorten keeps a session whose agent has a window within it, when a message that
// was canceled has come into its transcript. name is used once.
func (c turns) shorten(ctx context.Context, s *session.Session, name string) error {
	d, err := c.store.Registry.Agent(ctx, s.Agent)
	if errors.Is(err, task.ErrNotFound) {
		return nil
	}
	if d := d.WithDefaults(); err != nil || d.History != task.HistoryWindow {
		return err
	}
	return c.store.Sessions.Shorten(ctx, s, d.WithDefaults().MaxTranscript, name)
}

// finishCancel completes the cancel of an open turn whose session has it as
// interrupted. over says that no worker has it: its message is withdrawn.
func (c turns) finishCancel(ctx context.Context, open *task.Task) (over bool, err error) {
	t, err := c.store.Tasks.Get(ctx, open.Tenant, open.ID)
	if errors.Is(err, task.ErrNotFound) {
		t, err = open, nil
	}
	if err != nil || t.Status.Terminal() {
		return false, err
	}
	waits := t.Status == task.Pending && t.Attempt == 0
	if t, err = c.cancelTurn(ctx, t); err != nil || !waits || t.Status != task.Canceled {
		return false, err
	}
	return true, c.store.Turns.Withdraw(ctx, t)
}

// cancelTurn writes the end of a turn that its session has as canceled.
func (c turns) cancelTurn(ctx context.Context, t *task.Task) (*task.Task, error) {
	if t.Status.Terminal() {
		return t, nil
	}
	t.Error = nil
	if err := t.To(task.Canceled, time.Now()); err != nil {
		return nil, err
	}
	if err := c.store.Records.Fit(ctx, t); err != nil {
		return nil, err
	}
	telemetry.TasksFinished.Add(1, t.Agent, string(t.Status))
	telemetry.TaskDuration.Record(max(t.FinishedAt.Sub(t.CreatedAt), 0), t.Agent, string(t.Status))
	return t, c.store.Tasks.SignalCancel(t.ID)
}

// tendTurn sees to it that a turn that waits goes on, and returns it as it is
// then: the next turn of its session is open, and one whose session is gone has
// ended. waits is false of a turn that stands in no session's queue: it is
// returned as it is.
func (c turns) tendTurn(ctx context.Context, t *task.Task) (now *task.Task, waits bool, err error) {
	if !t.Waited || t.Status != task.Pending || t.Attempt > 0 {
		return t, false, nil
	}
	sess, err := c.store.Sessions.Get(ctx, t.Tenant, session.Of(t))
	if gone(err) {
		return c.endWithout(ctx, t)
	}
	if err != nil {
		return t, false, err
	}
	if _, waits = sess.Listed(t.ID); waits {
		_, err = c.publishNext(ctx, t.Tenant, session.Of(t))
	}
	return t, waits, err
}

// endWithout ends a turn that waits in a session that is gone. One that is open is
// left to its worker.
func (c turns) endWithout(ctx context.Context, t *task.Task) (now *task.Task, waits bool, err error) {
	open, err := c.store.Turns.Open(ctx, t.Tenant, t.Agent, session.Of(t))
	if err == nil && open.ID == t.ID || err != nil && !errors.Is(err, task.ErrNotFound) {
		return t, err == nil, err
	}
	next, err := c.store.Tasks.Get(ctx, t.Tenant, t.ID)
	if err != nil || next.Status != task.Pending {
		return cmp.Or(next, t), true, err
	}
	next.Error = &task.Error{Code: task.CodeSessionGone, Message: "the session was deleted or has expired"}
	if err := next.To(task.Failed, time.Now()); err != nil {
		return t, false, err
	}
	if err := c.store.Records.Fit(ctx, next); errors.Is(err, task.ErrConflict) {
		return t, true, nil // somebody else has ended it
	} else if err != nil {
		return t, false, err
	}
	telemetry.TasksFinished.Add(1, next.Agent, string(next.Status))
	return next, true, nil
}
