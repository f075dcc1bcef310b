package event

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"agentmesh/shared/schedule"
	"agentmesh/shared/task"
)

const kindSchedule = "schedule"

// What happens to a schedule and starts no task.
const (
	ScheduleSkipped Type = kindSchedule + ".skipped" // a due time does not run, by the overlap policy
	ScheduleMissed  Type = kindSchedule + ".missed"  // nobody was there to run a due time
	SchedulePaused  Type = kindSchedule + ".paused"  // by its owner, or because its runs fail
)

// ScheduleTypes lists them.
func ScheduleTypes() []Type { return []Type{ScheduleSkipped, ScheduleMissed, SchedulePaused} }

// scheduleBody is the wire form of an event of a schedule.
type scheduleBody struct {
	Type        Type              `json:"type"`
	ScheduleID  schedule.ID       `json:"schedule_id"`
	Name        string            `json:"name,omitempty"`
	Agent       string            `json:"agent,omitempty"`
	ScheduledAt time.Time         `json:"scheduled_at,omitzero"`
	Reason      string            `json:"reason,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Timestamp   time.Time         `json:"timestamp"`
}

// OfSchedule reads the events of s that its record still tells, that want asks for
// and that are not older than since, oldest first. A record keeps its newest runs
// for years, so that there is no telling them without such a bound.
func OfSchedule(s *schedule.Schedule, since time.Time, want func(Type) bool) (events []Event, err error) {
	add := func(typ Type, id string, at, due time.Time, reason string) {
		if err != nil || at.Before(since) || !want(typ) {
			return
		}
		e := Event{ID: string(s.ID) + "-" + id, Type: typ, At: at}
		b := scheduleBody{Type: typ, ScheduleID: s.ID, Name: s.Name, Agent: s.Agent(), ScheduledAt: due, Reason: reason, Timestamp: at}
		if s.Task != nil {
			b.Labels = s.Task.Labels
		}
		if e.Body, err = task.Marshal(b); err != nil {
			err = fmt.Errorf("write event %s: %w", e.ID, err)
		}
		events = append(events, e)
	}
	for _, r := range s.Runs {
		slot := strconv.FormatInt(r.At.UnixMilli(), 10)
		switch r.Outcome {
		case schedule.Skipped:
			add(ScheduleSkipped, "skipped-"+slot, r.Decided, r.At, r.Reason)
		case schedule.Missed:
			add(ScheduleMissed, "missed-"+slot, r.Decided, r.At, r.Reason)
		}
	}
	for _, p := range s.Pauses {
		add(SchedulePaused, "paused-"+strconv.FormatInt(p.At.UnixMilli(), 10), p.At, time.Time{}, p.Note)
	}
	slices.SortStableFunc(events, func(a, b Event) int { return a.At.Compare(b.At) })
	return events, err
}
