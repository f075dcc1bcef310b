package task_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"agentmesh/shared/task"
)

// history is a record's life as the store writes it: each write has a revision
// of its own, with gaps, since other tasks share the stream.
type history struct {
	t        *task.Task
	versions []*task.Task
	want     []string // transitions and milestones in order
}

func (h *history) write(rng *rand.Rand, change func(*task.Task)) {
	next := h.t.Clone()
	change(next)
	next.Place()
	next.Rev = h.t.Rev + 1 + rng.Uint64N(3)
	h.t = next
	h.versions = append(h.versions, next)
}

func randomHistory(rng *rand.Rand) *history {
	h := &history{t: &task.Task{ID: id, Status: task.Pending, Rev: 0}}
	for range rng.IntN(20) {
		switch rng.IntN(3) {
		case 0:
			to := task.States[rng.IntN(len(task.States))]
			if task.Allowed(h.t.Status, to) != nil {
				continue
			}
			h.write(rng, func(t *task.Task) {
				if err := t.To(to, at); err != nil {
					panic(err)
				}
			})
			h.want = append(h.want, "status "+string(to))
		case 1:
			if h.t.Rev == 0 || h.t.Status != task.Processing {
				continue
			}
			h.write(rng, func(t *task.Task) {
				m := task.Milestone{N: len(t.Milestones) + 1, After: t.Rev}
				t.Milestones = append(t.Milestones, m)
			})
			h.want = append(h.want, fmt.Sprintf("milestone %d", len(h.t.Milestones)))
		case 2:
			if h.t.Rev == 0 {
				continue
			}
			h.write(rng, func(t *task.Task) {
				if t.Status.Terminal() {
					t.StoppedAt = at // the one annotation that a finished record gets
				} else {
					t.Message = "progress"
				}
			})
		}
	}
	return h
}

// A reader that sees only some of the versions, and is cut after any event,
// sees every transition and every milestone once and in order.
func TestEventsMissNothing(t *testing.T) {
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		h := randomHistory(rng)
		var got []string
		var seen uint64
		for i, version := range h.versions {
			last := i == len(h.versions)-1
			for rounds := 0; last && rounds < 40 || rounds == 0 && rng.IntN(2) == 0; rounds++ {
				events := task.Events(version, seen)
				if cut := rng.IntN(len(events) + 1); !last || rounds < 10 {
					events = events[:cut] // the connection breaks here
				}
				for _, e := range events {
					if e.ID <= seen {
						t.Fatalf("seed %d: event %d after %d", seed, e.ID, seen)
					}
					seen = e.ID
					switch e.Type {
					case task.EventStatus:
						got = append(got, "status "+string(e.Transition.Status))
					case task.EventMilestone:
						got = append(got, fmt.Sprintf("milestone %d", e.Milestone.N))
					}
				}
			}
		}
		if !slices.Equal(got, h.want) {
			t.Fatalf("seed %d: saw %v\nof %v", seed, got, h.want)
		}
	}
}

// The newest event of an unfinished task has the record's own revision, so that
// a reader which has it is up to date; an annotation is no event.
func TestEventsEndAtTheRevision(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 2))
		for _, version := range randomHistory(rng).versions {
			events := task.Events(version, 0)
			if len(events) == 0 || !events[len(events)-1].Latest || events[len(events)-1].ID != version.Rev && !version.Annotation() {
				t.Fatalf("seed %d: revision %d of a %s task ends with %+v", seed, version.Rev, version.Status, events)
			}
			if more := task.Events(version, events[len(events)-1].ID); more != nil {
				t.Fatalf("seed %d: a reader that is up to date gets %+v", seed, more)
			}
		}
	}
	done := &task.Task{Status: task.Canceled, Rev: 9, Replaces: 7, Transitions: []task.Transition{{Status: task.Canceled, After: 5}}}
	if events := task.Events(done, 7); events != nil {
		t.Errorf("stopped_at is told as %+v", events)
	}
}

// An event has one id, whichever version of the record it is read from: the
// revision that it was written in.
func TestAnEventHasOneID(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 3))
		ids := map[string]uint64{}
		for _, version := range randomHistory(rng).versions {
			for i, e := range task.Events(version, 0) {
				name := fmt.Sprint(e.Type, e.Milestone.N)
				if e.Type == task.EventStatus {
					name = fmt.Sprint(e.Transition.Status, e.Transition.After)
				} else if e.Type == task.EventProgress {
					continue // there is the newest only
				}
				if was, known := ids[name]; known && was != e.ID || !known && e.ID != version.Rev {
					t.Fatalf("seed %d: event %d (%s) has id %d at revision %d, had %d", seed, i, name, e.ID, version.Rev, was)
				}
				ids[name] = e.ID
			}
		}
	}
}

// Events of one revision are in the order in which the agent told them, and it
// does not matter that a write was given up which was stored all the same.
func TestEventsOfOneRevisionHaveTheAgentsOrder(t *testing.T) {
	r := &task.Task{ID: id, Status: task.Pending, Attempt: 1}
	write := func(change func(*task.Task)) {
		t.Helper()
		r = r.Clone()
		change(r)
		r.Place()
		r.Rev += 10
	}
	percent := 40
	tell := func(t *task.Task) {
		t.AddMilestone(task.Milestone{Name: "a"})
		t.AddMilestone(task.Milestone{Name: "b"})
		t.Percent, t.Reported = &percent, &task.Report{After: t.Rev, Milestone: 1}
	}
	write(func(t *task.Task) { _ = t.To(task.Processing, at) })
	unheard := r.Clone()
	write(tell)
	names := func(r *task.Task, seen uint64) (all []string) {
		for _, e := range task.Events(r, seen) {
			all = append(all, fmt.Sprint(e.ID, " ", e.Type, e.Milestone.Name, e.Transition.Status))
		}
		return all
	}
	want := []string{"10 statusprocessing", "20 milestonea", "20 progress", "20 milestoneb"}
	if got := names(r, 0); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	// The writer never heard that it was stored, and writes it again with more.
	stored := r
	tell(unheard)
	_ = unheard.To(task.Failed, at)
	unheard.Rebase(stored)
	unheard.Place()
	unheard.Rev = 30
	want = []string{"10 statusprocessing", "20 milestonea", "20 milestoneb", "30 statusfailed"}
	if got := names(unheard, 0); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := names(unheard, 20); !slices.Equal(got, want[3:]) {
		t.Errorf("after 20: %v", got)
	}
}
