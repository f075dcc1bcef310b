package mesh_test

import (
	"slices"
	"testing"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// served registers the agent echo, and has a worker announce that it serves it.
func (h *house) served(bulk bool) {
	h.t.Helper()
	def := task.Definition{Name: "echo"}.WithDefaults()
	if _, err := h.st.Registry.Register(h.t.Context(), def, "wrk_1"); err != nil {
		h.t.Fatal(err)
	}
	p := store.Presence{WorkerID: "wrk_1", StartedAt: time.Now(), Agents: []store.AgentPresence{{Name: "echo", Digest: def.Digest(), Slots: 1, Bulk: bulk}}}
	if err := h.st.Registry.Announce(h.t.Context(), p); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) core() *mesh.Mesh { return mesh.New(h.st, mesh.Options{Log: quiet()}) }

// accepts has a tenant's task accepted, and reports whether it waits in bulk.
func (h *house) accepts(core *mesh.Mesh, tenant string, change func(*mesh.Submission)) (id task.ID, bulk bool) {
	h.t.Helper()
	s := &mesh.Submission{Kind: task.KindTask, Agent: "echo", Instruction: "x"}
	if change != nil {
		change(s)
	}
	a, err := core.Tasks.Accept(h.t.Context(), auth.Caller{Tenant: tenant}, s)
	if err != nil {
		h.t.Fatal(err)
	}
	t, err := h.st.Tasks.Find(h.t.Context(), tenant, a.TaskID)
	if err != nil {
		h.t.Fatal(err)
	}
	return t.ID, t.Bulk
}

// The tasks of a tenant that has many waiting are put in bulk; those of others, the
// children of a task and what is scheduled are not.
func TestTheManyTasksOfATenantWaitInBulk(t *testing.T) {
	h := newHouse(t)
	h.served(true)
	core := h.core()
	ready := 0
	var parent task.ID
	for range 50 {
		id, bulk := h.accepts(core, "big", nil)
		if parent = id; !bulk {
			ready++
		}
	}
	if ready < 1 || ready > 8 {
		t.Errorf("%d of 50 are ready, want a few", ready)
	}
	if _, bulk := h.accepts(core, "small", nil); bulk {
		t.Error("the first task of another tenant is in bulk")
	}
	for what, change := range map[string]func(*mesh.Submission){
		"a child":          func(s *mesh.Submission) { s.Parent = parent },
		"a scheduled task": func(s *mesh.Submission) { s.NotBefore = time.Now().Add(time.Hour) },
	} {
		if _, bulk := h.accepts(core, "big", change); bulk {
			t.Errorf("%s is in bulk", what)
		}
	}
}

// Each process that accepts tasks sees what the others have accepted: a tenant does
// not get a few more places from each task that it sends elsewhere.
func TestProcessesAgreeOnWhoHasMany(t *testing.T) {
	h := newHouse(t)
	h.served(true)
	cores := []*mesh.Mesh{h.core(), h.core(), h.core(), h.core()}
	ready := 0
	for i := range 200 {
		if _, bulk := h.accepts(cores[i%4], "big", nil); !bulk {
			ready++
		}
	}
	if ready > 4*8 {
		t.Errorf("%d of 200 are ready", ready)
	}
}

// A tenant that has tasks in bulk gets its next ones behind them, also when none of
// its tasks is ready any more.
func TestTheTasksOfATenantKeepTheirOrderInBulk(t *testing.T) {
	h := newHouse(t)
	h.served(true)
	core := h.core()
	for range 30 {
		h.accepts(core, "big", nil)
	}
	for _, m := range h.take(topology.Tasks, topology.AgentDurable("echo"), 30) {
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		if _, bulk := h.accepts(core, "big", nil); !bulk {
			t.Fatal("a task overtakes those before it")
		}
	}
}

// Where no live worker takes tasks in bulk, all are ready.
func TestNothingIsPutInBulkForWorkersOfBefore(t *testing.T) {
	h := newHouse(t)
	h.served(false)
	core := h.core()
	for range 50 {
		if _, bulk := h.accepts(core, "big", nil); bulk {
			t.Fatal("a task is in bulk")
		}
	}
}

// When the last worker that takes tasks in bulk has gone, those that wait there become
// ready; without a worker they wait on.
func TestTasksInBulkBecomeReadyForWorkersOfBefore(t *testing.T) {
	h := newHouse(t)
	h.served(true)
	core := h.core()
	var ids []task.ID
	for range 30 {
		id, _ := h.accepts(core, "big", nil)
		ids = append(ids, id)
	}
	h.look("a")
	h.served(false)
	if _, bulk := find(h, "big", ids[29]); !bulk {
		t.Fatal("a task that a worker would take was made ready")
	}
	h.look("a")
	var order []task.ID
	for _, m := range h.takeAll(topology.Tasks, topology.AgentDurable("echo"), 30) {
		order = append(order, task.ID(topology.SubjectID(m.Subject())))
	}
	if !slices.Equal(order, ids) {
		t.Errorf("%v\nare ready, want\n%v", order, ids)
	}
	if n := h.messages(topology.Tasks); n != 30 {
		t.Errorf("%d messages, want 30", n)
	}
}

func find(h *house, tenant string, id task.ID) (*task.Task, bool) {
	h.t.Helper()
	t, err := h.st.Tasks.Find(h.t.Context(), tenant, id)
	if err != nil {
		h.t.Fatal(err)
	}
	return t, t.Bulk
}

// A task that the consumer of bulk passed over is queued again, as any other.
func TestTasksLostInBulkAreQueuedAgain(t *testing.T) {
	h := newHouse(t)
	h.served(true)
	var all []*task.Task
	for range 6 {
		one := newTask(task.KindTask, time.Minute)
		one.Bulk = true
		h.queue(one)
		all = append(all, one)
	}
	if _, err := h.js().ResetConsumerToSequence(t.Context(), topology.Tasks, topology.BulkDurable("echo"), 3); err != nil {
		t.Fatal(err)
	}
	h.restart()
	h.takeAll(topology.Tasks, topology.BulkDurable("echo"), 4)
	h.look("a")
	h.arrives(topology.Tasks, topology.AgentDurable("echo"), all[0].ID, all[1].ID)
}
