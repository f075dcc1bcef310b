package mesh_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

func newSession() *session.Session {
	return session.New(session.NewID(uuid.Must(uuid.NewV7())), "default", "echo", "Hi", time.Now())
}

func newTurn(s *session.Session) *task.Task {
	t := newTask(task.KindTurn, 0)
	t.SessionID = string(s.ID)
	return t
}

// protocol is a house's store and the sessions of a core.
func protocol(t *testing.T) (*store.Store, mesh.Sessions) {
	h := newHouse(t)
	return h.st, mesh.New(h.st, mesh.Options{Log: quiet()}).Sessions
}

// waits puts turns into a session's queue: one with a short and one with a long
// text.
func waits(t *testing.T, st *store.Store, s *session.Session) (turns []*task.Task) {
	t.Helper()
	for _, text := range []string{"short", strings.Repeat("long ", 1000)} {
		turn := newTurn(s)
		turn.Instruction = text
		w, err := st.Turns.Place(t.Context(), turn)
		if err == nil {
			w.At = task.Stamp(time.Now())
			err = s.Append(w, "")
		}
		if err != nil {
			t.Fatal(err)
		}
		turns = append(turns, turn)
	}
	if err := st.Sessions.Save(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return turns
}

// The first of a queue is opened, once, and the next one when its message is gone
// and it has ended, whoever asks and however often.
func TestTheNextTurnIsOpenedOnceTheLastIsGone(t *testing.T) {
	st, sessions := protocol(t)
	s := newSession()
	turns := waits(t, st, s)
	for i, turn := range turns {
		if found, err := st.Turns.Find(t.Context(), "default", "echo", s.ID, turn.ID); err != nil || found.Instruction != turn.Instruction || found.Status != task.Pending {
			t.Errorf("turn %d that waits: %+v, %v", i, found, err)
		}
		if id, err := sessions.Next(t.Context(), "default", s.ID); err != nil || id != turn.ID {
			t.Fatalf("published %q, %v, want %s", id, err, turn.ID)
		}
		if id, err := sessions.Next(t.Context(), "default", s.ID); err != nil || id != "" {
			t.Errorf("published %q, %v, while one is open", id, err)
		}
		message, err := st.Turns.Open(t.Context(), "default", "echo", s.ID)
		if err != nil || message.ID != turn.ID || message.Instruction != turn.Instruction || !message.Waited {
			t.Fatalf("open is %+v, %v", message, err)
		}
		rec, err := st.Tasks.Get(t.Context(), "default", turn.ID)
		if err == nil {
			err = errors.Join(rec.To(task.Failed, time.Now()), st.Tasks.Save(t.Context(), rec), st.Turns.Withdraw(t.Context(), rec))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if id, err := sessions.Next(t.Context(), "default", s.ID); err != nil || id != "" {
		t.Errorf("published %q, %v, after the last one", id, err)
	}
	if left, err := st.Sessions.Get(t.Context(), "default", s.ID); err != nil || len(left.Waiting) != 0 || left.Turns != 0 {
		t.Errorf("left is %+v, %v", left, err)
	}
}

// A turn whose message was lost is published again, also where the server takes
// it for a repeat.
func TestATurnWhoseMessageWasLostIsOpenedAgain(t *testing.T) {
	st, sessions := protocol(t)
	s := newSession()
	turns := waits(t, st, s)
	for range 3 {
		if id, err := sessions.Next(t.Context(), "default", s.ID); err != nil || id != turns[0].ID {
			t.Fatalf("published %q, %v", id, err)
		}
		if err := st.Turns.Withdraw(t.Context(), turns[0]); err != nil {
			t.Fatal(err)
		}
	}
}

// A turn that its session has as canceled is canceled, in its order.
func TestTheNextTurnCompletesACancel(t *testing.T) {
	st, sessions := protocol(t)
	s := newSession()
	running := newTurn(s)
	if _, err := st.Turns.Enqueue(t.Context(), running); err != nil {
		t.Fatal(err)
	}
	turns := waits(t, st, s)
	s.Interrupt(running, time.Now())
	s.Cancel(turns[0].ID)
	if err := st.Sessions.Save(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if id, err := sessions.Next(t.Context(), "default", s.ID); err != nil || id != turns[1].ID {
		t.Fatalf("published %q, %v", id, err)
	}
	for _, turn := range []*task.Task{running, turns[0]} {
		if rec, err := st.Tasks.Get(t.Context(), "default", turn.ID); err != nil || rec.Status != task.Canceled {
			t.Errorf("%+v, %v", rec, err)
		}
	}
	after, err := st.Sessions.Get(t.Context(), "default", s.ID)
	if err != nil || after.Turns != 2 || after.Messages[1].TurnID != running.ID || after.Messages[2].Text != "short" || !after.Messages[2].Interrupted {
		t.Errorf("session = %+v, %v", after, err)
	}
}

// A turn that waits in a session that is gone fails when somebody asks for it, any
// other is left alone.
func TestATurnThatWaitsInASessionThatIsGoneFails(t *testing.T) {
	h := newHouse(t)
	s := newSession()
	turns := waits(t, h.st, s)
	tasks := mesh.New(h.st, mesh.Options{Log: quiet()}).Tasks
	get := func(turn *task.Task) *task.Task {
		got, err := tasks.Get(t.Context(), auth.Local(), turn.ID)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, turn := range turns { // their records are made
		if _, err := h.st.Turns.Find(t.Context(), "default", "echo", s.ID, turn.ID); err != nil {
			t.Fatal(err)
		}
	}
	if got := get(turns[1]); got.Status != task.Pending {
		t.Errorf("%+v", got)
	}
	if open, err := h.st.Turns.Open(t.Context(), "default", "echo", s.ID); err != nil || open.ID != turns[0].ID {
		t.Errorf("open is %+v, %v", open, err)
	}
	h.fill(get(turns[1]))
	if err := h.st.Sessions.Delete(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got := get(turns[0]); got.Status != task.Pending {
		t.Errorf("the open one: %+v", got)
	}
	if got := get(turns[1]); got.Status != task.Failed || got.Error.Code != task.CodeSessionGone {
		t.Errorf("one that waits: %+v", got)
	}
}

// Of two attempts of a turn the later one fences the earlier one off: exactly one
// reply is in the transcript, and both learn which.
func TestOneAttemptOfATurnCommits(t *testing.T) {
	st, sessions := protocol(t)
	s := newSession()
	if err := st.Sessions.Save(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	turn := newTurn(s)
	begin := func(attempt int, want mesh.Standing) mesh.Turn {
		t.Helper()
		now, err := sessions.Begin(t.Context(), turn, mesh.Beginning{Attempt: attempt, Fences: attempt > 1, Runs: true})
		if err != nil || now.Standing != want {
			t.Fatalf("attempt %d begins: %+v, %v, want %d", attempt, now, err, want)
		}
		return now
	}
	commit := func(attempt int, s *session.Session, want mesh.Standing) mesh.Turn {
		t.Helper()
		turn.Attempt = attempt
		now, err := sessions.Commit(t.Context(), s, turn, mesh.Reply{Message: "reply " + string(rune('0'+attempt))}, task.Definition{})
		if err != nil || now.Standing != want {
			t.Fatalf("attempt %d commits: %+v, %v, want %d", attempt, now, err, want)
		}
		return now
	}
	first := begin(1, mesh.TurnOpen)
	second := begin(2, mesh.TurnOpen)
	commit(1, first.Session, mesh.TurnOvertaken)
	begin(1, mesh.TurnOpen) // delivered once, it does not know
	commit(2, second.Session, mesh.TurnCommitted)
	if late := commit(1, first.Session, mesh.TurnCommitted); late.Reply != "reply 2" {
		t.Errorf("the late attempt hears %q", late.Reply)
	}
	if again := begin(3, mesh.TurnCommitted); again.Reply != "reply 2" || again.Session.Turns != 1 {
		t.Errorf("a redelivery hears %+v", again)
	}
}

// A commit that meets another change of its session is refused, or tells the
// attempt to look at its record again: it is never lost silently.
func TestACommitMeetsWhatHasHappenedToTheSession(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, st *store.Store, s *session.Session, turn *task.Task) error
		want   mesh.Standing
	}{
		"an interrupt": {func(t *testing.T, st *store.Store, s *session.Session, turn *task.Task) error {
			s.Interrupt(turn, time.Now())
			return st.Sessions.Save(t.Context(), s)
		}, mesh.TurnInterrupted},
		"its end": {func(t *testing.T, st *store.Store, s *session.Session, _ *task.Task) error {
			return st.Sessions.Delete(t.Context(), s)
		}, mesh.SessionGone},
		"another message": {func(t *testing.T, st *store.Store, s *session.Session, _ *task.Task) error {
			s.UpdatedAt = task.Stamp(time.Now())
			return st.Sessions.Save(t.Context(), s)
		}, mesh.TurnOpen},
	} {
		t.Run(name, func(t *testing.T) {
			st, sessions := protocol(t)
			s := newSession()
			turn := newTurn(s)
			err := st.Sessions.Save(t.Context(), s)
			known := s.Clone()
			if err == nil {
				err = c.change(t, st, s, turn)
			}
			if err != nil {
				t.Fatal(err)
			}
			now, err := sessions.Commit(t.Context(), known, turn, mesh.Reply{Message: "hello"}, task.Definition{})
			if err != nil || now.Standing != c.want {
				t.Fatalf("%+v, %v, want %d", now, err, c.want)
			}
			if c.want != mesh.TurnOpen {
				return
			}
			if now, err = sessions.Commit(t.Context(), now.Session, turn, mesh.Reply{Message: "hello"}, task.Definition{}); err != nil || now.Standing != mesh.TurnCommitted {
				t.Errorf("again: %+v, %v", now, err)
			}
		})
	}
}
