package worker

import (
	"cmp"
	"context"
	"errors"

	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
)

// A turn that asks has ended: its question is the reply, and the session keeps the
// question with what the turn had finished. The next turn goes on from there.

// ask ends a turn with the question that it was suspended for.
func (s settlement) ask(ctx context.Context) error {
	next := s.rec.t.Clone()
	s.rec.takeAll(next)
	s.countChildren(ctx, next)
	w := s.at.waits.first()
	asked := &session.Asked{TurnID: next.ID, First: s.at.journal.of, Wait: w}
	err := s.at.untilAnswered(ctx, func() (err error) {
		asked.Journal, err = s.at.w.core.Journals.Keep(ctx, next, s.at.journal.all())
		return err
	})
	if err != nil {
		return err
	}
	full := 100
	next.Percent, next.Error = &full, nil
	s.at.talk.reply = mesh.Reply{Message: cmp.Or(w.Prompt, w.Name+"?"), Asked: asked}
	if fault := s.at.keep(ctx, next, replyValue(s.at.talk.reply.Message, asked)); fault != nil {
		return fault
	}
	return s.commit(ctx, next)
}

// askedBy is the question that a turn has ended with, nil where it asks nothing.
func askedBy(s *session.Session, id task.ID) *session.Asked {
	if s != nil && s.Asked != nil && s.Asked.TurnID == id {
		return s.Asked
	}
	return nil
}

// continuing decides on a turn whose session has a question: it answers that. One that
// does not fit ends, and the question stays.
func (a *arrival) continuing(ctx context.Context, d decision, s *session.Session) (decision, error) {
	if s == nil || s.Asked == nil {
		return d, nil
	}
	d.task.Continues = s.Asked.TurnID
	if !s.Asked.Open(d.task.CreatedAt) {
		return d, nil
	}
	_, err := a.at.w.core.Sessions.AnswerOf(ctx, s.Asked, d.task)
	if refused := (*mesh.Error)(nil); errors.As(err, &refused) {
		return endUnrun(d, task.CodeInputInvalid, refused.Error()), nil
	}
	return d, err
}

// goOn gives the journal of a turn that answers what the turn that asked had finished,
// and the answer, or that it came too late.
func (at *attempt) goOn(ctx context.Context, t *task.Task) error {
	if at.talk.session == nil || at.talk.session.Asked == nil || t.Continues == "" {
		return nil
	}
	asked := at.talk.session.Asked
	at.journal.of = asked.First
	var entries []*task.Entry
	err := at.untilAnswered(ctx, func() (err error) {
		entries, err = at.w.core.Journals.Kept(ctx, asked.Journal)
		return err
	})
	if err != nil {
		return err
	}
	e := &task.Entry{Kind: task.EntryAnswer, Name: asked.Wait.Name, N: asked.Wait.N, At: t.CreatedAt, Ms: t.CreatedAt.Sub(asked.Wait.AskedAt).Milliseconds()}
	if asked.Open(t.CreatedAt) {
		if e.Value, err = at.w.core.Sessions.AnswerOf(ctx, asked, t); err != nil {
			return err
		}
		if e.Value, err = at.journal.seal.cover(e, e.Value); err != nil {
			return err
		}
	} else {
		e.Error = &task.StepError{Code: task.CodeInputTimeout, Message: "no answer came in time"}
	}
	at.journal.answer = e
	return noteAll(&at.journal, append(entries, e))
}
