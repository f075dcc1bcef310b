package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/natstest"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// waits puts turns into a session's queue: one with a short and one with a long
// text.
func waits(t *testing.T, st *store.Store, s *session.Session) (turns []*task.Task) {
	t.Helper()
	for _, text := range []string{"short", strings.Repeat("long ", 1000)} {
		turn := newTurn(s)
		turn.Instruction = text
		w, err := st.Waiting(t.Context(), turn)
		if err == nil {
			w.At = task.Stamp(time.Now())
			err = s.Append(w, "")
		}
		if err != nil {
			t.Fatal(err)
		}
		turns = append(turns, turn)
	}
	if err := st.SaveSession(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return turns
}

// The first of a queue is opened, once, and the next one when its message is gone
// and it has ended, whoever asks and however often.
func TestPublishNextTurn(t *testing.T) {
	st := open(t, natstest.Start(t))
	s := newSession()
	turns := waits(t, st, s)
	for i, turn := range turns {
		if found, err := st.FindTurn(t.Context(), "default", "echo", s.ID, turn.ID); err != nil || found.Instruction != turn.Instruction || found.Status != task.Pending {
			t.Errorf("turn %d that waits: %+v, %v", i, found, err)
		}
		if id, err := st.PublishNextTurn(t.Context(), "default", s.ID); err != nil || id != turn.ID {
			t.Fatalf("published %q, %v, want %s", id, err, turn.ID)
		}
		if id, err := st.PublishNextTurn(t.Context(), "default", s.ID); err != nil || id != "" {
			t.Errorf("published %q, %v, while one is open", id, err)
		}
		message, err := st.OpenTurn(t.Context(), "default", "echo", s.ID)
		if err != nil || message.ID != turn.ID || message.Instruction != turn.Instruction || !message.Waited {
			t.Fatalf("open is %+v, %v", message, err)
		}
		rec, err := st.Get(t.Context(), "default", turn.ID)
		if err == nil {
			err = errors.Join(rec.To(task.Failed, time.Now()), st.Save(t.Context(), rec), st.WithdrawTurn(t.Context(), rec))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if id, err := st.PublishNextTurn(t.Context(), "default", s.ID); err != nil || id != "" {
		t.Errorf("published %q, %v, after the last one", id, err)
	}
	if left, err := st.Session(t.Context(), "default", s.ID); err != nil || len(left.Waiting) != 0 || left.Turns != 0 {
		t.Errorf("left is %+v, %v", left, err)
	}
}

// A turn whose message was lost is published again, also where the server takes
// it for a repeat.
func TestPublishNextTurnAgain(t *testing.T) {
	st := open(t, natstest.Start(t))
	s := newSession()
	turns := waits(t, st, s)
	for range 3 {
		if id, err := st.PublishNextTurn(t.Context(), "default", s.ID); err != nil || id != turns[0].ID {
			t.Fatalf("published %q, %v", id, err)
		}
		if err := st.WithdrawTurn(t.Context(), turns[0]); err != nil {
			t.Fatal(err)
		}
	}
}

// What a session has as canceled is canceled, in its order.
func TestPublishNextTurnCompletesACancel(t *testing.T) {
	st := open(t, natstest.Start(t))
	s := newSession()
	running := newTurn(s)
	if _, err := st.EnqueueTurn(t.Context(), running); err != nil {
		t.Fatal(err)
	}
	turns := waits(t, st, s)
	s.Interrupt(running, time.Now())
	s.Cancel(turns[0].ID)
	if err := st.SaveSession(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if id, err := st.PublishNextTurn(t.Context(), "default", s.ID); err != nil || id != turns[1].ID {
		t.Fatalf("published %q, %v", id, err)
	}
	for _, turn := range []*task.Task{running, turns[0]} {
		if rec, err := st.Get(t.Context(), "default", turn.ID); err != nil || rec.Status != task.Canceled {
			t.Errorf("%+v, %v", rec, err)
		}
	}
	after, err := st.Session(t.Context(), "default", s.ID)
	if err != nil || after.Turns != 2 || after.Messages[1].TurnID != running.ID || after.Messages[2].Text != "short" || !after.Messages[2].Interrupted {
		t.Errorf("session = %+v, %v", after, err)
	}
}

// A turn that waits in a session that is gone fails, any other is left alone.
func TestTendTurn(t *testing.T) {
	st := open(t, natstest.Start(t))
	s := newSession()
	turns := waits(t, st, s)
	find := func(turn *task.Task) *task.Task {
		found, err := st.FindTurn(context.Background(), "default", "echo", s.ID, turn.ID)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	first, second := find(turns[0]), find(turns[1])
	if got, waits, err := st.TendTurn(t.Context(), second); err != nil || !waits || got.Status != task.Pending {
		t.Errorf("%+v, %v", got, err)
	}
	if open, err := st.OpenTurn(t.Context(), "default", "echo", s.ID); err != nil || open.ID != first.ID {
		t.Errorf("open is %+v, %v", open, err)
	}
	if err := st.DeleteSession(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got, waits, err := st.TendTurn(t.Context(), first); !waits || err != nil || got.Status != task.Pending {
		t.Errorf("the open one: %+v, %v", got, err)
	}
	if got, waits, err := st.TendTurn(t.Context(), second); err != nil || !waits || got.Status != task.Failed || got.Error.Code != task.CodeSessionGone {
		t.Errorf("one that waits: %+v, %v", got, err)
	}
}
