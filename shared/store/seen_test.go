package store_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/natstest"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// A node that leads a damaged stream answers that there is no such message. A
// message that this process has just seen is not gone on its word: the store is
// in trouble. One that was deleted is gone, and so is one that this process has
// never seen.
func TestWhatWasJustSeenIsNotGoneOnOneNodesWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := natstest.Start(t)
		st, stranger := open(t, srv), open(t, srv)
		kept, deleted := keptSession(t, st), keptSession(t, st)
		if err := st.Sessions.Delete(t.Context(), deleted); err != nil {
			t.Fatal(err)
		}
		accepted := newTask()
		if _, err := st.Tasks.Enqueue(t.Context(), accepted); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Sessions.Get(t.Context(), "default", deleted.ID); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("deleted: %v", err)
		}
		js, err := jetstream.New(st.Conn())
		if err != nil {
			t.Fatal(err)
		}
		for _, damaged := range []string{topology.BucketStream(topology.SessionsBucket), topology.Tasks} {
			stream, err := js.Stream(t.Context(), damaged)
			if err == nil {
				err = stream.Purge(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := st.Sessions.Get(t.Context(), "default", kept.ID); !errors.Is(err, task.ErrUnavailable) || errors.Is(err, session.ErrNotFound) {
			t.Errorf("a session that was just seen: %v", err)
		}
		if _, err := st.Tasks.Find(t.Context(), "default", accepted.ID); !errors.Is(err, task.ErrUnavailable) || errors.Is(err, task.ErrNotFound) {
			t.Errorf("a task that was just accepted: %v", err)
		}
		if _, err := stranger.Sessions.Get(t.Context(), "default", kept.ID); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("a session that was never seen here: %v", err)
		}
		time.Sleep(time.Hour)
		if _, err := st.Sessions.Get(t.Context(), "default", kept.ID); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("a session that was seen an hour ago: %v", err)
		}
	})
}

func keptSession(t *testing.T, st *store.Store) *session.Session {
	t.Helper()
	s := newSession()
	if err := st.Sessions.Save(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return s
}
