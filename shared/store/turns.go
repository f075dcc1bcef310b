package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// EnqueueTurn opens a turn: it publishes the whole turn on its session's own
// subject, where the server takes one message at a time. It returns
// session.ErrBusy while another turn is open, and otherwise as Enqueue does.
func (s *Store) EnqueueTurn(ctx context.Context, t *task.Task, hdr nats.Header) (duplicate bool, err error) {
	data, err := encode(t)
	if err != nil {
		return false, fmt.Errorf("queue turn %s: %w", t.ID, err)
	}
	ack, err := s.publish(ctx, &nats.Msg{Subject: queueSubject(t), Data: data, Header: hdr}, jetstream.WithMsgID(t.ID))
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == codeStoreFailed && strings.HasPrefix(api.Description, "maximum messages per subject") {
		err = session.ErrBusy
	}
	if err != nil {
		return false, fmt.Errorf("queue turn %s: %w", t.ID, err)
	}
	t.QueueSeq = ack.Sequence
	return ack.Duplicate, nil
}

// OpenTurn reads the open turn of a session from the queue. It returns
// task.ErrNotFound when there is none.
func (s *Store) OpenTurn(ctx context.Context, sess *session.Session) (*task.Task, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	msg, err := s.turns.GetLastMsgForSubject(ctx, topology.Turn(sess.Tenant, sess.Agent, sess.ID))
	if err != nil {
		return nil, fmt.Errorf("look for the open turn of session %s: %w", sess.ID, missing(err))
	}
	return decodeQueued(msg.Data, msg.Sequence)
}

// findTurn looks a turn whose session is not known up in the queue: among those
// that are open now, which no index lists by their own id.
func (s *Store) findTurn(ctx context.Context, tenant, id string) (t *task.Task, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	info, err := s.turns.Info(ctx)
	if err == nil && info.State.Msgs > 0 {
		err = window(ctx, s.turns, topology.TurnsOf(tenant), info.State.FirstSeq, info.State.LastSeq, func(data []byte, seq uint64) {
			if turn, err := decodeQueued(data, seq); err == nil && turn.ID == id {
				t = turn
			}
		})
	}
	if err == nil && t == nil {
		err = task.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("look turn %s up in the queue: %w", id, classify(err))
	}
	return t, nil
}

// WithdrawTurn takes the message of a turn that was canceled before an attempt
// of it began, and so opens the session.
func (s *Store) WithdrawTurn(ctx context.Context, turn *task.Task) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	msg, err := s.turns.GetLastMsgForSubject(ctx, queueSubject(turn))
	if err != nil {
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		return fmt.Errorf("withdraw turn %s: %w", turn.ID, classify(err))
	}
	open, err := decodeQueued(msg.Data, msg.Sequence)
	if err != nil || open.ID != turn.ID {
		return err
	}
	if err := s.turns.DeleteMsg(ctx, msg.Sequence); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("withdraw turn %s: %w", turn.ID, classify(err))
	}
	return nil
}
