package session_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"agentmesh/shared/session"
	"agentmesh/shared/task"
)

func waiting(n int) session.Waiting {
	return session.Waiting{TurnID: task.ID(fmt.Sprint("trn_", n)), At: start, Text: fmt.Sprint("text ", n), Bytes: 6}
}

// The queue has the order of acceptance. A turn that is canceled keeps its place,
// one that has ended leaves, and a copy shares nothing of it.
func TestQueue(t *testing.T) {
	s := session.New("ses_1", "default", "a", "", start)
	for n := range 4 {
		if err := s.Append(waiting(n), ""); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Queue("trn_0"); !slices.Equal(got, []task.ID{"trn_1", "trn_2", "trn_3"}) {
		t.Errorf("behind the open one: %v", got)
	}
	before := s.Clone()
	s.Cancel("trn_2")
	s.Cancel("trn_9")
	s.Commit(turn(0, "text 0"), "re 0", nil, start)
	if got := s.Queue(""); !slices.Equal(got, []task.ID{"trn_1", "trn_3"}) {
		t.Errorf("after a commit and a cancel: %v", got)
	}
	if o, _ := s.Outcome("trn_2"); o != session.Interrupted {
		t.Errorf("canceled in the list: %v", o)
	}
	if o, _ := s.Outcome("trn_1"); o != session.Open {
		t.Errorf("waiting: %v", o)
	}
	if got := s.CancelAll(); !slices.Equal(got, []task.ID{"trn_1", "trn_3"}) || len(s.Queue("")) != 0 {
		t.Errorf("canceled: %v, left %v", got, s.Queue(""))
	}
	s.Interrupt(turn(1, "text 1"), start)
	if _, listed := s.Listed("trn_1"); listed || talk(s.Messages) != "u:text 0 a:re 0 u:text 1!" {
		t.Errorf("after its end: %+v, %q", s.Waiting, talk(s.Messages))
	}
	if got := before.Queue(""); len(got) != 4 {
		t.Errorf("the copy has %v", got)
	}
}

// Waiting turns are bounded, and so are those that are canceled behind the open
// one.
func TestQueueIsBounded(t *testing.T) {
	s := session.New("ses_1", "default", "a", "", start)
	for n := range session.MaxWaiting + 1 {
		if err := s.Append(waiting(n), "trn_0"); err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
	}
	if err := s.Append(waiting(99), "trn_0"); !errors.Is(err, session.ErrQueueFull) {
		t.Errorf("one too many: %v", err)
	}
	n := session.MaxWaiting + 1
	for ; n < session.MaxListed; n++ {
		s.Cancel(s.Queue("trn_0")[0])
		if err := s.Append(waiting(n), "trn_0"); err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
	}
	s.Cancel(s.Queue("trn_0")[0])
	if err := s.Append(waiting(n), "trn_0"); !errors.Is(err, session.ErrQueueFull) {
		t.Errorf("as many were canceled: %v", err)
	}
}

// A message that waits takes the room that it will need.
func TestRoomBehind(t *testing.T) {
	s := session.New("ses_1", "default", "a", "", start)
	w := waiting(1)
	w.Bytes = 500
	if err := s.Append(w, ""); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		d    task.Definition
		full string
	}{
		{task.Definition{}, ""}, {task.Definition{MaxTurns: 1}, "max_turns"}, {task.Definition{MaxTranscript: 1024, History: task.HistoryWindow}, ""},
		{task.Definition{MaxTranscript: 1024}, "max_transcript"},
	} {
		err := s.RoomBehind(strings.Repeat("x", 500), tt.d)
		if tt.full == "" && err != nil || tt.full != "" && (!errors.Is(err, session.ErrFull) || !strings.Contains(err.Error(), tt.full)) {
			t.Errorf("%+v: %v", tt.d, err)
		}
		if err := s.Room("x", tt.d); err != nil {
			t.Errorf("the turn itself, %+v: %v", tt.d, err)
		}
	}
}
