package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"agentmesh/shared/mesh"
	"agentmesh/shared/pause"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// A turn is a task that changes a session. The session decides what became of it,
// before its own record says so: see mesh.Sessions.

// talk is a turn's part in its session.
type talk struct {
	patience
	sessions mesh.Sessions
	queued   *task.Task // the turn

	session *session.Session // as this attempt last read or wrote it; nil of any other task
	reply   mesh.Reply
}

// begin reads what the session says of the turn.
func (c *talk) begin(ctx context.Context, t *task.Task, b mesh.Beginning) (mesh.Turn, error) {
	turn, err := c.sessions.Begin(ctx, t, b)
	if turn.Session != nil {
		c.session = turn.Session
	}
	return turn, err
}

// replyValue is the result of a turn's record. asked is the question that the message
// is, if it is one.
func replyValue(message string, asked *session.Asked) any {
	v := map[string]string{"message": message}
	if asked != nil {
		v["awaiting"] = asked.Wait.Name
	}
	return v
}

// turn is what the handler of a turn sees of its session.
func (c *talk) turn(t *task.Task) *agent.Turn {
	turn := &agent.Turn{SessionID: string(c.session.ID), Messages: c.session.Transcript(t), State: c.session.State}
	if t.Continues != "" && c.session.Asked != nil {
		if since := c.session.Since(c.session.Asked); since != nil {
			turn.Messages = since
		}
	}
	return turn
}

// replied reads a handler's value as the reply of a turn.
func (c *talk) replied(v any) (any, *agent.Error) {
	message, state, err := agent.ReplyOf(v)
	if fault := (*agent.Error)(nil); errors.As(err, &fault) {
		return nil, fault
	}
	c.reply = mesh.Reply{Message: message, State: state}
	return replyValue(message, nil), nil
}

// commit has the session take the turn with its reply.
func (c *talk) commit(ctx context.Context, t *task.Task, d task.Definition) (turn mesh.Turn, err error) {
	err = c.untilAnswered(ctx, func() (err error) {
		turn, err = c.sessions.Commit(ctx, c.session, t, c.reply, d)
		return err
	})
	if err == nil && turn.Session != nil {
		c.session = turn.Session
	}
	return turn, err
}

// release has the session know that its turn t fails. It returns what the session says
// of it, which may be that it was interrupted before.
func (c *talk) release(ctx context.Context, t *task.Task) (turn mesh.Turn) {
	err := c.untilAnswered(ctx, func() (err error) {
		turn, err = c.sessions.Release(ctx, c.session, t)
		return err
	})
	if err != nil {
		c.log.Debug("session not touched", "session", c.session.ID, "error", err)
	}
	return turn
}

// publishNext opens the next turn of the session, after the message of this one
// is gone. Where it cannot, whoever asks for a turn that waits does.
func (c *talk) publishNext(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	id := session.Of(c.queued)
	for wait := 100 * time.Millisecond; ; wait *= 2 {
		_, err := c.sessions.Next(ctx, c.queued.Tenant, id)
		if err == nil {
			return
		}
		if c.store.Closed() || !pause.For(ctx, wait) {
			c.log.Warn("next turn of the session not published, it waits until somebody looks for it", "session", id, "error", err)
			return
		}
	}
}

// commit ends a turn as its session has it.
func (s settlement) commit(ctx context.Context, t *task.Task) error {
	for {
		turn, err := s.at.talk.commit(ctx, t, s.at.in.agent.Definition)
		if refused(err) {
			if s.at.talk.release(ctx, t).Standing == mesh.TurnInterrupted {
				return s.interrupted(ctx, t)
			}
			return s.unwritable(ctx, t, err)
		}
		if err != nil {
			return err
		}
		switch turn.Standing {
		case mesh.SessionGone, mesh.TurnInterrupted:
			return s.interrupted(ctx, t)
		case mesh.TurnOvertaken:
			s.at.lost(ctx)
			return nil
		case mesh.TurnCommitted:
			if turn.Reply != s.at.talk.reply.Message { // by an attempt that had lost its lease
				if fault := s.at.keep(ctx, t, replyValue(turn.Reply, askedBy(turn.Session, t.ID))); fault != nil {
					return fault
				}
			}
			return s.finish(ctx, t, task.Completed)
		}
		// A session in which others have spoken since tells nothing of a turn that
		// failed, or whose messages have left the record.
		if s.rec.verify(ctx) != nil {
			return s.unwritten(ctx, fmt.Errorf("commit turn %s: %w", t.ID, task.ErrConflict))
		}
	}
}

// interrupted ends a turn whose session would not have its reply.
func (s settlement) interrupted(ctx context.Context, t *task.Task) error {
	t.Result, t.Error, t.StoppedAt = task.Value{}, nil, task.Stamp(time.Now())
	return s.finish(ctx, t, task.Canceled)
}
