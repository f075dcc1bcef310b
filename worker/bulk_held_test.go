package worker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// heldInBulk is a mesh with a task in bulk whose message was delivered to an attempt,
// which then went on without it.
type heldInBulk struct {
	*crowdedMesh
	agent agent.Agent
	taker *store.Taker
	id    task.ID
}

func newHeldInBulk(t *testing.T) *heldInBulk {
	m := newCrowdedMesh(t, 300*time.Millisecond)
	m.Work(m.crowdedAgent())()
	queued := &task.Task{ID: task.NewID(task.KindTask, uuid.Must(uuid.NewV7())), Kind: task.KindTask, Tenant: "big", Agent: "a", Instruction: "big", Status: task.Pending, Bulk: true, CreatedAt: time.Now()}
	if _, err := m.Store.Tasks.Enqueue(t.Context(), queued); err != nil {
		t.Fatal(err)
	}
	taker, err := m.Store.Consumers.Taker(store.BulkQueue, "a")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(taker.Close)
	return &heldInBulk{crowdedMesh: m, agent: m.crowdedAgent(), taker: taker, id: queued.ID}
}

func (m *crowdedMesh) crowdedAgent() agent.Agent { return m.agent(2, 0) }

// next takes the message, again when its lease has lapsed.
func (h *heldInBulk) next() *store.Delivered {
	h.T.Helper()
	for range 100 {
		msg, err := h.taker.Next(h.T.Context())
		if err != nil {
			h.T.Fatal(err)
		}
		if msg != nil {
			return msg
		}
		time.Sleep(time.Second)
	}
	h.T.Fatal("the message does not come")
	return nil
}

// claim writes the record of an attempt under a message, which forgets it.
func (h *heldInBulk) claim(msg *store.Delivered, worker string) *task.Task {
	h.T.Helper()
	t, _, err := msg.Task()
	if err != nil {
		h.T.Fatal(err)
	}
	t.Attempt, t.Lease = 1, &task.Lease{Worker: worker, Seq: t.QueueSeq}
	if err := t.To(task.Processing, time.Now()); err != nil {
		h.T.Fatal(err)
	}
	if err := h.Store.Tasks.Save(h.T.Context(), t); err != nil {
		h.T.Fatal(err)
	}
	return t
}

const otherWorker = "wrk_01a20cd9e03b7276be6a181888e33e52"

func (h *heldInBulk) announce(worker string) {
	h.T.Helper()
	if err := h.Store.Registry.Announce(h.T.Context(), store.Presence{WorkerID: worker, StartedAt: time.Now()}); err != nil {
		h.T.Fatal(err)
	}
}

func (h *heldInBulk) record() *task.Task {
	h.T.Helper()
	t, err := h.Store.Tasks.Get(h.T.Context(), "big", h.id)
	if err != nil {
		h.T.Fatal(err)
	}
	return t
}

func (h *heldInBulk) messages() int {
	h.T.Helper()
	n, err := h.Store.Tasks.Queued(h.T.Context())
	if err != nil {
		h.T.Fatal(err)
	}
	return n
}

// An attempt on a task in bulk loses its lease, or dies: the next worker promotes the
// message, and the ready one carries the next attempt.
func TestATaskInBulkWhoseLeaseHasLapsedIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeldInBulk(t)
		held := h.claim(h.next(), otherWorker)
		h.announce(otherWorker)
		time.Sleep(40 * time.Second) // a lease
		stop := h.Work(h.agent)
		time.Sleep(10 * time.Second)
		stop()
		if got := h.record(); got.Status != task.Completed || got.Attempt != 2 {
			t.Errorf("%s in attempt %d, with %d messages", got.Status, got.Attempt, h.messages())
		}
		held.Message = "late"
		if err := h.Store.Tasks.Save(t.Context(), held); err == nil {
			t.Error("the attempt that lost its lease wrote")
		}
	})
}

// A promotion takes longer than a lease, and meanwhile the message is delivered
// again to an attempt. The ready one that comes then is there when it is needed.
func TestAPromotionThatComesLateLosesNoTask(t *testing.T) {
	for name, lives := range map[string]bool{"the attempt's worker died": false, "the attempt's worker hands it back": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHeldInBulk(t)
				first := h.next()
				time.Sleep(40 * time.Second)
				held := h.claim(h.next(), otherWorker)
				if lives {
					h.announce(otherWorker)
				}
				if err := h.Store.Tasks.Promote(t.Context(), first); err != nil {
					t.Fatal(err)
				}
				stop := h.Work(h.agent)
				time.Sleep(10 * time.Second)
				want := task.Completed
				if lives {
					if got := h.record(); got.Status != task.Processing || h.messages() == 0 {
						t.Errorf("%s with %d messages while its worker has it", got.Status, h.messages())
					}
					held.Attempt--
					if err := held.To(task.Pending, time.Now()); err != nil {
						t.Fatal(err)
					}
					if err := h.Store.Tasks.Save(t.Context(), held); err != nil {
						t.Fatal(err)
					}
					time.Sleep(40 * time.Second)
				}
				stop()
				if got := h.record(); got.Status != want || h.messages() != 0 {
					t.Errorf("%s, with %d messages", got.Status, h.messages())
				}
			})
		})
	}
}
