package task

import (
	"cmp"
	"math"
	"slices"
)

// EventType names what a change of a record means to a reader.
type EventType string

// The types of events.
const (
	EventStatus    EventType = "status"
	EventProgress  EventType = "progress"
	EventMilestone EventType = "milestone"
	EventStep      EventType = "step" // of the journal, not of the record
)

// Event is one thing that happened to a task, as its record tells it.
type Event struct {
	// ID orders the events of a task and resumes a reader: the revision in which
	// it was written, whenever it is read. Milestones and progress that were
	// written together share theirs.
	ID         uint64
	Type       EventType
	Transition Transition // of a status event
	Milestone  Milestone  // of a milestone event
	Output     int64      // bytes of output text that came before it
	Latest     bool       // the record still looks as this event left it

	rank int // among those with one ID
}

// Events reads what happened after revision seen from the record t, in the order
// in which the agent did it. Because the record itself keeps its transitions and
// milestones, a reader that missed any number of revisions misses no event: only
// progress collapses into its newest value. The id of the last event of an
// unfinished task is t.Rev. A reader may resume from any id, once it has every
// event with it.
//
// A record that is not stored yet (t.Rev == 0) has no events, nor has one that
// only says that a turn was accepted.
func Events(t *Task, seen uint64) []Event {
	if t.Rev <= seen || t.Status == Pending && len(t.Transitions) == 0 {
		return nil
	}
	var events []Event
	add := func(e Event, after, rev uint64) {
		switch {
		case rev > 0:
			e.ID = rev
		case after == t.Replaces:
			e.ID = t.Rev
		default: // of an earlier mesh: a lower bound
			e.ID = after + 1
		}
		if e.ID > seen {
			events = append(events, e)
		}
	}
	for _, tr := range t.Transitions {
		e := Event{Type: EventStatus, Transition: tr, Output: tr.Output}
		if tr.Status != Processing {
			e.rank = math.MaxInt
		}
		add(e, tr.After, tr.Rev)
	}
	for _, m := range t.Milestones {
		add(Event{Type: EventMilestone, Milestone: m, Output: m.Output, rank: 2 * m.N}, m.After, m.Rev)
	}
	if r := t.Reported; r != nil {
		add(Event{Type: EventProgress, Output: r.Output, Latest: true, rank: 2*r.Milestone + 1}, r.After, r.Rev)
	}
	slices.SortStableFunc(events, func(a, b Event) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.rank, b.rank)) })
	n := len(events)
	switch {
	case t.Status.Terminal(): // other news are annotations
		if n > 0 {
			events[n-1].Latest = true
		}
	case n > 0 && events[n-1].ID == t.Rev:
		events[n-1].Latest = true
	default:
		events = append(events, Event{ID: t.Rev, Type: EventProgress, Output: t.OutputBytes, Latest: true})
	}
	return events
}

// Annotation reports whether this version of a finished record only adds to it
// when its agent was seen to end. It tells no event: the outcome is what an
// earlier version told.
func (t *Task) Annotation() bool {
	n := len(t.Transitions)
	return t.Status.Terminal() && n > 0 && t.Replaces > t.Transitions[n-1].After
}

// OutputChunk is a piece of a task's output text as it is sent live. Offset is
// its place in the whole output, in bytes, so that a reader can join it with
// the part in the record.
type OutputChunk struct {
	Attempt int    `json:"attempt"` // that wrote it
	Offset  int64  `json:"offset"`
	Text    string `json:"text"`
	// Rewinds and From are those of the record, as they were when the piece was sent.
	Rewinds int   `json:"rewinds,omitempty"`
	From    int64 `json:"from,omitempty"`
	// Thought is reasoning in the place of output: it is shown live and kept nowhere.
	// ThoughtAt is where it stands in the reasoning of its answer.
	Thought   string `json:"thought,omitempty"`
	ThoughtAt int64  `json:"thought_at,omitempty"`
}
