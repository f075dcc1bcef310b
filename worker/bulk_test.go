package worker_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// crowdedMesh is a mesh whose agent notes whose task it runs, in their order.
type crowdedMesh struct {
	*meshtest.Mesh
	core *mesh.Mesh

	mu     sync.Mutex
	ran    []string // tenants
	most   int      // tasks at once
	now    int
	takes  time.Duration
	before func(*agent.Job) error
}

func newCrowdedMesh(t *testing.T, takes time.Duration) *crowdedMesh {
	m := &crowdedMesh{Mesh: meshtest.New(t), takes: takes}
	m.core = mesh.New(m.Store, mesh.Options{Log: meshtest.Quiet()})
	return m
}

func (m *crowdedMesh) agent(slots, inFlight int) agent.Agent {
	return agent.Agent{Definition: agent.Definition{Name: "a", Concurrency: slots, MaxInFlight: inFlight}, Handler: func(_ context.Context, job *agent.Job) (any, error) {
		m.mu.Lock()
		m.ran = append(m.ran, job.Instruction)
		m.now++
		m.most = max(m.most, m.now)
		before := m.before
		m.mu.Unlock()
		defer func() {
			m.mu.Lock()
			m.now--
			m.mu.Unlock()
		}()
		if before != nil {
			if err := before(job); err != nil {
				return nil, err
			}
		}
		time.Sleep(m.takes)
		return "done", nil
	}}
}

// Work starts a worker, and waits until gateways know that it takes tasks in bulk.
func (m *crowdedMesh) Work(agents ...agent.Agent) (stop func()) {
	m.T.Helper()
	before := len(m.workers())
	stop = m.Mesh.Work(agents...)
	for range 1000 {
		if len(m.workers()) > before {
			return stop
		}
		time.Sleep(10 * time.Millisecond)
	}
	m.T.Fatal("the worker does not announce itself")
	return nil
}

func (m *crowdedMesh) workers() []store.Presence {
	m.T.Helper()
	all, err := m.Store.Registry.Workers(m.T.Context())
	if err != nil {
		m.T.Fatal(err)
	}
	return all
}

func (m *crowdedMesh) accept(tenant string, n int) (ids []task.ID) {
	m.T.Helper()
	for range n {
		a, err := m.core.Tasks.Accept(m.T.Context(), auth.Caller{Tenant: tenant}, &mesh.Submission{Kind: task.KindTask, Agent: "a", Instruction: tenant})
		if err != nil {
			m.T.Fatal(err)
		}
		ids = append(ids, a.TaskID)
	}
	return ids
}

// ranUntil is how many tasks have run before the first of a tenant.
func (m *crowdedMesh) ranUntil(tenant string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, t := range m.ran {
		if t == tenant {
			return i
		}
	}
	return -1
}

func (m *crowdedMesh) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.ran)
}

// inBulk is how many messages are in bulk.
func (m *crowdedMesh) inBulk() int {
	m.T.Helper()
	n := 0
	c, err := m.Store.Census(m.T.Context())
	if err != nil {
		m.T.Fatal(err)
	}
	for _, a := range c.Agents {
		n += a.Bulk
	}
	return n
}

// comesInBulk waits until some are in bulk, by the server's count, which comes a moment
// after them.
func (m *crowdedMesh) comesInBulk() int {
	m.T.Helper()
	for range 100 {
		if n := m.inBulk(); n > 0 {
			return n
		}
		time.Sleep(time.Millisecond)
	}
	return 0
}

// The first task of a tenant waits for a few of another one's, however many that has
// queued before it, whether they take a moment or long, and whether it comes right
// behind them or later.
func TestTheFirstTaskOfATenantWaitsForAFewOfAnothers(t *testing.T) {
	for _, takes := range []time.Duration{time.Millisecond, 70 * time.Millisecond, 20 * time.Second} {
		for _, later := range []time.Duration{0, 50 * takes} {
			t.Run(fmt.Sprint(takes, later), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := newCrowdedMesh(t, takes)
					stop := m.Work(m.agent(1, 0))
					m.accept("big", 150)
					for m.count() == 0 { // one runs, and about eight are ready: the count is a moment old
						time.Sleep(time.Millisecond)
					}
					time.Sleep(later)
					before := m.count()
					m.accept("small", 1)
					for m.ranUntil("small") < 0 {
						time.Sleep(time.Second)
					}
					if n := m.ranUntil("small") - before; n > 12 {
						t.Errorf("%d tasks ran before it, want a few of 150", n)
					}
					stop()
				})
			})
		}
	}
}

// With nothing else to do, an agent's slots are all busy with whatever waits: what is
// in bulk, and what is ready.
func TestSlotsAreNotIdleWhileTasksWait(t *testing.T) {
	for _, tenants := range []int{1, 100} {
		t.Run(fmt.Sprint(tenants), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newCrowdedMesh(t, time.Second)
				const n, slots = 400, 8
				st2, _ := m.OpenStore()
				stop := m.Work(m.agent(slots/2, 0))
				stop2 := m.WorkWith(worker.Default(), st2, m.agent(slots/2, 0))
				began := time.Now()
				for i := range n {
					m.accept(fmt.Sprint("t", i%tenants), 1)
				}
				for m.count() < n {
					time.Sleep(100 * time.Millisecond)
				}
				if took := time.Since(began); took > n/slots*time.Second+2*time.Second {
					t.Errorf("%d tasks of 1 s took %v on %d slots", n, took, slots)
				}
				time.Sleep(5 * time.Second)
				if n := m.Queued(); n != 0 {
					t.Errorf("%d messages are left", n)
				}
				stop()
				stop2()
			})
		})
	}
}

// Tasks in bulk count towards max_in_flight: beside ready ones, and without.
func TestMaxInFlightHoldsForTasksInBulk(t *testing.T) {
	for _, limit := range []int{1, 3} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newCrowdedMesh(t, 100*time.Millisecond)
				st2, _ := m.OpenStore()
				stop := m.Work(m.agent(4, limit))
				stop2 := m.WorkWith(worker.Default(), st2, m.agent(4, limit))
				began := time.Now()
				m.accept("big", 60)
				for i := range 20 {
					time.Sleep(50 * time.Millisecond)
					m.accept(fmt.Sprint("small", i), 1)
				}
				if m.inBulk() == 0 {
					t.Error("nothing waits in bulk")
				}
				for m.count() < 80 {
					time.Sleep(100 * time.Millisecond)
				}
				if m.most != limit {
					t.Errorf("%d tasks ran at once, allowed are %d", m.most, limit)
				}
				if took, least := time.Since(began), 80/time.Duration(limit)*100*time.Millisecond; took > least*5/4+time.Second {
					t.Errorf("took %v, %v was possible", took, least)
				}
				stop()
				stop2()
			})
		})
	}
}

// Ready tasks without end do not keep those in bulk from running.
func TestTasksInBulkRunBesideReadyOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newCrowdedMesh(t, 100*time.Millisecond)
		stop := m.Work(m.agent(1, 0))
		m.accept("big", 40)
		time.Sleep(time.Second)
		for i := 0; m.inBulk() > 0 && i < 600; i++ { // as many as can be served
			m.accept(fmt.Sprint("small", i), 1)
			time.Sleep(100 * time.Millisecond)
		}
		if n := m.inBulk(); n > 0 {
			t.Errorf("%d wait on", n)
		}
		stop()
	})
}

// A task in bulk is read, canceled, retried and ended by its deadline as any other.
func TestATaskInBulkIsATaskAsAnyOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newCrowdedMesh(t, 100*time.Millisecond)
		ctx, who := t.Context(), auth.Caller{Tenant: "big"}
		var fails atomic.Value
		fails.Store(task.ID(""))
		begin := make(chan struct{}) // nothing runs until all is looked at
		m.before = func(job *agent.Job) error {
			<-begin
			if fails.Load() == any(task.ID(job.TaskID)) && job.Attempt == 1 {
				return fmt.Errorf("fails once")
			}
			return nil
		}
		stop := m.Work(m.agent(1, 0))
		ids := m.accept("big", 30)
		read, cancel, retry := ids[20], ids[21], ids[22]
		fails.Store(retry)
		place := 0 // in the line of those in bulk; how many are ready depends on when they were counted
		for _, id := range ids[:21] {
			if got, err := m.core.Tasks.Get(ctx, who, id); err == nil && got.Bulk {
				place++
			}
		}
		if got, err := m.core.Tasks.Get(ctx, who, read); err != nil || got.Status != task.Pending || !got.Bulk {
			t.Fatalf("read: %+v, %v", got, err)
		} else if w := m.core.Tasks.Waiting(ctx, got); w == nil || w.Reason != "queued" || w.Position < 1 || w.Position > place { // workers take some before they run them
			t.Errorf("waits, the %dth in bulk: %+v", place, w)
		}
		if _, err := m.core.Tasks.Get(ctx, auth.Caller{Tenant: "small"}, read); err == nil {
			t.Error("another tenant read it")
		}
		before := m.Queued()
		if got, err := m.core.Tasks.Cancel(ctx, who, cancel); err != nil || got.Status != task.Canceled {
			t.Fatalf("cancel: %+v, %v", got, err)
		}
		if n := m.Queued(); n != before-1 {
			t.Errorf("%d messages after the cancel, %d before", n, before)
		}
		late, err := m.core.Tasks.Accept(ctx, who, &mesh.Submission{Kind: task.KindTask, Agent: "a", Instruction: "late", Deadline: time.Now().Add(time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		close(begin)
		time.Sleep(20 * time.Second)
		for _, id := range ids {
			want := task.Completed
			if id == cancel {
				want = task.Canceled
			}
			if got, err := m.core.Tasks.Get(ctx, who, id); err != nil || got.Status != want {
				t.Errorf("%s: %s, %v", id, got.Status, err)
			} else if id == retry && got.Attempt != 2 {
				t.Errorf("retried: %d attempts", got.Attempt)
			}
		}
		if got, err := m.core.Tasks.Get(ctx, who, late.TaskID); err != nil || got.Status != task.Failed || got.Error.Code != task.CodeDeadlineExceeded {
			t.Errorf("late: %+v, %v", got, err)
		}
		if n := m.Queued(); n != 0 {
			t.Errorf("%d messages are left", n)
		}
		stop()
	})
}

// A worker that ends while tasks wait in bulk leaves none behind, and none runs twice.
func TestTasksInBulkOutliveTheirWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newCrowdedMesh(t, 300*time.Millisecond)
		stop := m.Work(m.agent(2, 0))
		ids := m.accept("big", 40)
		time.Sleep(2 * time.Second)
		stop()
		if m.inBulk() == 0 {
			t.Error("nothing waits in bulk")
		}
		stop = m.Work(m.agent(2, 0))
		time.Sleep(20 * time.Second)
		for _, id := range ids {
			got, err := m.core.Tasks.Get(t.Context(), auth.Caller{Tenant: "big"}, id)
			if err != nil || got.Status != task.Completed || got.Attempt != 1 {
				t.Errorf("%s: %+v, %v", id, got, err)
			}
		}
		if n := m.count(); n != len(ids) {
			t.Errorf("%d attempts of %d tasks", n, len(ids))
		}
		stop()
	})
}

// The consumer of what is in bulk is made again where somebody deletes it.
func TestTheConsumerOfBulkIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newCrowdedMesh(t, 300*time.Millisecond)
		stop := m.Work(m.agent(1, 0))
		m.accept("big", 20)
		time.Sleep(time.Second)
		m.DeleteConsumer(topology.Tasks, topology.BulkDurable("a"))
		time.Sleep(2 * time.Minute)
		if n := m.count(); n != 20 {
			t.Errorf("%d tasks ran", n)
		}
		stop()
	})
}
