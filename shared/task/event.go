package task

import (
	"cmp"
	"slices"
)

// EventType names what a change of a record means to a reader.
type EventType string

// The types of events.
const (
	EventStatus    EventType = "status"
	EventProgress  EventType = "progress"
	EventMilestone EventType = "milestone"
)

// Event is one thing that happened to a task, as its record tells it.
type Event struct {
	// ID orders the events of a task and resumes a reader: the revision of the
	// record, or for an event whose own revision is gone a lower bound of it.
	ID         uint64
	Type       EventType
	Transition Transition // of a status event
	Milestone  Milestone  // of a milestone event
	Latest     bool       // the record still looks as this event left it
}

// Events reads what happened after revision seen from the record t, oldest
// first. Because the record itself keeps its transitions and milestones, a
// reader that missed any number of revisions misses no event: only progress
// collapses into its newest value. Event ids grow strictly, and the last one
// is t.Rev, so that a reader may resume from any of them.
//
// A record that is not stored yet (t.Rev == 0) has no events, nor has one that
// only says that a turn was accepted.
func Events(t *Task, seen uint64) []Event {
	if t.Rev <= seen || t.Status == Pending && len(t.Transitions) == 0 {
		return nil
	}
	var events []Event
	for _, tr := range t.Transitions {
		if tr.After >= seen {
			events = append(events, Event{ID: tr.After + 1, Type: EventStatus, Transition: tr})
		}
	}
	for _, m := range t.Milestones {
		if m.After >= seen {
			events = append(events, Event{ID: m.After + 1, Type: EventMilestone, Milestone: m})
		}
	}
	slices.SortStableFunc(events, func(a, b Event) int { return cmp.Compare(a.ID, b.ID) })
	if n := len(events); n > 0 && (t.Status.Terminal() || events[n-1].ID == t.Replaces+1) {
		events[n-1].ID, events[n-1].Latest = t.Rev, true
		return events
	}
	if t.Status.Terminal() { // only an annotation is new
		return nil
	}
	return append(events, Event{ID: t.Rev, Type: EventProgress, Latest: true})
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
	Offset int64  `json:"offset"`
	Text   string `json:"text"`
}
