package mesh_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/schedule"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/tenant"
)

// doomed starts a core that dies at its n-th write, before or after that; stop ends
// it where it lives.
func (h *timed) doomed(n int, after bool) (w *meshtest.Wire, stop func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	w = &meshtest.Wire{Server: h.srv.Server, Cut: n, After: after, Broken: cancel}
	st, hangUp, err := (&meshtest.Mesh{T: h.t, Server: h.srv}).StoreOver(w)
	if err != nil {
		h.t.Fatal(err)
	}
	core := mesh.New(st, mesh.Options{Log: quiet(), Limits: unlimited(func(*tenant.Limits) {}), Keys: meshtest.RingOf(h.t, meshtest.TestKey)})
	ended := make(chan error, 1)
	go func() { ended <- core.Run(ctx) }()
	return w, func() { cancel(); hangUp(); <-ended }
}

// tasksOf are the due times of a schedule's tasks, in order.
func (h *timed) tasksOf(id schedule.ID) (times []string) {
	h.t.Helper()
	for _, t := range h.all() {
		if t.ScheduleID == string(id) {
			times = append(times, t.ScheduledAt.Format("15:04:05"))
		}
	}
	slices.Sort(times)
	return times
}

// Three gateways die, each at the same one of its writes, and a fourth does what they
// left: the set of due times is the set of tasks.
func TestEachDueTimeHasOneTaskWhicheverWriteGatewaysDieAt(t *testing.T) {
	natstest.Long(t)
	synctest.Test(t, func(t *testing.T) {
		h := &timed{house: newHouse(t)}
		h.core = h.limited(func(*tenant.Limits) {})
		died := 0
		for n := 1; n <= 6; n++ {
			for _, after := range []bool{false, true} {
				name := fmt.Sprintf("write %d, after %v", n, after)
				s := h.create(schedule.Spec{
					Every: task.Duration(10 * time.Minute), Task: &schedule.Work{Work: task.Work{Agent: "echo"}, Input: []byte(`1`)},
					Overlap: schedule.Allow, CatchUp: schedule.CatchUp{Policy: schedule.All},
				})
				var wires []*meshtest.Wire
				var stops []func()
				for range 3 {
					w, stop := h.doomed(n, after)
					wires, stops = append(wires, w), append(stops, stop)
				}
				h.pass(45 * time.Minute)
				for i, stop := range stops {
					stop()
					if wires[i].Dead() {
						died++
					}
				}
				h.run(1)
				h.pass(2 * time.Minute)
				h.stop()
				var want []string
				for i := range 4 {
					want = append(want, s.CreatedAt.Add(time.Duration(i+1)*10*time.Minute).Format("15:04:05"))
				}
				if got := h.tasksOf(s.ID); !slices.Equal(got, want) {
					t.Errorf("%s: tasks of %v, want %v", name, got, want)
				}
				if c := h.read(s.ID).Counts; c != (schedule.Counts{Fired: 4}) {
					t.Errorf("%s: counts %+v", name, c)
				}
				if err := h.st.Schedules.Delete(t.Context(), h.read(s.ID)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if died < 24 {
			t.Errorf("only %d of 36 gateways died", died)
		}
	})
}

// A clock that is set back an hour comes by the same times again. A bubble begins at
// the same time as the one before.
func TestAClockThatIsSetBackStartsNothingTwice(t *testing.T) {
	dir := t.TempDir()
	var id schedule.ID
	open := func(t *testing.T) *timed {
		h := &timed{house: &house{t: t, dir: dir}}
		h.start()
		if err := h.st.Consumers.Ensure(t.Context(), store.Queues[0], "echo", 100, lease); err != nil {
			t.Fatal(err)
		}
		return h
	}
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		h.run(3)
		defer func() { h.stop() }()
		id = h.create(hourly(func(s *schedule.Spec) { s.Overlap = schedule.Allow })).ID
		h.pass(2*time.Hour + 5*time.Minute)
		if got := h.runs(id); got != "01:00 fired, 02:00 fired" {
			t.Fatalf("runs %s", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour - 5*time.Minute)
		h := open(t)
		h.run(3)
		defer func() { h.stop() }()
		if err := h.st.Schedules.Arm(t.Context(), h.read(id), time.Now()); err != nil { // as a sweep may
			t.Fatal(err)
		}
		h.pass(2*time.Hour + 10*time.Minute)
		if got := h.runs(id); got != "01:00 fired, 02:00 fired, 03:00 fired" || len(h.tasksOf(id)) != 3 {
			t.Errorf("runs %s, tasks %v", got, h.tasksOf(id))
		}
	})
}
