package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/topology"
)

// A turn that waits stands in its session's record; that compare-and-set accepts
// it and decides the order. Then it gets a record of its own, so that it is found
// and listed as any task. Whoever ends a turn publishes the next one, after the
// message of the one before is gone. What a crash leaves undone of this,
// PublishNextTurn does whoever calls it next.

// Waiting is the place of a turn in a queue, to be appended to it. A long text is
// stored first.
func (s *Store) Waiting(ctx context.Context, t *task.Task) (session.Waiting, error) {
	w := session.Waiting{TurnID: t.ID, Text: t.Instruction, Bytes: session.Size(t.Instruction), EventDepth: t.EventDepth, TraceParent: t.TraceParent, TraceState: t.TraceState}
	if w.Bytes <= session.MaxInline {
		return w, nil
	}
	w.Text, w.Beside = "", true
	_, err := s.publish(ctx, &nats.Msg{Subject: topology.SessionText(t.Tenant, t.SessionID, t.ID), Data: []byte(t.Instruction)})
	if err != nil {
		return w, fmt.Errorf("keep the text of turn %s: %w", t.ID, err)
	}
	return w, nil
}

// textBeside reads the text that is kept beside a session's record, ok false when
// it is gone.
func (s *Store) textBeside(ctx context.Context, t *task.Task) (text string, ok bool, err error) {
	ctx, cancel := s.bound(ctx, topology.SessionsBucket)
	defer cancel()
	msg, err := s.sessions.GetLastMsgForSubject(ctx, topology.SessionText(t.Tenant, t.SessionID, t.ID))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read the text of turn %s: %w", t.ID, classify(err))
	}
	gone := msg.Header.Get(headerOperation) != "" || msg.Header.Get(headerMarker) != ""
	return string(msg.Data), !gone, nil
}

// dropText forgets a text that the turn's record has now. It expires by itself,
// too.
func (s *Store) dropText(ctx context.Context, t *task.Task) {
	subject := topology.SessionText(t.Tenant, t.SessionID, t.ID)
	_, _ = s.publish(ctx, &nats.Msg{Subject: subject, Header: nats.Header{headerOperation: {"DEL"}}})
}

// WaitingTurn reads the record of a turn that stands in a session's list, and
// makes it where there is none yet.
func (s *Store) WaitingTurn(ctx context.Context, sess *session.Session, w session.Waiting) (*task.Task, error) {
	for {
		t, err := s.Get(ctx, sess.Tenant, w.TurnID)
		if !errors.Is(err, task.ErrNotFound) {
			return t, err
		}
		t = sess.Turn(w)
		if w.Beside {
			text, ok, err := s.textBeside(ctx, t)
			if err != nil {
				return nil, err
			}
			if t.Instruction = text; !ok {
				// Somebody has made the record and dropped the text, or it is too old.
				if t, err := s.Get(ctx, sess.Tenant, w.TurnID); !errors.Is(err, task.ErrNotFound) {
					return t, err
				}
				t.Error = &task.Error{Code: task.CodeInputLost, Message: "the message outlived its retention"}
				if err := t.To(task.Failed, time.Now()); err != nil {
					return nil, err
				}
			}
		}
		if err := s.Save(ctx, t); errors.Is(err, task.ErrConflict) {
			continue
		} else if err != nil {
			return nil, err
		}
		if w.Beside {
			s.dropText(ctx, t)
		}
		return t, nil
	}
}

// PublishNextTurn opens the next turn of a session's queue, unless one is open,
// and returns its id, empty when there is nothing to open. It completes what a
// crash has left undone: the cancel of a turn that the session has as canceled,
// a record that is missing. It may be called by anyone at any time; whoever ends
// a turn must.
func (s *Store) PublishNextTurn(ctx context.Context, tenant, sessionID string) (id string, err error) {
	repeat := "" // a turn that the server takes for one it had before
	for {
		sess, err := s.Session(ctx, tenant, sessionID)
		if errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrExpired) || err == nil && len(sess.Waiting) == 0 {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		next, open, err := s.nextTurn(ctx, sess)
		if errors.Is(err, session.ErrConflict) || errors.Is(err, task.ErrConflict) {
			continue // somebody else has gone on
		}
		if err != nil || next == nil || open {
			return "", err
		}
		msgID := next.ID
		if repeat == next.ID {
			msgID += "-" + nats.NewInbox()[len("_INBOX."):]
		}
		duplicate, err := s.enqueueTurn(telemetry.WithTraceParent(ctx, next.TraceParent, next.TraceState), next, msgID)
		switch {
		case errors.Is(err, session.ErrBusy): // who ends that one looks again
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
func (s *Store) nextTurn(ctx context.Context, sess *session.Session) (next *task.Task, open bool, err error) {
	now, err := s.OpenTurn(ctx, sess.Tenant, sess.Agent, sess.ID)
	if err != nil && !errors.Is(err, task.ErrNotFound) {
		return nil, false, err
	}
	if now != nil {
		if outcome, _ := sess.Outcome(now.ID); outcome != session.Interrupted {
			return nil, true, nil
		}
		gone, err := s.finishCancel(ctx, now)
		if err != nil {
			return nil, false, err
		}
		if gone {
			now = nil
		}
	}
	shorter := sess.Clone()
	noted := ""
	for len(shorter.Waiting) > 0 {
		w := shorter.Waiting[0]
		if now != nil && now.ID == w.TurnID {
			break // its own end takes it off
		}
		t, err := s.WaitingTurn(ctx, shorter, w)
		if err == nil && w.Canceled {
			t, err = s.cancelTurn(ctx, t)
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
		if err := s.shortenNoted(ctx, shorter, noted); err != nil {
			return nil, false, err
		}
		if err := s.SaveSession(ctx, shorter); err != nil {
			return nil, false, err
		}
	}
	return next, now != nil, nil
}

// shortenNoted keeps a session with a window within it, when messages that were
// canceled have come into its transcript.
func (s *Store) shortenNoted(ctx context.Context, sess *session.Session, noted string) error {
	if noted == "" {
		return nil
	}
	d, err := s.Agent(ctx, sess.Agent)
	if errors.Is(err, task.ErrNotFound) {
		return nil
	}
	if d := d.WithDefaults(); err != nil || d.History != task.HistoryWindow {
		return err
	}
	return s.Shorten(ctx, sess, d.WithDefaults().MaxTranscript, noted+"-canceled")
}

// finishCancel completes the cancel of an open turn whose session has it as
// interrupted. gone says that no worker has it: its message is withdrawn.
func (s *Store) finishCancel(ctx context.Context, open *task.Task) (gone bool, err error) {
	t, err := s.Get(ctx, open.Tenant, open.ID)
	if errors.Is(err, task.ErrNotFound) {
		t, err = open, nil
	}
	if err != nil || t.Status.Terminal() {
		return false, err
	}
	waits := t.Status == task.Pending && t.Attempt == 0
	if t, err = s.cancelTurn(ctx, t); err != nil || !waits || t.Status != task.Canceled {
		return false, err
	}
	return true, s.WithdrawTurn(ctx, t)
}

// cancelTurn writes the end of a turn that its session has as canceled.
func (s *Store) cancelTurn(ctx context.Context, t *task.Task) (*task.Task, error) {
	if t.Status.Terminal() {
		return t, nil
	}
	t.Error = nil
	if err := t.To(task.Canceled, time.Now()); err != nil {
		return nil, err
	}
	if err := s.Save(ctx, t); err != nil {
		return nil, err
	}
	telemetry.TasksFinished.Add(1, t.Agent, string(t.Status))
	telemetry.TaskDuration.Record(max(t.FinishedAt.Sub(t.CreatedAt), 0), t.Agent, string(t.Status))
	return t, s.SignalCancel(t.ID)
}

// TendTurn sees to it that a turn that waits goes on, and returns it as it is
// then: the next turn of its session is open, and one whose session is gone has
// ended. waits is false of a turn that stands in no session's queue: it is
// returned as it is.
func (s *Store) TendTurn(ctx context.Context, t *task.Task) (now *task.Task, waits bool, err error) {
	if !t.Waited || t.Status != task.Pending || t.Attempt > 0 {
		return t, false, nil
	}
	sess, err := s.Session(ctx, t.Tenant, t.SessionID)
	if errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrExpired) {
		return s.endWithout(ctx, t)
	}
	if err != nil {
		return t, false, err
	}
	if _, waits = sess.Listed(t.ID); waits {
		_, err = s.PublishNextTurn(ctx, t.Tenant, t.SessionID)
	}
	return t, waits, err
}

// endWithout ends a turn that waits in a session that is gone. One that is open is
// left to its worker.
func (s *Store) endWithout(ctx context.Context, t *task.Task) (now *task.Task, waits bool, err error) {
	open, err := s.OpenTurn(ctx, t.Tenant, t.Agent, t.SessionID)
	if err == nil && open.ID == t.ID || err != nil && !errors.Is(err, task.ErrNotFound) {
		return t, err == nil, err
	}
	next, err := s.Get(ctx, t.Tenant, t.ID)
	if err != nil || next.Status != task.Pending {
		return cmp.Or(next, t), true, err
	}
	next.Error = &task.Error{Code: task.CodeSessionGone, Message: "the session was deleted or has expired"}
	if err := next.To(task.Failed, time.Now()); err != nil {
		return t, false, err
	}
	if err := s.Save(ctx, next); errors.Is(err, task.ErrConflict) {
		return t, true, nil // somebody else has ended it
	} else if err != nil {
		return t, false, err
	}
	telemetry.TasksFinished.Add(1, next.Agent, string(next.Status))
	return next, true, nil
}

// QueuesOfSessions calls f with the sessions in which turns wait, of a window of
// revisions, as Records does.
func (s *Store) QueuesOfSessions(ctx context.Context, from uint64, f func(tenant, sessionID string)) (next uint64, err error) {
	next, err = s.forwards(ctx, s.sessions, topology.SessionsAll, from, func(m message) {
		if sess, err := decodeSession(m.data, nil, m.seq); err == nil && len(sess.Waiting) > 0 {
			f(sess.Tenant, sess.ID)
		}
	})
	if err != nil {
		return from, fmt.Errorf("read sessions: %w", err)
	}
	return next, nil
}
