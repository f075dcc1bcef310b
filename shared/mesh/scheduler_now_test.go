package mesh_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/schedule"
	"agentmesh/shared/task"
	"agentmesh/shared/tenant"
)

// atOnce calls f n times at once and returns what it returned.
func atOnce[T any](n int, f func(i int) T) []T {
	all := make([]T, n)
	var calls sync.WaitGroup
	for i := range n {
		calls.Go(func() { all[i] = f(i) })
	}
	calls.Wait()
	return all
}

// Triggers at the same time, while others change the schedule, are each decided by the
// policy: what is answered, what is recorded and what runs are the same.
func TestTriggersAtOnceAreEachDecidedByThePolicy(t *testing.T) {
	const n = 12
	for overlap, want := range map[schedule.Overlap]map[schedule.Outcome]int{
		schedule.Skip:          {schedule.Fired: 1, schedule.Skipped: n - 1},
		schedule.Allow:         {schedule.Fired: n},
		schedule.Queue:         {schedule.Fired: 1, schedule.Waiting: 1, schedule.Skipped: n - 2},
		schedule.QueueAll:      {schedule.Fired: 1, schedule.Waiting: n - 1},
		schedule.CancelRunning: {schedule.Fired: n},
	} {
		inTime(t, 1, func(h *timed) {
			s := h.create(hourly(func(s *schedule.Spec) { s.Overlap = overlap }))
			answers := map[schedule.Outcome]int{}
			fired := map[task.ID]bool{}
			for i, r := range atOnce(2*n, func(i int) any {
				if i%2 == 1 {
					_, err := h.core.Schedules.Update(h.t.Context(), auth.Local(), string(s.ID), nil, func(s *schedule.Spec) []mesh.Invalid {
						s.Exclude = []string{fmt.Sprintf("2001-01-%02d", i)}
						return nil
					})
					return err
				}
				r, err := h.core.Schedules.Trigger(h.t.Context(), auth.Local(), string(s.ID))
				if err != nil {
					return err
				}
				return r
			}) {
				switch r := r.(type) {
				case error:
					t.Errorf("%s: call %d: %v", overlap, i, r)
				case schedule.Run:
					if answers[r.Outcome]++; r.Outcome == schedule.Fired {
						fired[r.TaskID] = true
					}
				}
			}
			if fmt.Sprint(answers) != fmt.Sprint(want) {
				t.Errorf("%s: answers %v, want %v", overlap, answers, want)
			}
			open := 0
			tasks := h.all()
			for _, one := range tasks {
				if !fired[one.ID] {
					t.Errorf("%s: %s runs, and nobody was told so", overlap, one.ID)
				}
				if !one.Status.Terminal() {
					open++
				}
			}
			if len(tasks) != want[schedule.Fired] || overlap == schedule.CancelRunning && open != 1 {
				t.Errorf("%s: %d tasks, %d of them open", overlap, len(tasks), open)
			}
			if c := h.read(s.ID).Counts; c.Fired != want[schedule.Fired] || c.Skipped != want[schedule.Skipped] {
				t.Errorf("%s: counted as %+v", overlap, c)
			}
		})
	}
}

// What waits is no reason to fall over for a schedule that does not let anything wait
// any more.
func TestATriggerBesideWhatStillWaitsIsSkipped(t *testing.T) {
	inTime(t, 1, func(h *timed) {
		s := h.create(hourly(func(s *schedule.Spec) { s.Overlap = schedule.Queue }))
		trigger := func() schedule.Run {
			t.Helper()
			h.pass(time.Millisecond)
			r, err := h.core.Schedules.Trigger(h.t.Context(), auth.Local(), string(s.ID))
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		first := trigger()
		if r := trigger(); r.Outcome != schedule.Waiting {
			t.Fatalf("the second is %+v", r)
		}
		if _, err := h.core.Tasks.Cancel(h.t.Context(), auth.Local(), first.TaskID); err != nil {
			t.Fatal(err)
		}
		if _, err := h.core.Schedules.Update(h.t.Context(), auth.Local(), string(s.ID), nil, func(s *schedule.Spec) []mesh.Invalid {
			s.Overlap = schedule.Skip
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if r := trigger(); r.Outcome != schedule.Skipped {
			t.Errorf("the third is %+v", r)
		}
		h.pass(time.Minute)
		if len(h.all()) != 2 {
			t.Errorf("runs %s", h.runs(s.ID))
		}
	})
}

// A trigger whose task is not accepted in this moment leaves nothing that would run
// later: its client may ask again.
func TestATriggerThatIsRefusedForNowLeavesNothing(t *testing.T) {
	inTime(t, 1, func(h *timed) {
		s := h.create(hourly(nil))
		full := h.limited(func(l *tenant.Limits) { l.Pending = 1 })
		a, err := full.Tasks.Accept(h.t.Context(), auth.Local(), submission())
		if err != nil {
			t.Fatal(err)
		}
		a.Close()
		h.pass(2 * time.Second) // the count of tasks is that old at most
		if r, err := full.Schedules.Trigger(h.t.Context(), auth.Local(), string(s.ID)); !errors.Is(err, mesh.ErrTooManyPending) {
			h.t.Fatalf("%+v, %v", r, err)
		}
		h.pass(time.Minute)
		if s := h.read(s.ID); len(s.Waits) != 0 || len(s.Runs) != 0 || len(h.all()) != 1 {
			t.Errorf("the schedule has %v and %v", s.Waits, s.Runs)
		}
	})
}
