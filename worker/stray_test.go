package worker_test

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
)

// question is a handler that asks one thing.
var question = []node{{kind: "ask", name: "q"}}

// between is a worker of the agent that asks; f comes between the record of its first
// suspension and the schedule of it.
func (m *cutMesh) between(l *ledger, f func(task.ID)) (stop func()) {
	wire, met := &meshtest.Wire{Server: m.Server.Server}, false
	wire.Before = func(subject string) {
		id, later := strings.CutPrefix(subject, "mesh.tasks.later.")
		if !later || met {
			return
		}
		met = true
		f(task.ID(id))
	}
	return m.live(life{l, wire}, question)
}

func (m *cutMesh) say(id task.ID) {
	if _, err := m.core.Tasks.Answer(m.T.Context(), auth.Local(), id, mesh.AnswerRequest{Name: "q", Value: json.RawMessage(`"yes"`)}); err != nil {
		m.T.Errorf("answer: %v", err)
	}
}

// An answer or a cancel that comes while a worker suspends leaves no schedule behind
// that fires in days.
func TestASuspensionThatWasOvertakenLeavesNoSchedule(t *testing.T) {
	for _, canceled := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := newCutMesh(t)
			l := &ledger{runs: map[string]int{}, saw: map[string]int{}}
			defer m.between(l, func(id task.ID) {
				if !canceled {
					m.say(id)
				} else if _, err := m.core.Tasks.Cancel(t.Context(), auth.Local(), id); err != nil {
					t.Errorf("cancel: %v", err)
				}
			})()
			id, want := m.Create(`{"agent":"made","instruction":"x"}`), "completed"
			if canceled {
				want = "canceled"
			}
			if v := m.End(id); string(v.Status) != want || v.Attempt != 1 {
				t.Errorf("canceled %v: %+v %+v", canceled, v, v.Error)
			}
			time.Sleep(5 * time.Minute)
			if n := m.Queued(); n != 0 {
				t.Errorf("canceled %v: %d messages are left", canceled, n)
			}
		})
	}
}

// Nor does one whose worker is killed right after it has scheduled what was overtaken: the
// message that comes again has the schedule fire, which finds nothing to do.
func TestAWorkerThatDiesInAnOvertakenSuspensionLeavesNoSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newCutMesh(t)
		l := &ledger{runs: map[string]int{}, saw: map[string]int{}}
		var met atomic.Bool
		wire := &meshtest.Wire{Server: m.Server.Server, After: true}
		wire.Before = func(subject string) {
			if id, later := strings.CutPrefix(subject, "mesh.tasks.later."); later && met.CompareAndSwap(false, true) {
				m.say(task.ID(id))
				wire.Cut = len(wire.Writes()) + 1 // this one
			}
		}
		defer m.live(life{l, wire}, question)()
		id := m.Create(`{"agent":"made","instruction":"x"}`)
		time.Sleep(10 * time.Second)
		if !met.Load() || !wire.Dead() {
			t.Fatal("the worker was not killed")
		}
		defer m.live(life{l, &meshtest.Wire{Server: m.Server.Server}}, question)()
		if v := m.End(id); v.Status != "completed" || v.Attempt != 1 {
			t.Errorf("%+v %+v", v, v.Error)
		}
		time.Sleep(5 * time.Minute)
		if n := m.Queued(); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}

// A worker that publishes its schedule between the steps of an answer, and finds its record
// as it wrote it, leaves none behind either.
func TestAScheduleInTheMiddleOfAnAnswerIsNotLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newCutMesh(t)
		defer m.live(life{&ledger{runs: map[string]int{}, saw: map[string]int{}}, &meshtest.Wire{Server: m.Server.Server}}, question)()
		id := m.Create(`{"agent":"made","instruction":"x"}`)
		asks := record(t, m.Mesh, id, func(r *task.Task) bool { return r.Status == task.InputRequired })
		wire, met := &meshtest.Wire{Server: m.Server.Server}, false
		wire.Before = func(subject string) {
			if strings.HasPrefix(subject, "$KV.tasks.") && !met {
				met = true
				if _, err := m.Store.Tasks.Rearm(t.Context(), asks, time.Now().Add(5*24*time.Hour)); err != nil {
					t.Error(err)
				}
			}
		}
		st, hangUp, err := m.StoreOver(wire)
		if err != nil {
			t.Fatal(err)
		}
		defer hangUp()
		core := mesh.New(st, mesh.Options{Log: meshtest.Quiet()})
		if _, err := core.Tasks.Answer(t.Context(), auth.Local(), task.ID(id), mesh.AnswerRequest{Name: "q", Value: json.RawMessage(`"yes"`)}); err != nil {
			t.Fatal(err)
		}
		if v := m.End(id); v.Status != "completed" || v.Attempt != 1 || !met {
			t.Errorf("%+v %+v", v, v.Error)
		}
		time.Sleep(5 * time.Minute)
		if n := m.Queued(); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}

// A schedule that was left over starts nobody when it fires, whatever its task does.
func TestALeftoverScheduleThatFiresIsHarmless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newCutMesh(t)
		defer m.live(life{&ledger{runs: map[string]int{}, saw: map[string]int{}}, &meshtest.Wire{Server: m.Server.Server}}, question)()
		id := m.Create(`{"agent":"made","instruction":"x"}`)
		stale := record(t, m.Mesh, id, func(r *task.Task) bool { return r.Status == task.InputRequired })
		fire := func() *task.Task {
			if _, err := m.Store.Tasks.Rearm(t.Context(), stale, time.Now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			return record(t, m.Mesh, id, func(*task.Task) bool { return true })
		}
		if r := fire(); r.Status != task.InputRequired || r.Run != 1 || m.Queued() != 1 {
			t.Errorf("while it waits: %+v, %d messages", r, m.Queued())
		}
		m.say(task.ID(id))
		before := m.End(id)
		if r := fire(); r.Status != task.Completed || r.Run != 1 || before.Attempt != r.Attempt {
			t.Errorf("after its end: %+v", r)
		}
		nothingLeft(t, m.Mesh)
	})
}
