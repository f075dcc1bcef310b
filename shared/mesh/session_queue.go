package mesh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"agentmesh/shared/session"
	"agentmesh/shared/task"
)

// ackWithin is how long the acknowledgement of a turn may take after its record.
const ackWithin = 100 * time.Millisecond

// tendEvery is how often a held request sees to it that its turn goes on.
const tendEvery = 5 * time.Second

// openTurn accepts the turn: it queues it where no other one is open or waits,
// else it does as the message asks. One that is for a version of the session gets its
// place by compare-and-set of that version instead: the queue knows of none, and
// somebody may have spoken since it was read. A client that goes away before that has
// sent nothing.
func (c queue) openTurn(ctx context.Context, s *session.Session, m *Message, t *task.Task, until time.Time) error {
	closing, since := task.ID(""), time.Time{} // a turn that has ended, and whose message is still there
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if accepts(s, t.ID) {
			return nil
		}
		if len(s.Waiting) == 0 {
			misfit := c.fits(ctx, s, t)
			if misfit != nil || m.Expect != nil {
				if open, err := c.openTurnOf(ctx, s); err != nil || open == nil {
					if err = cmp.Or(err, misfit); err != nil {
						return err
					}
					return c.enlist(context.WithoutCancel(ctx), s, m, t)
				}
			} else {
				t.CreatedAt = task.Stamp(time.Now()) // acceptance is the order of the transcript
				_, err := c.store.Turns.Enqueue(context.WithoutCancel(ctx), t)
				if !errors.Is(err, session.ErrBusy) {
					return err
				}
			}
		}
		open, look := c.store.Turns.Open(ctx, t.Tenant, t.Agent, session.Of(t))
		switch {
		case errors.Is(look, task.ErrNotFound): // it has just ended, and the next one is on its way
			_, look = c.publishNext(context.WithoutCancel(ctx), t.Tenant, session.Of(t))
		case look != nil:
		case open.ID == t.ID: // a repeat of this message
			return nil
		case c.over(ctx, open) && closing != open.ID: // the acknowledgement is on its way
			closing, since = open.ID, time.Now()
		case closing == open.ID && time.Since(since) < ackWithin:
		case closing == open.ID: // or its worker died before it
			look = c.store.Turns.Withdraw(context.WithoutCancel(ctx), open)
		case m.OnBusy == Reject:
			return fmt.Errorf("queue turn %s: %w", t.ID, session.ErrBusy)
		default:
			return c.enlist(context.WithoutCancel(ctx), s, m, t)
		}
		if look != nil {
			return look
		}
		if !c.sleep(ctx, pause) || time.Now().After(until) {
			return fmt.Errorf("queue turn %s: %w", t.ID, session.ErrBusy)
		}
		if s, look = c.admitAnew(ctx, m, t.Tenant, session.Of(t)); look != nil { // it has changed meanwhile
			return look
		}
	}
}

// accepts reports whether a session has a turn already: its message is a repeat.
func accepts(s *session.Session, id task.ID) bool {
	_, listed := s.Listed(id)
	outcome, _ := s.Outcome(id)
	return listed || outcome != session.Open
}

func (c queue) admitAnew(ctx context.Context, m *Message, tenant string, id session.ID) (*session.Session, error) {
	s, err := c.store.Sessions.Get(ctx, tenant, id)
	if err == nil {
		err = c.admit(ctx, s, m)
	}
	return s, err
}

// over reports whether a turn has ended and its agent too: its message keeps the
// session closed for nothing.
func (c queue) over(ctx context.Context, turn *task.Task) bool {
	rec, err := c.store.Tasks.Get(ctx, turn.Tenant, turn.ID)
	return err == nil && rec.Status.Terminal() && (rec.Status != task.Canceled || !rec.StoppedAt.IsZero())
}

// enlist gives the turn its place in the session's queue, by compare-and-set: this
// accepts it. With the same write an interrupting message cancels what is open and
// all that waits before it.
func (c queue) enlist(ctx context.Context, s *session.Session, m *Message, t *task.Task) error {
	w, err := c.store.Turns.Place(ctx, t)
	if err != nil {
		return err
	}
	var canceled []task.ID
	for {
		if accepts(s, t.ID) {
			return nil
		}
		open, err := c.openTurnOf(ctx, s)
		if err != nil {
			return err
		}
		next := s.Clone()
		if m.OnBusy == Interrupt {
			if canceled, err = c.displace(ctx, next, open); err != nil {
				return err
			}
		}
		w.At = task.Stamp(time.Now())
		if err := next.Append(w, idOf(open)); err != nil {
			return err
		}
		err = c.store.Sessions.Save(ctx, next)
		if err == nil {
			s = next
			break
		}
		if !errors.Is(err, session.ErrConflict) {
			return err
		}
		if s, err = c.admitAnew(ctx, m, s.Tenant, s.ID); err != nil {
			return err
		}
	}
	t.CreatedAt, t.Waited = w.At, true
	c.enlisted(ctx, s, t, w, canceled)
	return nil
}

// enlisted does what follows the acceptance. The turn is accepted in any case: a
// step that fails or is cut off is done by the next reader of the session.
func (c queue) enlisted(ctx context.Context, s *session.Session, t *task.Task, w session.Waiting, canceled []task.ID) {
	left := func(what string, err error) {
		if err != nil && !errors.Is(err, task.ErrFinished) && !errors.Is(err, task.ErrNotFound) {
			c.log.Warn("left to who looks at the session next", "what", what, "session", s.ID, "task", t.ID, "error", err)
		}
	}
	made, err := c.store.Turns.Waiting(ctx, s, w)
	if left("record of a turn that waits", err); err == nil {
		*t = *made
	}
	for _, id := range canceled {
		_, err := cancels(c).cancelTree(ctx, s.Tenant, id, location{s.Agent, s.ID})
		left("cancel of turn "+string(id), err)
	}
	if len(canceled) > 0 {
		left("cancel of a turn that was opened meanwhile", c.overtake(ctx, s, t.ID))
	}
	_, err = c.publishNext(ctx, s.Tenant, s.ID)
	left("next turn", err)
}

// displace notes in a session that its open turn and all that wait are canceled,
// and returns them.
func (c queue) displace(ctx context.Context, next *session.Session, open *task.Task) (canceled []task.ID, err error) {
	if open != nil {
		outcome, _ := next.Outcome(open.ID)
		over, err := c.ended(ctx, next, open.ID)
		if err != nil {
			return nil, err
		}
		if outcome == session.Open && !over {
			if err := c.note(ctx, next, open); err != nil {
				return nil, err
			}
			canceled = append(canceled, open.ID)
		}
	}
	return append(canceled, next.CancelAll()...), nil
}

// overtake cancels a turn that was opened past the queue while the interrupting
// turn took its place there: it came before that one.
func (c queue) overtake(ctx context.Context, s *session.Session, id task.ID) error {
	open, err := c.openTurnOf(ctx, s)
	if err != nil || open == nil || open.ID == id {
		return err
	}
	s, err = c.store.Sessions.Get(ctx, s.Tenant, s.ID)
	if err != nil {
		return err
	}
	_, listed := s.Listed(open.ID)
	if w, waits := s.Listed(id); listed || !waits || w.Canceled {
		return nil
	}
	_, err = cancels(c).cancelTree(ctx, s.Tenant, open.ID, locationOf(open))
	return err
}

// tend has a turn that waits go on, if nobody else does.
func (c queue) tend(ctx context.Context, t *task.Task) *task.Task {
	now, _, err := c.tendTurn(ctx, t)
	if err != nil {
		c.log.Debug("turn that waits not looked after", "task", t.ID, "error", err)
		return t
	}
	return now
}

// tending does so now and then while a request is held for the turn, until stop.
func (c queue) tending(ctx context.Context, t *task.Task) (stop func()) {
	if !t.Waited || t.Status != task.Pending {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c.sleep(ctx, tendEvery) {
			c.tend(ctx, t)
		}
	}()
	return func() { cancel(); <-done }
}

// inQueue is what a turn waits for that stands in its session's queue, nil when
// it is open.
func (c queue) inQueue(ctx context.Context, t *task.Task) (*Waiting, error) {
	s, err := c.store.Sessions.Get(ctx, t.Tenant, session.Of(t))
	if err != nil {
		return nil, err
	}
	open, err := c.openTurnOf(ctx, s)
	if err != nil || idOf(open) == t.ID {
		return nil, err
	}
	for i, id := range s.Queue(idOf(open)) {
		if id == t.ID {
			return &Waiting{Reason: waitSession, Position: i + 1}, nil
		}
	}
	return nil, nil
}

// cancelWaiting ends all turns that wait in a session, which is about to be
// deleted, and returns the session as it is then.
func (c queue) cancelWaiting(ctx context.Context, s *session.Session) (*session.Session, error) {
	next := s.Clone()
	ids := next.CancelAll()
	if len(ids) > 0 {
		if err := c.store.Sessions.Save(ctx, next); err != nil {
			return s, err
		}
	}
	for _, w := range next.Waiting {
		if _, err := cancels(c).cancelTree(ctx, s.Tenant, w.TurnID, location{s.Agent, s.ID}); err != nil && !errors.Is(err, task.ErrFinished) && !errors.Is(err, task.ErrNotFound) {
			return s, err
		}
	}
	return next, nil
}
