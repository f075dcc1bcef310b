package schedule

import "time"

// Next is the first time after t that the expression names in loc, and whether
// there is one within ten years.
//
// An hour of * or */n follows the time that passes: a repeated hour counts twice,
// a skipped one not at all. Any other hour follows the clock on the wall: each of
// its times comes once a day. Of a time that the clock shows twice it is the
// first; a time that the clock skips is due when the gap ends, and several in one
// gap are due once.
func (c Cron) Next(t time.Time, loc *time.Location) (time.Time, bool) {
	t = t.In(loc)
	if c.anyHour {
		return c.nextPassing(t)
	}
	local := bare(t).Truncate(time.Minute)
	end := local.AddDate(horizon, 0, 0)
	for {
		var ok bool
		if local, ok = c.next(local, end); !ok {
			return time.Time{}, false
		}
		if at, _ := onWall(local, loc); at.After(t) {
			return at, true
		}
		local = local.Add(time.Minute)
	}
}

// nextPassing follows the time that passes: it looks through one span of a single
// offset after the other.
func (c Cron) nextPassing(t time.Time) (time.Time, bool) {
	limit := t.AddDate(horizon, 0, 0)
	after := t.Truncate(time.Second).Add(time.Second)
	for after.Before(limit) {
		_, end := after.ZoneBounds()
		if end.IsZero() || end.After(limit) {
			end = limit
		}
		shift := bare(after).Sub(after.UTC())
		if local, ok := c.next(bare(after), end.UTC().Add(shift)); ok {
			return local.Add(-shift).In(t.Location()), true
		}
		after = end
	}
	return time.Time{}, false
}

// bare is what the clock of t shows, as a time in UTC.
func bare(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// onWall is when the clock in loc shows local for the first time; skipped: it
// never does, and this is when it jumps over it.
func onWall(local time.Time, loc *time.Location) (at time.Time, skipped bool) {
	// The offsets that may hold are those of a day before and of a day after: no
	// zone is further than 14 hours from UTC, and none changes twice in between.
	before, after := local.Add(-26*time.Hour).In(loc), local.Add(26*time.Hour).In(loc)
	for _, near := range []time.Time{before, after} {
		_, offset := near.Zone()
		guess := local.Add(-time.Duration(offset) * time.Second).In(loc)
		if bare(guess).Equal(local) && (at.IsZero() || guess.Before(at)) {
			at = guess
		}
	}
	if !at.IsZero() {
		return at, false
	}
	_, offset := before.Zone()
	at, _ = local.Add(-time.Duration(offset) * time.Second).In(loc).ZoneBounds()
	return at, true
}

// Note says in words what a change of the clock does to the expression on the day
// of at, which Next has returned; empty: nothing.
func (c Cron) Note(at time.Time) string {
	if c.anyHour {
		return ""
	}
	year, month, day := at.Date()
	midnight := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	for local := midnight; ; local = local.Add(time.Minute) {
		var ok bool
		if local, ok = c.next(local, midnight.AddDate(0, 0, 1)); !ok {
			return ""
		}
		when, skipped := onWall(local, at.Location())
		if !when.Equal(at) {
			continue
		}
		if skipped {
			return local.Format("15:04") + " does not exist on " + local.Format(time.DateOnly) + ": runs at " + at.Format("15:04")
		}
		if shownAgain(local, at) {
			return local.Format("15:04") + " comes twice on " + local.Format(time.DateOnly) + ": runs the first time"
		}
		return ""
	}
}

// shownAgain reports whether the clock shows local once more after at.
func shownAgain(local, at time.Time) bool {
	_, end := at.ZoneBounds()
	if end.IsZero() {
		return false
	}
	_, offset := end.Zone()
	second := local.Add(-time.Duration(offset) * time.Second).In(at.Location())
	return !second.Before(end) && second.After(at) && bare(second).Equal(local)
}

// Every is the first time after t that is a whole number of intervals from
// anchor. The interval must be positive.
func Every(interval time.Duration, anchor, t time.Time) time.Time {
	if t.Before(anchor) {
		return anchor
	}
	return anchor.Add((t.Sub(anchor)/interval + 1) * interval)
}
