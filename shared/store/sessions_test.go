package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"agentmesh/shared/natstest"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

func newSession() *session.Session {
	return session.New(session.NewID(uuid.Must(uuid.NewV7())), "default", "echo", "Hi", time.Now())
}

func newTurn(s *session.Session) *task.Task {
	t := newTask()
	t.ID, t.Kind, t.SessionID = task.NewID(task.KindTurn, uuid.Must(uuid.NewV7())), task.KindTurn, string(s.ID)
	return t
}

// A session is changed by compare-and-set, also by who deletes it, and a reader
// sees the last write.
func TestSessionIsACompareAndSet(t *testing.T) {
	st := open(t, natstest.Start(t))
	ctx := t.Context()
	mine := newSession()
	if _, err := st.Sessions.Get(ctx, "default", mine.ID); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("before it is there: %v", err)
	}
	if err := st.Sessions.Save(ctx, mine); err != nil {
		t.Fatal(err)
	}
	theirs, err := st.Sessions.Get(ctx, "default", mine.ID)
	if err != nil || theirs.Rev != mine.Rev || theirs.Messages[0].Text != "Hi" {
		t.Fatalf("read %+v, %v", theirs, err)
	}
	theirs.Commit(newTurn(theirs), "reply", []byte(`{"n":1}`), time.Now())
	if err := st.Sessions.Save(ctx, theirs); err != nil {
		t.Fatal(err)
	}
	mine.Turns = 7
	if err := st.Sessions.Save(ctx, mine); !errors.Is(err, session.ErrConflict) {
		t.Errorf("a stale write: %v", err)
	}
	if err := st.Sessions.Delete(ctx, mine); !errors.Is(err, session.ErrConflict) {
		t.Errorf("a stale delete: %v", err)
	}
	if _, err := st.Sessions.Get(ctx, "other", mine.ID); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("another tenant's: %v", err)
	}
	if err := st.Sessions.Delete(ctx, theirs); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Sessions.Get(ctx, "default", mine.ID); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
	if err := st.Sessions.Save(ctx, theirs); !errors.Is(err, session.ErrConflict) {
		t.Errorf("a write after the delete: %v", err)
	}
}

// The write of a session whose acknowledgement was lost is recognized.
func TestSessionRecognizesItsOwnWrite(t *testing.T) {
	st := open(t, natstest.Start(t))
	s := newSession()
	again := *s
	for _, one := range []*session.Session{s, &again} {
		if err := st.Sessions.Save(t.Context(), one); err != nil || one.Rev != s.Rev {
			t.Errorf("revision %d, %v", one.Rev, err)
		}
	}
}

// Of many who open a turn one succeeds, until it is settled.
func TestOneTurnIsOpen(t *testing.T) {
	st := open(t, natstest.Start(t))
	s := newSession()
	var opened atomic.Pointer[task.Task]
	var busy atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			turn := newTurn(s)
			switch _, err := st.Turns.Enqueue(t.Context(), turn); {
			case err == nil:
				opened.Store(turn)
			case errors.Is(err, session.ErrBusy):
				busy.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	turn := opened.Load()
	if turn == nil || busy.Load() != 19 {
		t.Fatalf("opened %v, %d were refused", turn, busy.Load())
	}
	if duplicate, err := st.Turns.Enqueue(t.Context(), turn); err != nil || !duplicate {
		t.Errorf("the same turn again: %v, %v", duplicate, err)
	}
	for name, find := range map[string]func() (*task.Task, error){
		"by its session": func() (*task.Task, error) { return st.Turns.Find(t.Context(), "default", "echo", s.ID, turn.ID) },
		"by its id":      func() (*task.Task, error) { return st.Tasks.Find(t.Context(), "default", turn.ID) },
		"as the open":    func() (*task.Task, error) { return st.Turns.Open(t.Context(), "default", "echo", s.ID) },
	} {
		if got, err := find(); err != nil || got.ID != turn.ID || got.QueueSeq == 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := st.Tasks.Find(t.Context(), "other", turn.ID); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("another tenant's: %v", err)
	}
	if err := st.Turns.Withdraw(t.Context(), newTurn(s)); err != nil {
		t.Errorf("another turn is withdrawn: %v", err)
	}
	for range 2 {
		if err := st.Turns.Withdraw(t.Context(), turn); err != nil {
			t.Error(err)
		}
	}
	if _, err := st.Turns.Enqueue(t.Context(), newTurn(s)); err != nil {
		t.Errorf("after the end: %v", err)
	}
}

// Messages that leave a record are in its pages, in order.
func TestShorten(t *testing.T) {
	st := open(t, natstest.Start(t))
	s := newSession()
	for i := range 40 {
		turn := newTurn(s)
		turn.Instruction = fmt.Sprintf("%d %s", i, strings.Repeat("x", 200))
		s.Commit(turn, "reply", nil, time.Now())
		if err := st.Sessions.Shorten(t.Context(), s, 4096, string(turn.ID)); err != nil {
			t.Fatal(err)
		}
		if s.Bytes() > 4096 {
			t.Fatalf("turn %d: %d bytes", i, s.Bytes())
		}
	}
	var all []session.Message
	for _, p := range s.Pages {
		messages, err := st.Sessions.Page(t.Context(), p)
		if err != nil || len(messages) != p.Messages {
			t.Fatalf("page %+v: %d messages, %v", p, len(messages), err)
		}
		all = append(all, messages...)
	}
	all = append(all, s.Messages...)
	if len(all) != 81 || s.Count() != 81 || len(s.Pages) < 2 {
		t.Fatalf("%d messages in %d pages and the record, counted %d", len(all), len(s.Pages), s.Count())
	}
	for i := range 40 {
		if !strings.HasPrefix(all[1+2*i].Text, fmt.Sprintf("%d ", i)) {
			t.Errorf("message %d is %q", 1+2*i, all[1+2*i].Text)
		}
	}
	// A page that is about to outlive its retention is stored again.
	old := s.Pages[0]
	s.Pages[0].At = s.Pages[0].At.Add(-8 * 24 * time.Hour)
	turn := newTurn(s)
	turn.Instruction = strings.Repeat("y", 4000)
	s.Commit(turn, "reply", nil, time.Now())
	if err := st.Sessions.Shorten(t.Context(), s, 4096, string(turn.ID)); err != nil {
		t.Fatal(err)
	}
	if s.Pages[0].Object == old.Object || time.Since(s.Pages[0].At) > time.Hour {
		t.Errorf("page %+v", s.Pages[0])
	}
	if err := st.Sessions.DropPages(t.Context(), s.Pages); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Sessions.Page(t.Context(), s.Pages[0]); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("a dropped page: %v", err)
	}
}

// Work of both queues is told apart by the subject, and a message on a subject
// that is not its own is refused.
func TestQueuedTurn(t *testing.T) {
	srv := natstest.Start(t)
	st := open(t, srv)
	if err := st.Consumers.Ensure(t.Context(), store.TurnQueue, "echo", 10, 30*time.Second); err != nil {
		t.Fatal(err)
	}
	s := newSession()
	turn := newTurn(s)
	if _, err := st.Turns.Enqueue(t.Context(), turn); err != nil {
		t.Fatal(err)
	}
	came := make(chan *store.Delivered, 1)
	ctx, stop := context.WithCancel(t.Context())
	var pulling sync.WaitGroup
	defer pulling.Wait()
	defer stop()
	pulling.Go(func() {
		st.Consumers.Pull(ctx, store.Pull{
			Queue: store.TurnQueue, Agent: "echo", Lease: 30 * time.Second, MaxBytes: st.PullLimit(1), Log: slog.New(slog.DiscardHandler),
			Most: 1, Room: func() int { return 1 - len(came) }, Take: func(d *store.Delivered) { came <- d },
		})
	})
	msg := <-came
	data := msg.Data
	got, deliveries, err := msg.Task()
	if err != nil || got.ID != turn.ID || deliveries != 1 || msg.Data != nil {
		t.Errorf("%+v, %d, %v", got, deliveries, err)
	}
	msg.Subject, msg.Data = msg.Subject+"x", data
	if _, _, err := msg.Task(); !errors.Is(err, task.ErrBadRecord) {
		t.Errorf("on another subject: %v", err)
	}
}
