package store_test

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

func open(t *testing.T, srv *natstest.Server) *store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), srv.Connect(t), store.Options{Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func newTask() *task.Task {
	return &task.Task{
		ID: task.NewID(task.KindTask, uuid.Must(uuid.NewV7())), Tenant: "default", Kind: task.KindTask,
		Agent: "echo", Status: task.Pending, Instruction: "x", CreatedAt: task.Stamp(time.Now()),
	}
}

func save(t *testing.T, st *store.Store, tk *task.Task) {
	t.Helper()
	if err := st.Tasks.Save(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
}

func TestSaveIsACompareAndSet(t *testing.T) {
	st := open(t, natstest.Start(t))
	mine := newTask()
	save(t, st, mine)
	first := mine.Rev
	theirs := mine.Clone()
	theirs.Message = "theirs"
	save(t, st, theirs)
	if theirs.Rev <= first || theirs.Replaces != first {
		t.Errorf("revision %d replaces %d, want a newer one that replaces %d", theirs.Rev, theirs.Replaces, first)
	}

	mine.Message = "mine"
	if err := st.Tasks.Save(t.Context(), mine); !errors.Is(err, task.ErrConflict) || mine.Rev != first {
		t.Errorf("a write on an old revision: %v, revision %d", err, mine.Rev)
	}
	again := newTask()
	again.ID = mine.ID
	if err := st.Tasks.Save(t.Context(), again); !errors.Is(err, task.ErrConflict) {
		t.Errorf("creating what exists: %v", err)
	}
	got, err := st.Tasks.Get(t.Context(), "default", mine.ID)
	if err != nil || got.Message != "theirs" || got.Rev != theirs.Rev {
		t.Errorf("record %+v, %v", got, err)
	}
}

// The answer to a write may be lost. Writing the same again is then seen to be
// our own write, not a conflict.
func TestSaveRecognizesItsOwnWrite(t *testing.T) {
	st := open(t, natstest.Start(t))
	written := newTask()
	lost := written.Clone()
	save(t, st, written)
	if err := st.Tasks.Save(t.Context(), lost); err != nil || lost.Rev != written.Rev {
		t.Errorf("%v, revision %d, want %d", err, lost.Rev, written.Rev)
	}
}

func TestOneOfManyWritersWins(t *testing.T) {
	st := open(t, natstest.Start(t))
	base := newTask()
	save(t, st, base)
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 50 {
		wg.Go(func() {
			next := base.Clone()
			next.Message = strconv.Itoa(i)
			err := st.Tasks.Save(t.Context(), next)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, task.ErrConflict) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d writers won", won)
	}
}

// A task is found wherever it is on its way, and by nobody else.
func TestFind(t *testing.T) {
	st := open(t, natstest.Start(t))
	ready, later := newTask(), newTask()
	later.NotBefore = task.Stamp(time.Now().Add(time.Hour))
	for _, tk := range []*task.Task{ready, later} {
		if dup, err := st.Tasks.Enqueue(t.Context(), tk); err != nil || dup {
			t.Fatal(dup, err)
		}
		got, err := st.Tasks.Find(t.Context(), "default", tk.ID)
		if err != nil || got.ID != tk.ID || got.Rev != 0 || got.QueueSeq == 0 {
			t.Errorf("in the queue: %+v, %v", got, err)
		}
		if _, err := st.Tasks.Find(t.Context(), "other", tk.ID); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("another tenant's read: %v", err)
		}
	}
	ready.Message = "recorded"
	save(t, st, ready)
	if got, err := st.Tasks.Find(t.Context(), "default", ready.ID); err != nil || got.Rev != ready.Rev || got.Message != "recorded" {
		t.Errorf("with a record: %+v, %v", got, err)
	}
	for _, id := range []task.ID{"", "*", ">", "tsk_*", ready.ID + ".>"} { // no id is a pattern
		if _, err := st.Tasks.Find(t.Context(), "default", id); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("Find %q: %v", id, err)
		}
		if _, err := st.Tasks.Watch("default", id, false); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("Watch %q: %v", id, err)
		}
	}
	if _, err := st.Tasks.Find(t.Context(), "other", ready.ID); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("another tenant's read: %v", err)
	}
	if err := st.Tasks.Withdraw(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Tasks.Find(t.Context(), "default", later.ID); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("withdrawn: %v", err)
	}
}

// The same accept is queued once; the next attempt of the task is another
// message.
func TestEnqueueOnce(t *testing.T) {
	st := open(t, natstest.Start(t))
	tk := newTask()
	for i := range 3 {
		if dup, err := st.Tasks.Enqueue(t.Context(), tk); err != nil || dup != (i > 0) {
			t.Errorf("accept %d: duplicate %v, %v", i+1, dup, err)
		}
	}
	tk.Attempt = 1
	if dup, err := st.Tasks.Enqueue(t.Context(), tk); err != nil || dup {
		t.Errorf("retry: duplicate %v, %v", dup, err)
	}
	if n, err := st.Tasks.Queued(t.Context()); err != nil || n != 2 {
		t.Errorf("%d messages, %v, want 2", n, err)
	}
}

// A schedule fires at its time, not at the second before it.
func TestScheduleIsKeptToTheMillisecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := open(t, natstest.Start(t))
		arrived := make(chan time.Time, 1)
		js, err := jetstream.New(st.Conn())
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Consumers.Ensure(t.Context(), store.TaskQueue, "echo", 10, 30*time.Second); err != nil {
			t.Fatal(err)
		}
		c, err := js.Consumer(t.Context(), topology.Tasks, topology.AgentDurable("echo"))
		if err != nil {
			t.Fatal(err)
		}
		consuming, err := c.Consume(func(m jetstream.Msg) {
			_ = m.Ack()
			arrived <- time.Now()
		})
		if err != nil {
			t.Fatal(err)
		}
		defer consuming.Stop()
		tk := newTask()
		tk.NotBefore = task.Stamp(time.Now().Add(90*time.Second + 700*time.Millisecond))
		if _, err := st.Tasks.Enqueue(t.Context(), tk); err != nil {
			t.Fatal(err)
		}
		if late := (<-arrived).Sub(tk.NotBefore); late < 0 || late > time.Second {
			t.Errorf("arrived %v after its time", late)
		}
	})
}

func TestValues(t *testing.T) {
	st := open(t, natstest.Start(t))
	for _, size := range []int{0, 10, store.InlineLimit, store.InlineLimit + 1, 5 << 20} {
		raw := bytes.Repeat([]byte("x"), size)
		v, err := st.Artifacts.Put(t.Context(), "default", "tsk_1", "input", raw)
		if err != nil {
			t.Fatal(err)
		}
		if (v.Object != "") != (size > store.InlineLimit) {
			t.Errorf("%d bytes: object %q", size, v.Object)
		}
		if got, err := st.Artifacts.Read(t.Context(), v); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%d bytes came back as %d, %v", size, len(got), err)
		}
		if err := st.Artifacts.Drop(t.Context(), v); err != nil {
			t.Error(err)
		}
		if v.Object != "" {
			if _, err := st.Artifacts.Read(t.Context(), v); !errors.Is(err, task.ErrNotFound) {
				t.Errorf("dropped, and then: %v", err)
			}
		}
	}
}

// A store that is away says so, and accepted nothing.
func TestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := natstest.Start(t)
		nc := srv.Connect(t, nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		st, err := store.Open(t.Context(), nc, store.Options{Replicas: 1})
		if err != nil {
			t.Fatal(err)
		}
		srv.Stop()
		if err := st.Tasks.Save(t.Context(), newTask()); !errors.Is(err, task.ErrUnavailable) {
			t.Errorf("save: %v", err)
		}
		if _, err := st.Tasks.Enqueue(t.Context(), newTask()); !errors.Is(err, task.ErrUnavailable) {
			t.Errorf("enqueue: %v", err)
		}
		if _, err := st.Tasks.Find(t.Context(), "default", newTask().ID); !errors.Is(err, task.ErrUnavailable) {
			t.Errorf("find: %v", err)
		}
	})
}

// A store that is full refuses; it does not drop what it has.
func TestFull(t *testing.T) {
	st := open(t, natstest.StartWith(t, server.Options{StoreDir: t.TempDir(), JetStreamMaxStore: 1 << 20}))
	big := newTask()
	big.Instruction = strings.Repeat("x", 60<<10)
	queued := 0
	var err error
	for err == nil && queued < 100 {
		big.ID = newTask().ID
		if _, err = st.Tasks.Enqueue(t.Context(), big); err == nil {
			queued++
		}
	}
	if !errors.Is(err, task.ErrFull) {
		t.Errorf("after %d: %v, want ErrFull", queued, err)
	}
	if n, err := st.Tasks.Queued(t.Context()); err != nil || n != queued {
		t.Errorf("%d queued, %v, want %d", n, err, queued)
	}
	if err := st.Tasks.Save(t.Context(), big); !errors.Is(err, task.ErrFull) {
		t.Errorf("save: %v, want ErrFull", err)
	}
}

// A thousand attempts may look at their records in one moment: the bytes that the
// server writes to a connection at once stay within what it takes.
func TestManyLargeRecordsDoNotCutTheConnection(t *testing.T) {
	natstest.Long(t)
	srv := natstest.StartWith(t, server.Options{StoreDir: t.TempDir(), MaxPending: 32 << 20, MaxPayload: 1 << 20})
	var cut atomic.Int32
	nc := srv.Connect(t, nats.DisconnectErrHandler(func(*nats.Conn, error) { cut.Add(1) }))
	st, err := store.Open(t.Context(), nc, store.Options{Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	tk := newTask()
	tk.Instruction = strings.Repeat("x", 500<<10)
	save(t, st, tk)
	var readers sync.WaitGroup
	for range max(70, natstest.Fewer(100)) { // 35 MB are more than it takes
		readers.Go(func() {
			natstest.Until(t, "the record is read", func() bool { // a busy machine may want longer than one request has
				_, err := st.Tasks.Get(t.Context(), tk.Tenant, tk.ID)
				return err == nil
			})
		})
	}
	readers.Wait()
	if n := cut.Load(); n > 0 {
		t.Errorf("the connection was cut %d times", n)
	}
}
