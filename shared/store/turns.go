package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/topology"
)

// Enqueue opens a turn: it publishes the whole turn on its session's own
// subject, where the server takes one message at a time. It returns
// session.ErrBusy while another turn is open, and otherwise as Enqueue does.
func (s Turns) Enqueue(ctx context.Context, t *task.Task) (duplicate bool, err error) {
	return s.enqueueTurn(ctx, t, string(t.ID))
}

// EnqueueAgain is Enqueue for a turn whose message was lost: the server
// must not take it for the one that it had before.
func (s Turns) EnqueueAgain(ctx context.Context, t *task.Task) (duplicate bool, err error) {
	return s.enqueueTurn(ctx, t, string(t.ID)+"-"+uuid.NewString())
}

func (s Turns) enqueueTurn(ctx context.Context, t *task.Task, msgID string) (duplicate bool, err error) {
	msg, err := s.queueMessage(t)
	if err != nil {
		return false, fmt.Errorf("queue turn %s: %w", t.ID, err)
	}
	telemetry.Inject(ctx, msg.Header)
	if err := s.roomFor(msg); err != nil {
		return false, fmt.Errorf("queue turn %s: %w", t.ID, err)
	}
	ack, err := s.publish(ctx, msg, onceAs(msgID))
	if err != nil {
		return false, fmt.Errorf("queue turn %s: %w", t.ID, busy(err))
	}
	t.QueueSeq = ack.Sequence
	s.seen.add(t.Tenant, string(t.ID))
	return ack.Duplicate, nil
}

// busy is session.ErrBusy for the server's refusal of a second turn.
func busy(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == codeStoreFailed && strings.HasPrefix(api.Description, "maximum messages per subject") {
		return session.ErrBusy
	}
	return err
}

// Open reads the open turn of a session from the queue. It returns
// task.ErrNotFound when there is none.
func (s Turns) Open(ctx context.Context, tenant, agent string, sessionID session.ID) (*task.Task, error) {
	ctx, cancel := s.bound(ctx, topology.Turns)
	defer cancel()
	msg, err := s.turns.GetLastMsgForSubject(ctx, topology.Turn(tenant, agent, sessionID))
	if err != nil {
		return nil, fmt.Errorf("look for the open turn of session %s: %w", sessionID, missing(err))
	}
	return decodeQueued(msg.Data, msg.Sequence)
}

// Find is Find for a turn whose agent and session are known.
func (s Turns) Find(ctx context.Context, tenant, agent string, sessionID session.ID, id task.ID) (*task.Task, error) {
	known := s.seen.has(tenant, string(id))
	t, err := Tasks(s).Get(ctx, tenant, id)
	if !errors.Is(err, task.ErrNotFound) {
		return t, s.found(tenant, id, known, err)
	}
	t, err = s.Open(ctx, tenant, agent, sessionID)
	if err == nil && t.ID != id || errors.Is(err, task.ErrNotFound) {
		t, err = s.findWaiting(ctx, tenant, sessionID, id)
	}
	return t, s.found(tenant, id, known, err)
}

// findWaiting reads a turn that is not open: its record, which is made where the
// turn waits and has none yet.
func (s Turns) findWaiting(ctx context.Context, tenant string, sessionID session.ID, id task.ID) (*task.Task, error) {
	if sess, err := Sessions(s).Get(ctx, tenant, sessionID); err == nil {
		if w, ok := sess.Listed(id); ok {
			return s.Waiting(ctx, sess, w)
		}
	}
	return Tasks(s).Get(ctx, tenant, id)
}

// scanTurns looks a turn whose session is not known up in the queue. No index
// lists the open turns by their own id, so it reads one after the other.
func (s Turns) scanTurns(ctx context.Context, tenant string, id task.ID) (*task.Task, error) {
	for seq := uint64(1); ; {
		msg, err := s.turns.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(topology.TurnsOf(tenant)))
		if err != nil {
			return nil, fmt.Errorf("look turn %s up in the queue: %w", id, missing(err))
		}
		if t, err := decodeQueued(msg.Data, msg.Sequence); err == nil && t.ID == id {
			return t, nil
		}
		seq = msg.Sequence + 1
	}
}

// Withdraw takes the message of a turn that was canceled before an attempt
// of it began, and so opens the session.
func (s Turns) Withdraw(ctx context.Context, turn *task.Task) error {
	s.seen.forget(turn.Tenant, string(turn.ID))
	if err := s.remove(ctx, s.turns, queueSubject(turn), turn.ID); err != nil {
		return fmt.Errorf("withdraw turn %s: %w", turn.ID, err)
	}
	return nil
}
