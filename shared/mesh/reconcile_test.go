package mesh_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/event"
	"agentmesh/shared/natstest"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/topology"
	"agentmesh/shared/webhook"
)

func newTask(kind task.Kind, age time.Duration) *task.Task {
	t := &task.Task{Tenant: "default", Kind: kind, Agent: "echo", Status: task.Pending, Instruction: "x", CreatedAt: task.Stamp(time.Now().Add(-age))}
	if kind == task.KindTurn {
		t.SessionID = string(session.NewID(uuid.Must(uuid.NewV7())))
	}
	t.ID = task.NewID(kind, uuid.Must(uuid.NewV7()))
	t.UpdatedAt = t.CreatedAt
	return t
}

func (h *house) queue(t *task.Task) {
	h.t.Helper()
	enqueue := h.st.Tasks.Enqueue
	if t.Kind == task.KindTurn {
		enqueue = h.st.Turns.Enqueue
	}
	traced := telemetry.WithTraceParent(h.t.Context(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "")
	if _, err := enqueue(traced, t); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) save(t *task.Task) {
	h.t.Helper()
	if err := h.st.Tasks.Save(h.t.Context(), t); err != nil {
		h.t.Fatal(err)
	}
}

// fill saves a task with as much output as its record has room for.
func (h *house) fill(t *task.Task) {
	h.t.Helper()
	n := 0
	for step := int(h.nc.MaxPayload()) / 2; step > 4; step /= 2 {
		t.Output = strings.Repeat("x", n+step)
		if err := h.st.Tasks.Save(h.t.Context(), t); err == nil {
			n += step
		} else if !errors.Is(err, task.ErrTooLarge) {
			h.t.Fatal(err)
		}
	}
}

// take takes up to n messages of a consumer, those that come at once.
func (h *house) take(stream, durable string, n int) []jetstream.Msg {
	h.t.Helper()
	c, err := h.js().Consumer(h.t.Context(), stream, durable)
	if err != nil {
		h.t.Fatal(err)
	}
	batch, err := c.FetchNoWait(n)
	if err != nil {
		h.t.Fatal(err)
	}
	var all []jetstream.Msg
	for m := range batch.Messages() {
		all = append(all, m)
	}
	return all
}

// takeAll takes exactly n messages of a consumer, however long they take to come.
func (h *house) takeAll(stream, durable string, n int) (all []jetstream.Msg) {
	h.t.Helper()
	natstest.Until(h.t, fmt.Sprintf("%d messages of %s are delivered", n, durable), func() bool {
		all = append(all, h.take(stream, durable, n-len(all))...)
		return len(all) == n
	})
	return all
}

// arrives takes messages until those of ids have come, and acks them.
func (h *house) arrives(stream, durable string, ids ...task.ID) {
	h.t.Helper()
	left := map[task.ID]bool{}
	for _, id := range ids {
		left[id] = true
	}
	natstest.Until(h.t, fmt.Sprintf("%v are delivered", ids), func() bool {
		for _, m := range h.take(stream, durable, 100) {
			var t task.Task
			if err := json.Unmarshal(m.Data(), &t); err == nil && left[t.ID] {
				delete(left, t.ID)
				if m.Headers().Get("traceparent") == "" && stream == topology.Tasks {
					h.t.Errorf("%s has lost its trace", t.ID)
				}
			}
			_ = m.DoubleAck(h.t.Context())
		}
		return len(left) == 0
	})
}

func (h *house) messages(stream string) uint64 {
	h.t.Helper()
	s, err := h.js().Stream(h.t.Context(), stream)
	if err != nil {
		h.t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

// lose has the consumer of a queue pass over two messages that it never delivered, which is
// what a purge of one subject, an ack and a restart left behind in meshes of before.
func (h *house) lose(stream string, kind task.Kind) (lost []*task.Task) {
	h.t.Helper()
	for range 6 {
		t := newTask(kind, time.Minute)
		h.queue(t)
		lost = append(lost, t)
	}
	if _, err := h.js().ResetConsumerToSequence(h.t.Context(), stream, topology.AgentDurable("echo"), 3); err != nil {
		h.t.Fatal(err)
	}
	h.restart()
	for i, m := range h.takeAll(stream, topology.AgentDurable("echo"), 4) {
		if !strings.Contains(string(m.Data()), string(lost[2+i].ID)) {
			h.t.Fatalf("message %d is not that of %s: nothing is lost", i, lost[2+i].ID)
		}
	}
	return lost[:2]
}

func TestLostTasksAreQueuedAgain(t *testing.T) {
	h := newHouse(t)
	lost := h.lose(topology.Tasks, task.KindTask)
	// One of them had begun, on a worker that is gone.
	began := lost[0].Clone()
	began.Attempt, began.Lease = 1, &task.Lease{Worker: "wrk_gone", Seq: 1}
	if err := began.To(task.Processing, time.Now()); err != nil {
		t.Fatal(err)
	}
	h.save(began)
	h.look("a")
	h.arrives(topology.Tasks, topology.AgentDurable("echo"), lost[0].ID, lost[1].ID)
	rec, err := h.st.Tasks.Get(t.Context(), "default", began.ID)
	if err != nil || rec.Status != task.Pending || rec.Attempt != 1 || rec.Lease != nil {
		t.Errorf("%+v, %v: want it pending after one attempt", rec, err)
	}
}

func TestLostTurnsAreQueuedAgain(t *testing.T) {
	h := newHouse(t)
	lost := h.lose(topology.Turns, task.KindTurn)
	h.look("a")
	h.arrives(topology.Turns, topology.AgentDurable("echo"), lost[0].ID, lost[1].ID)
}

func TestATaskThatHasEndedIsNotQueuedAgain(t *testing.T) {
	h := newHouse(t)
	lost := h.lose(topology.Tasks, task.KindTask)
	done := lost[0].Clone()
	if err := done.To(task.Completed, time.Now()); err != nil {
		t.Fatal(err)
	}
	h.save(done)
	before := h.messages(topology.Tasks)
	h.look("a")
	if after := h.messages(topology.Tasks); after != before-1 {
		t.Errorf("%d messages became %d; want that of the finished task gone", before, after)
	}
}

func TestARecordWithoutAMessageIsQueuedAgain(t *testing.T) {
	for _, kind := range []task.Kind{task.KindTask, task.KindTurn} {
		h := newHouse(t)
		waits, runs, lives, young := newTask(kind, time.Hour), newTask(kind, time.Hour), newTask(kind, time.Hour), newTask(kind, 0)
		for worker, tk := range map[string]*task.Task{"wrk_gone": runs, "wrk_here": lives} {
			tk.Attempt, tk.Lease = 1, &task.Lease{Worker: worker, Seq: 77}
			if err := tk.To(task.Processing, time.Now().Add(-time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		for _, tk := range []*task.Task{waits, runs, lives, young} {
			h.save(tk)
		}
		if err := h.st.Registry.Announce(t.Context(), store.Presence{WorkerID: "wrk_here"}); err != nil {
			t.Fatal(err)
		}
		stream := topology.Tasks
		if kind == task.KindTurn {
			stream = topology.Turns
		}
		h.look("a")
		if n := h.messages(stream); n != 2 {
			t.Errorf("%s: %d messages; want one for each of two: a young record has time, a live worker knows more", kind, n)
		}
	}
}

// Turns that wait in a session are opened one after the other, whether they have
// a record yet or not, and one that had begun is put back.
// One record without room stops nothing: neither its own task, nor those behind it.
func TestATaskWhoseRecordIsFullIsQueuedAgain(t *testing.T) {
	for _, kind := range []task.Kind{task.KindTask, task.KindTurn} {
		h := newHouse(t)
		full, runs, next := newTask(kind, time.Hour), newTask(kind, time.Hour), newTask(kind, time.Hour)
		for _, tk := range []*task.Task{full, runs} {
			tk.Attempt, tk.Lease = 1, &task.Lease{Worker: "wrk_gone", Seq: 77}
			tk.AddMilestone(task.Milestone{Name: "first"})
			tk.AddMilestone(task.Milestone{Name: "second"})
		}
		if err := runs.To(task.Processing, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		h.fill(full)
		h.fill(runs)
		h.save(next)
		stream := topology.Tasks
		if kind == task.KindTurn {
			stream = topology.Turns
		}
		h.look("a")
		if n := h.messages(stream); n != 3 {
			t.Errorf("%s: %d messages, want one for each of three", kind, n)
		}
		rec, err := h.st.Tasks.Get(t.Context(), "default", runs.ID)
		if err != nil || rec.Status != task.Pending || rec.Output != "" || rec.LastMilestone() != 2 {
			t.Errorf("%s: %s with %d bytes of output and %+v, %v: want room, and the number of its last milestone", kind, rec.Status, len(rec.Output), rec.Milestones, err)
		}
	}
}

func TestTurnsThatWaitAreOpenedInTheirOrder(t *testing.T) {
	for name, recorded := range map[string]bool{"with records": true, "without records": false} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			sess := session.New(session.NewID(uuid.Must(uuid.NewV7())), "default", "echo", "", time.Now().Add(-time.Hour))
			var ids []task.ID
			for range 3 {
				turn := newTask(task.KindTurn, time.Hour)
				turn.SessionID = string(sess.ID)
				w, err := h.st.Turns.Place(t.Context(), turn)
				w.At = turn.CreatedAt
				if err = cmp.Or(err, sess.Append(w, "")); err == nil && recorded {
					_, err = h.st.Turns.Waiting(t.Context(), sess, w)
				}
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, turn.ID)
			}
			if err := h.st.Sessions.Save(t.Context(), sess); err != nil {
				t.Fatal(err)
			}
			for i, id := range ids {
				h.look("a")
				h.look("a")
				open, err := h.st.Turns.Open(t.Context(), "default", "echo", sess.ID)
				if err != nil || open.ID != id || h.messages(topology.Turns) != 1 {
					t.Fatalf("turn %d: open is %+v, %v", i, open, err)
				}
				rec, err := h.st.Tasks.Get(t.Context(), "default", id)
				if err != nil {
					t.Fatal(err)
				}
				if i == 1 { // its message is lost while a worker that dies has it
					rec.Attempt, rec.Lease = 1, &task.Lease{Worker: "wrk_gone", Seq: open.QueueSeq}
					if err := rec.To(task.Processing, time.Now().Add(-time.Hour)); err != nil {
						t.Fatal(err)
					}
					h.save(rec)
					h.withdraw(rec)
					h.look("a")
					if again, err := h.st.Turns.Open(t.Context(), "default", "echo", sess.ID); err != nil || again.ID != id {
						t.Fatalf("put back: %+v, %v", again, err)
					}
					if rec, err = h.st.Tasks.Get(t.Context(), "default", id); err != nil || rec.Status != task.Pending {
						t.Fatalf("put back: %+v, %v", rec, err)
					}
				}
				if err := rec.To(task.Failed, time.Now()); err != nil {
					t.Fatal(err)
				}
				h.save(rec)
				h.withdraw(rec)
			}
		})
	}
}

func (h *house) withdraw(turn *task.Task) {
	h.t.Helper()
	if err := h.st.Turns.Withdraw(h.t.Context(), turn); err != nil {
		h.t.Fatal(err)
	}
}

func TestAScheduleThatDidNotFireIsQueued(t *testing.T) {
	h := newHouse(t)
	late := newTask(task.KindTask, time.Hour)
	data, err := json.Marshal(late)
	if err != nil {
		t.Fatal(err)
	}
	// Without its header it is a schedule that the server has forgotten.
	if _, err := h.js().Publish(t.Context(), topology.TaskLater(late.ID), data); err != nil {
		t.Fatal(err)
	}
	ahead := newTask(task.KindTask, 0)
	ahead.NotBefore = time.Now().Add(time.Hour)
	h.queue(ahead)
	h.look("a")
	if got := h.takeAll(topology.Tasks, topology.AgentDurable("echo"), 1); topology.SubjectID(got[0].Subject()) != string(late.ID) {
		t.Errorf("%s is ready, want %s", got[0].Subject(), late.ID)
	}
	if n := h.messages(topology.Tasks); n != 2 {
		t.Errorf("%d messages are left, want the one that is ready and the schedule that is not due", n)
	}
}

func TestADeliveryWithoutAMessageIsQueuedAgain(t *testing.T) {
	h := newHouse(t)
	if _, err := h.js().CreateConsumer(t.Context(), topology.Deliveries, topology.DeliverConsumer(5*time.Second)); err != nil {
		t.Fatal(err)
	}
	d := newDelivery()
	if err := h.st.Deliveries.Save(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	done := newDelivery()
	done.Status = webhook.Delivered
	if err := h.st.Deliveries.Save(t.Context(), done); err != nil {
		t.Fatal(err)
	}
	h.look("a")
	natstest.Until(t, "the delivery is due", func() bool { return len(h.take(topology.Deliveries, topology.DeliverDurable, 10)) == 1 })
}

func TestLostDeliveriesAreQueuedAgain(t *testing.T) {
	h := newHouse(t)
	if _, err := h.js().CreateConsumer(t.Context(), topology.Deliveries, topology.DeliverConsumer(5*time.Second)); err != nil {
		t.Fatal(err)
	}
	var ids []webhook.DeliveryID
	for range 6 {
		d := newDelivery()
		if err := h.st.Deliveries.Enqueue(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, d.ID)
	}
	held := h.takeAll(topology.Deliveries, topology.DeliverDurable, 6)
	s, err := h.js().Stream(t.Context(), topology.Deliveries)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context(), jetstream.WithPurgeSubject(held[2].Subject())); err != nil {
		t.Fatal(err)
	}
	if err := held[3].DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.restart()
	h.look("a")
	left := map[webhook.DeliveryID]bool{ids[0]: true, ids[1]: true, ids[4]: true, ids[5]: true}
	natstest.Until(t, "every delivery comes", func() bool {
		for _, m := range h.take(topology.Deliveries, topology.DeliverDurable, 10) {
			delete(left, webhook.DeliveryID(topology.SubjectID(m.Subject())))
			_ = m.DoubleAck(t.Context())
		}
		return len(left) == 0
	})
}

func newDelivery() *webhook.Delivery {
	source := task.NewID(task.KindTask, uuid.Must(uuid.NewV7()))
	return &webhook.Delivery{
		ID: webhook.NewDeliveryID(string(source)+"-completed", webhook.Callback), Tenant: "default", Source: webhook.Source(source), EventID: string(source) + "-completed",
		Type: event.Type("task.completed"), URL: "https://receiver.example/", Body: []byte("{}"), Status: webhook.Pending,
		CreatedAt: task.Stamp(time.Now().Add(-time.Hour)),
	}
}

// A healthy mesh has tasks that wait, are held, are scheduled and run.
func TestAHealthyMeshIsLeftAlone(t *testing.T) {
	h := newHouse(t)
	for range 20 {
		h.queue(newTask(task.KindTask, time.Hour))
	}
	h.queue(newTask(task.KindTurn, time.Hour))
	ahead := newTask(task.KindTask, 0)
	ahead.NotBefore = time.Now().Add(time.Hour)
	h.queue(ahead)
	h.takeAll(topology.Tasks, topology.AgentDurable("echo"), 10)
	h.takeAll(topology.Turns, topology.AgentDurable("echo"), 1)
	tasks, turns := h.messages(topology.Tasks), h.messages(topology.Turns)
	for range 3 {
		h.look("a")
	}
	if now := h.messages(topology.Tasks); now != tasks {
		t.Errorf("%d messages of tasks became %d", tasks, now)
	}
	if now := h.messages(topology.Turns); now != turns {
		t.Errorf("%d messages of turns became %d", turns, now)
	}
}

func TestOneReconcilerWorksAtATime(t *testing.T) {
	h := newHouse(t)
	h.look("a")
	h.save(newTask(task.KindTask, time.Hour))
	h.look("b") // a leads
	if n := h.messages(topology.Tasks); n != 0 {
		t.Fatalf("%d messages: two reconcilers work", n)
	}
	h.look("a")
	if n := h.messages(topology.Tasks); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}

func TestTwoThatRequeueAtOnceQueueOne(t *testing.T) {
	h := newHouse(t)
	lost := newTask(task.KindTask, time.Hour)
	h.save(lost)
	for range 2 {
		if err := h.st.Repair.Requeue(context.Background(), lost.Clone()); err != nil {
			t.Fatal(err)
		}
	}
	if n := h.messages(topology.Tasks); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}
