package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// A turn that waits stands in its session's record; that compare-and-set accepts
// it and decides the order. Then it gets a record of its own, so that it is found
// and listed as any task.

// Place is the place of a turn in a queue, to be appended to it. A long text is
// stored first.
func (s Turns) Place(ctx context.Context, t *task.Task) (session.Waiting, error) {
	w := session.Waiting{TurnID: t.ID, Text: t.Instruction, Bytes: session.Size(t.Instruction), EventDepth: t.EventDepth, IsAnswer: t.IsAnswer, TraceParent: t.TraceParent, TraceState: t.TraceState, Labels: t.Labels, Metadata: t.Metadata}
	if w.Bytes <= session.MaxInline {
		return w, nil
	}
	w.Text, w.Beside = "", true
	_, err := s.publish(ctx, &nats.Msg{Subject: topology.SessionText(t.Tenant, session.Of(t), t.ID), Data: []byte(t.Instruction)})
	if err != nil {
		return w, fmt.Errorf("keep the text of turn %s: %w", t.ID, err)
	}
	return w, nil
}

// textBeside reads the text that is kept beside a session's record, ok false when
// it is gone.
func (s Turns) textBeside(ctx context.Context, t *task.Task) (text string, ok bool, err error) {
	ctx, cancel := s.bound(ctx, topology.SessionsBucket)
	defer cancel()
	msg, err := s.sessions.GetLastMsgForSubject(ctx, topology.SessionText(t.Tenant, session.Of(t), t.ID))
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
func (s Turns) dropText(ctx context.Context, t *task.Task) {
	subject := topology.SessionText(t.Tenant, session.Of(t), t.ID)
	_, _ = s.publish(ctx, &nats.Msg{Subject: subject, Header: nats.Header{headerOperation: {"DEL"}}})
}

// Waiting reads the record of a turn that stands in a session's list, and
// makes it where there is none yet.
func (s Turns) Waiting(ctx context.Context, sess *session.Session, w session.Waiting) (*task.Task, error) {
	for {
		t, err := Tasks(s).Get(ctx, sess.Tenant, w.TurnID)
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
				if t, err := (Tasks(s)).Get(ctx, sess.Tenant, w.TurnID); !errors.Is(err, task.ErrNotFound) {
					return t, err
				}
				t.Error = &task.Error{Code: task.CodeInputLost, Message: "the message outlived its retention"}
				if err := t.To(task.Failed, time.Now()); err != nil {
					return nil, err
				}
			}
		}
		if err := (Tasks(s)).Save(ctx, t); errors.Is(err, task.ErrConflict) {
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

// QueuesOfSessions calls f with the sessions in which turns wait, of a window of
// revisions, as Records does.
func (s Repair) QueuesOfSessions(ctx context.Context, from uint64, f func(tenant string, id session.ID)) (next uint64, err error) {
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
