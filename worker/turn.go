package worker

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/worker/agent"
)

// A turn is a task that changes a session. The compare-and-set of the session's
// record decides what became of it, before its own record says so: commit here
// against the gateway that interrupts, and against an earlier attempt whose
// worker was frozen.

// reply is what a turn's handler answered.
type reply struct {
	message string
	state   json.RawMessage // nil: unchanged
}

// inSession reads the session of a turn and decides again: a turn that is in the
// transcript ends as the transcript says, and is not run a second time. From its
// second delivery on it fences off the attempts before, also where it has none
// left: their commit would come too late.
func (at *attempt) inSession(ctx context.Context, d decision, deliveries int) (decision, error) {
	attempt := d.task.Attempt
	if d.verb == end {
		attempt++
	}
	for {
		s, err := at.w.store.Session(ctx, d.task.Tenant, d.task.SessionID)
		if errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrExpired) {
			return at.endUnrun(d, task.CodeSessionGone, "the session was deleted or has expired"), nil
		}
		if err != nil {
			return d, err
		}
		at.session = s
		switch outcome, message := s.Outcome(d.task.ID); outcome {
		case session.Committed:
			return at.decided(ctx, d, task.Completed, message)
		case session.Interrupted:
			return at.decided(ctx, d, task.Canceled, "")
		}
		if d.verb == run && d.task.Waited { // others have spoken since it was accepted
			if full := s.Room(d.task.Instruction, at.in.agent.Definition); full != nil {
				return at.endUnrun(d, task.CodeSessionFull, full.Error()), nil
			}
		}
		if deliveries == 1 {
			return d, nil
		}
		if f := s.Fence; f != nil && f.TurnID == d.task.ID && f.Attempt >= attempt {
			if f.Attempt > attempt {
				return d, agent.ErrLeaseLost
			}
			return d, nil
		}
		next := s.Clone()
		next.Fence = &session.Fence{TurnID: d.task.ID, Attempt: attempt}
		err = at.w.store.SaveSession(ctx, next)
		if errors.Is(err, session.ErrConflict) {
			continue
		}
		at.session = next
		return d, err
	}
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
	return &agent.Turn{SessionID: at.session.ID, Messages: at.session.Transcript(t), State: at.session.State}
}

// replied reads a handler's value as the reply of a turn.
func (at *attempt) replied(v any) (any, *agent.Error) {
	message, state, err := agent.ReplyOf(v)
	if fault := (*agent.Error)(nil); errors.As(err, &fault) {
		return nil, fault
	}
	at.reply = reply{message, state}
	return replyValue(message), nil
}

// commit puts the turn's message, the reply and the new state into the session
// by one compare-and-set, and then ends the turn as the session has it.
func (at *attempt) commit(ctx context.Context, t *task.Task) error {
	for {
		next, err := at.extended(ctx, t)
		if err != nil {
			return err
		}
		committing, span := telemetry.StartInternal(ctx, telemetry.SpanCommit, telemetry.TaskID(t.ID))
		err = at.untilAnswered(committing, func() error { return at.w.store.SaveSession(committing, next) })
		telemetry.End(span, err)
		if err == nil {
			at.session = next
			return at.finish(ctx, t, task.Completed)
		}
		if refused(err) {
			at.touch(ctx)
			return at.unwritable(ctx, t, err)
		}
		conflict := err
		if !errors.Is(err, session.ErrConflict) {
			return err
		}
		var s *session.Session
		err = at.untilAnswered(ctx, func() (err error) {
			s, err = at.w.store.Session(ctx, t.Tenant, t.SessionID)
			return err
		})
		if errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrExpired) {
			return at.interrupted(ctx, t)
		}
		if err != nil {
			return err
		}
		at.session = s
		outcome, message := s.Outcome(t.ID)
		switch {
		case outcome == session.Interrupted:
			return at.interrupted(ctx, t)
		case outcome == session.Committed: // by an attempt that had lost its lease
			if fault := at.keep(ctx, t, replyValue(message)); fault != nil {
				return fault
			}
			return at.finish(ctx, t, task.Completed)
		case s.Fence != nil && s.Fence.TurnID == t.ID && s.Fence.Attempt > t.Attempt:
			at.lost(ctx)
			return nil
		}
		// A session in which others have spoken since tells nothing of a turn that
		// failed, or whose messages have left the record.
		if at.verify(ctx) != nil {
			return at.unwritten(ctx, conflict)
		}
	}
}

// extended is the session with the turn in it. Messages that do not fit the
// agent's window leave the record.
func (at *attempt) extended(ctx context.Context, t *task.Task) (next *session.Session, err error) {
	err = at.untilAnswered(ctx, func() error {
		next = at.session.Clone()
		next.Commit(t, at.reply.message, at.reply.state, time.Now())
		if at.in.agent.History != task.HistoryWindow {
			return nil
		}
		return at.w.store.Shorten(ctx, next, at.in.agent.MaxTranscript, t.ID+"-"+strconv.Itoa(t.Attempt))
	})
	return next, err
}

// interrupted ends a turn whose session would not have its reply.
func (at *attempt) interrupted(ctx context.Context, t *task.Task) error {
	t.Result, t.Error, t.StoppedAt = task.Value{}, nil, task.Stamp(time.Now())
	return at.finish(ctx, t, task.Canceled)
}

// touch keeps a session alive whose turn has failed, and takes the turn off its
// list. It changes nothing else, and nobody waits for it.
func (at *attempt) touch(ctx context.Context) {
	next := at.session.Clone()
	next.UpdatedAt = task.Stamp(time.Now())
	next.Leave(at.id)
	if err := at.w.store.SaveSession(ctx, next); err != nil {
		at.log.Debug("session not touched", "session", next.ID, "error", err)
	}
}

// publishNext opens the next turn of the session, after the message of this one
// is gone. Where it cannot, whoever asks for a turn that waits does.
func (at *attempt) publishNext(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	id := at.queued.SessionID
	for pause := 100 * time.Millisecond; ; pause *= 2 {
		_, err := at.w.store.PublishNextTurn(ctx, at.queued.Tenant, id)
		if err == nil {
			return
		}
		if at.w.store.Closed() || !wait(ctx, pause) {
			at.log.Warn("next turn of the session not published, it waits until somebody looks for it", "session", id, "error", err)
			return
		}
	}
}
