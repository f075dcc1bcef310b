package schedule

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the same zones on every gateway, whatever the image has

	"agentmesh/shared/task"
)

// Bounds of a specification.
const (
	MinEvery    = time.Second
	MaxEvery    = 366 * 24 * time.Hour
	maxCrons    = 16
	maxExclude  = 366
	maxWindow   = 30 * 24 * time.Hour
	maxCatchUp  = 1000
	maxName     = 64
	maxNote     = 256
	defaultMax  = 100
	defaultLate = 24 * time.Hour
	// onTime is how late a time may be noticed without having been missed: a
	// restart takes that long.
	onTime = 30 * time.Second
)

// A schedule lies between these times. Those of an alarm and the distances between
// times are counted in nanoseconds, which do not reach further than 292 years.
var (
	Earliest = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	Latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// Within reports whether a time is one that a schedule may name.
func Within(t time.Time) bool { return !t.Before(Earliest) && t.Before(Latest) }

// Fault is what is wrong with a field, which a JSON pointer names.
type Fault struct{ Pointer, Detail string }

// WithDefaults fills in what the owner has left out.
func (s Spec) WithDefaults() Spec {
	if s.Timezone == "" {
		s.Timezone = "UTC"
	}
	if s.Overlap == "" {
		s.Overlap = Skip
	}
	if s.CatchUp.Policy == "" {
		s.CatchUp.Policy = One
	}
	if s.CatchUp.Window == 0 {
		s.CatchUp.Window = task.Duration(defaultLate)
	}
	if s.CatchUp.Max == 0 {
		s.CatchUp.Max = defaultMax
	}
	return s
}

// Rule is the times of a specification, ready to be asked.
type Rule struct {
	crons   []Cron
	every   time.Duration
	anchor  time.Time
	loc     *time.Location
	exclude map[string]bool
	start   time.Time
	end     time.Time
}

// Rule reads the times of a specification with its defaults. created is the anchor
// of an interval that has none. All faults are reported together.
func (s Spec) Rule(created time.Time) (Rule, []Fault) {
	var faults []Fault
	fault := func(pointer, format string, args ...any) {
		faults = append(faults, Fault{pointer, fmt.Sprintf(format, args...)})
	}
	r := Rule{every: time.Duration(s.Every), anchor: s.Anchor, start: s.StartAt, end: s.EndAt, exclude: map[string]bool{}, loc: time.UTC}
	if r.anchor.IsZero() {
		r.anchor = created
	}
	switch {
	case len(s.Cron) > 0 && s.Every != 0:
		fault("/every", "send cron or every, not both")
	case len(s.Cron) == 0 && s.Every == 0:
		fault("/cron", `a schedule needs cron, such as ["0 2 * * *"], or every, such as "90s"`)
	case s.Every != 0 && (r.every < MinEvery || r.every > MaxEvery):
		fault("/every", `it must be a duration such as "90s" or "24h", 1s to 8784h`)
	case len(s.Cron) > maxCrons:
		fault("/cron", "there are %d expressions, allowed are %d", len(s.Cron), maxCrons)
	}
	for i, expr := range s.Cron[:min(len(s.Cron), maxCrons)] {
		c, err := ParseCron(expr)
		if err != nil {
			fault("/cron/"+strconv.Itoa(i), "%s", task.Clip(err.Error(), 512))
		}
		r.crons = append(r.crons, c)
	}
	loc, err := time.LoadLocation(s.Timezone)
	if err != nil || strings.EqualFold(s.Timezone, "local") {
		fault("/timezone", "%q is no time zone; write one of the IANA database, such as Europe/Berlin", task.Clip(s.Timezone, 64))
	} else {
		r.loc = loc
	}
	if len(s.Exclude) > maxExclude {
		fault("/exclude", "there are %d days, allowed are %d", len(s.Exclude), maxExclude)
	}
	for i, day := range s.Exclude[:min(len(s.Exclude), maxExclude)] {
		if _, err := time.Parse(time.DateOnly, day); err != nil {
			fault("/exclude/"+strconv.Itoa(i), `it must be a day such as "2026-12-25"`)
		}
		r.exclude[day] = true
	}
	for _, named := range []struct {
		pointer string
		at      time.Time
	}{{"/anchor", s.Anchor}, {"/start_at", s.StartAt}, {"/end_at", s.EndAt}} {
		if !named.at.IsZero() && !Within(named.at) {
			fault(named.pointer, "it must lie between 1970 and 2199")
		}
	}
	if !s.EndAt.IsZero() && !s.EndAt.After(s.StartAt) {
		fault("/end_at", "it must be after start_at")
	}
	return r, faults
}

// Check returns what is wrong with a specification that has its defaults, but for
// the task itself, which the mesh checks as any other.
func (s Spec) Check(created time.Time) []Fault {
	rule, faults := s.Rule(created)
	fault := func(pointer, format string, args ...any) {
		faults = append(faults, Fault{pointer, fmt.Sprintf(format, args...)})
	}
	if len(s.Name) > maxName || strings.ContainsFunc(s.Name, func(c rune) bool { return c < ' ' }) || strings.HasPrefix(s.Name, prefix) {
		fault("/name", "it has at most %d bytes, no control characters, and does not begin like an id", maxName)
	}
	switch {
	case s.Task == nil && s.Message == nil:
		fault("/task", "a schedule needs a task to start, or a message to say in a session")
	case s.Task != nil && s.Message != nil:
		fault("/message", "send task or message, not both")
	}
	if !slices.Contains([]Overlap{Skip, Queue, QueueAll, CancelRunning, Allow}, s.Overlap) {
		fault("/overlap", "it must be skip, queue, queue_all, cancel_running or allow")
	}
	if !slices.Contains([]Policy{One, All, None}, s.CatchUp.Policy) {
		fault("/catch_up/policy", "it must be one, all or none")
	}
	if w := time.Duration(s.CatchUp.Window); w < 0 || w > maxWindow {
		fault("/catch_up/window", `it must be a duration such as "24h", at most 720h`)
	}
	if s.CatchUp.Max < 1 || s.CatchUp.Max > maxCatchUp {
		fault("/catch_up/max", "it must be 1 to %d", maxCatchUp)
	}
	if s.MaxRuns < 0 {
		fault("/max_runs", "it must not be negative; leave it out for any number")
	}
	if s.PauseAfterFailures < 0 {
		fault("/pause_after_failures", "it must not be negative; leave it out to go on whatever happens")
	}
	if len(faults) == 0 {
		if shortest := rule.shortest(created); time.Duration(s.Jitter) < 0 || time.Duration(s.Jitter) > shortest/2 {
			fault("/jitter", "it must be at most half of the shortest distance between two runs, %v", shortest/2)
		}
	}
	return faults
}

// shortest is the shortest distance between two times that follow each other, of
// the next hundred.
func (r Rule) shortest(from time.Time) time.Duration {
	least := MaxEvery
	at, ok := r.Next(from)
	for range 100 {
		next, more := r.Next(at)
		if !ok || !more {
			break
		}
		least, at = min(least, next.Sub(at)), next
	}
	return least
}

// Next is the first time after t, and whether there is one.
func (r Rule) Next(t time.Time) (time.Time, bool) {
	if t.Before(r.start) {
		t = r.start.Add(-1)
	}
	limit := t.AddDate(horizon, 0, 0)
	if !r.end.IsZero() && r.end.Before(limit) {
		limit = r.end
	}
	for {
		at, ok := r.next(t)
		if !ok || !at.Before(limit) {
			return time.Time{}, false
		}
		if !r.exclude[at.In(r.loc).Format(time.DateOnly)] {
			return at, true
		}
		t = at
	}
}

// next is Next without bounds and exceptions.
func (r Rule) next(t time.Time) (first time.Time, found bool) {
	if r.every > 0 {
		return Every(r.every, r.anchor, t).In(r.loc), true
	}
	for _, c := range r.crons {
		if at, ok := c.Next(t, r.loc); ok && (!found || at.Before(first)) {
			first, found = at, true
		}
	}
	return first, found
}

// Note says in words what a change of the clock does to a time that Next returned;
// empty: nothing.
func (r Rule) Note(at time.Time) string {
	for _, c := range r.crons {
		if next, ok := c.Next(at.Add(-1), r.loc); ok && next.Equal(at) {
			if note := c.Note(next); note != "" {
				return note
			}
		}
	}
	return ""
}

// Coming are the next n times after t.
func (r Rule) Coming(t time.Time, n int) (times []time.Time) {
	for at, ok := r.Next(t); ok && len(times) < n; at, ok = r.Next(at) {
		times = append(times, at)
	}
	return times
}

// maxBetween bounds the times that are looked at after a long absence: those
// before are counted as missed by their number only.
const maxBetween = 100_000

// Due is what of the times after last, up to now, is to run, the oldest first, and
// which were missed: the newest MaxRunsKept of these, and how many they are.
func (r Rule) Due(last, now time.Time, c CatchUp) (run, missed []time.Time, count int) {
	var times []time.Time
	for at, ok := r.Next(last); ok && !at.After(now); at, ok = r.Next(at) {
		if times = append(times, at); len(times) > 2*maxBetween {
			count += maxBetween
			times = slices.Delete(times, 0, maxBetween)
		}
	}
	keep := 1
	if c.Policy == All {
		keep = c.Max
	}
	late := time.Duration(c.Window)
	if c.Policy == None {
		late = onTime
	}
	first := len(times)
	for first > 0 && len(times)-first < keep && now.Sub(times[first-1]) <= late {
		first--
	}
	missed = times[:first]
	count += len(missed)
	return times[first:], missed[max(0, len(missed)-MaxRunsKept):], count
}

// Delay is how much after its time a run begins: less than jitter, and the same
// wherever it is asked for.
func Delay(id ID, at time.Time, jitter time.Duration) time.Duration {
	if jitter <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s %d", id, at.UnixMilli())
	return time.Duration(h.Sum64() % uint64(jitter)).Truncate(time.Millisecond)
}
