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

// inSession reads the session of a turn and decides again: a turn that is in the
// transcript ends as the transcript says, and is not run a second time. One that
// has no attempt left fences off those before, too: their commit would come too
// late.
func (at *attempt) inSession(ctx context.Context, d decision, deliveries int) (decision, error) {
	b := mesh.Beginning{Attempt: d.task.Attempt, Again: deliveries > 1, Runs: d.verb == run, Agent: at.in.agent.Definition}
	if d.verb == end {
		b.Attempt++
	}
	turn, err := at.w.core.Sessions.Begin(ctx, d.task, b)
	if turn.Session != nil {
		at.session = turn.Session
	}
	if err != nil {
		return d, err
	}
	switch turn.Standing {
	case mesh.SessionGone:
		return at.endUnrun(d, task.CodeSessionGone, "the session was deleted or has expired"), nil
	case mesh.SessionFull:
		return at.endUnrun(d, task.CodeSessionFull, turn.Why.Error()), nil
	case mesh.TurnCommitted:
		return at.decided(ctx, d, task.Completed, turn.Reply)
	case mesh.TurnInterrupted:
		return at.decided(ctx, d, task.Canceled, "")
	case mesh.TurnOvertaken:
		return d, agent.ErrLeaseLost
	}
	return d, nil
}

// endUnrun ends a turn that its agent will not hear of.
func (at *attempt) endUnrun(d decision, code, message string) decision {
	if d.verb == run {
		d.task.Attempt--
	}
	d.task.Error = &task.Error{Code: code, Message: message, Attempt: d.task.Attempt}
	return ended(d.task, time.Now())
}

// decided ends a turn as its session says.
func (at *attempt) decided(ctx context.Context, d decision, s task.State, message string) (decision, error) {
	if d.verb == run {
		d.task.Attempt--
	}
	d.task.Error = nil
	if s == task.Completed {
		full := 100
		d.task.Percent = &full
		if fault := at.keep(ctx, d.task, replyValue(message)); fault != nil {
			return d, fault
		}
	}
	if err := d.task.To(s, time.Now()); err != nil {
		return d, err
	}
	return decision{verb: end, task: d.task, why: "its session has it as " + string(s)}, nil
}

// replyValue is the result of a turn's record.
func replyValue(message string) any { return map[string]string{"message": message} }

// turn is what the handler of a turn sees of its session.
func (at *attempt) turn(t *task.Task) *agent.Turn {
	return &agent.Turn{SessionID: string(at.session.ID), Messages: at.session.Transcript(t), State: at.session.State}
}

// replied reads a handler's value as the reply of a turn.
func (at *attempt) replied(v any) (any, *agent.Error) {
	message, state, err := agent.ReplyOf(v)
	if fault := (*agent.Error)(nil); errors.As(err, &fault) {
		return nil, fault
	}
	at.reply = mesh.Reply{Message: message, State: state}
	return replyValue(message), nil
}

// commit has the session take the turn, and then ends the turn as the session has
// it.
func (at *attempt) commit(ctx context.Context, t *task.Task) error {
	for {
		var turn mesh.Turn
		err := at.untilAnswered(ctx, func() (err error) {
			turn, err = at.w.core.Sessions.Commit(ctx, at.session, t, at.reply, at.in.agent.Definition)
			return err
		})
		if refused(err) {
			at.release(ctx)
			return at.unwritable(ctx, t, err)
		}
		if err != nil {
			return err
		}
		if turn.Session != nil {
			at.session = turn.Session
		}
		switch turn.Standing {
		case mesh.SessionGone, mesh.TurnInterrupted:
			return at.interrupted(ctx, t)
		case mesh.TurnOvertaken:
			at.lost(ctx)
			return nil
		case mesh.TurnCommitted:
			if turn.Reply != at.reply.Message { // by an attempt that had lost its lease
				if fault := at.keep(ctx, t, replyValue(turn.Reply)); fault != nil {
					return fault
				}
			}
			return at.finish(ctx, t, task.Completed)
		}
		// A session in which others have spoken since tells nothing of a turn that
		// failed, or whose messages have left the record.
		if at.verify(ctx) != nil {
			return at.unwritten(ctx, fmt.Errorf("commit turn %s: %w", t.ID, task.ErrConflict))
		}
	}
}

// interrupted ends a turn whose session would not have its reply.
func (at *attempt) interrupted(ctx context.Context, t *task.Task) error {
	t.Result, t.Error, t.StoppedAt = task.Value{}, nil, task.Stamp(time.Now())
	return at.finish(ctx, t, task.Canceled)
}

// release lets go of a session whose turn has failed. Nobody waits for it.
func (at *attempt) release(ctx context.Context) {
	if err := at.w.core.Sessions.Release(ctx, at.session, at.id); err != nil {
		at.log.Debug("session not touched", "session", at.session.ID, "error", err)
	}
}

// publishNext opens the next turn of the session, after the message of this one
// is gone. Where it cannot, whoever asks for a turn that waits does.
func (at *attempt) publishNext(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	id := session.Of(at.queued)
	for wait := 100 * time.Millisecond; ; wait *= 2 {
		_, err := at.w.core.Sessions.Next(ctx, at.queued.Tenant, id)
		if err == nil {
			return
		}
		if at.w.store.Closed() || !pause.For(ctx, wait) {
			at.log.Warn("next turn of the session not published, it waits until somebody looks for it", "session", id, "error", err)
			return
		}
	}
}
