package gateway

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/event"
	"agentmesh/shared/mesh"
)

// scheduleTail reads the events of schedules for one reader of all events: it looks now
// and then whether a schedule has changed, and at their records if so.
type scheduleTail struct {
	mesh   *mesh.Mesh
	who    auth.Caller
	filter event.Filter

	since  time.Time       // older events were told
	told   map[string]bool // of the others, those that were
	newest uint64          // change of a schedule when it looked last
	looked time.Time
}

const (
	tailEvery = time.Second
	// tailBehind is how much later than it happened an event may be in a record.
	tailBehind = 30 * time.Second
)

// newScheduleTail is nil where the reader wants no event of a schedule. since is where a
// reader was that comes back; zero: it begins.
func newScheduleTail(m *mesh.Mesh, who auth.Caller, f event.Filter, since time.Time) *scheduleTail {
	if !slices.ContainsFunc(event.ScheduleTypes(), func(t event.Type) bool { return slices.Contains(f.Types, t) }) {
		return nil
	}
	d := &scheduleTail{mesh: m, who: who, filter: f, since: time.Now(), told: map[string]bool{}}
	if !since.IsZero() && since.Before(d.since) {
		d.since = since.Add(-tailBehind)
	}
	return d
}

// look returns what has happened since it looked last, oldest first.
func (d *scheduleTail) look(ctx context.Context) (found []event.Event, err error) {
	d.looked = time.Now()
	newest, err := d.mesh.Schedules.Newest(ctx)
	if err != nil || newest == d.newest {
		return nil, err
	}
	all, err := d.mesh.Schedules.List(ctx, d.who)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if s.Task != nil && !d.filter.Concerns(s.Task.Labels) || s.Task == nil && len(d.filter.Labels) > 0 {
			continue
		}
		events, err := event.OfSchedule(s, d.since, func(t event.Type) bool { return d.filter.Match(t, s.Agent()) })
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			if !d.told[e.ID] {
				d.told[e.ID] = true
				found = append(found, e)
			}
		}
	}
	d.newest = newest
	slices.SortStableFunc(found, func(a, b event.Event) int { return a.At.Compare(b.At) })
	return found, nil
}

// place is the id of an event: the change of a task and the time up to which the reader
// has had all. Without a tail it is the change alone.
func (d *scheduleTail) place(rev uint64) string {
	id := strconv.FormatUint(rev, 10)
	if d == nil {
		return id
	}
	at := d.looked
	if at.IsZero() {
		at = d.since
	}
	return id + "." + strconv.FormatInt(at.UnixMilli(), 10)
}

// place reads such an id. What is no number is ignored.
func (r resumed) place() (rev *uint64, since time.Time) {
	first, second, _ := strings.Cut(r.last(), ".")
	n, err := strconv.ParseUint(first, 10, 64)
	if err != nil {
		return nil, since
	}
	if ms, err := strconv.ParseInt(second, 10, 64); err == nil && ms > 0 {
		since = time.UnixMilli(ms)
	}
	return &n, since
}
