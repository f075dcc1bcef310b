package travel

import (
	"slices"
	"strings"
	"time"
)

// dates finds the dates of a text and takes them into the trip.
func (w *words) dates(t *trip, h *heard, today time.Time) {
	if w.take("one - way", "one way", "oneway", "no return", "not coming back", "single ticket") {
		t.OneWay, t.Return, t.Nights = true, "", 0
	} else if w.take("round trip", "round - trip", "roundtrip", "return trip", "return ticket", "return flight") {
		t.OneWay = false
	}
	var said []spoken
	for i := range w.all {
		if strings.Contains(w.at(i), "/") {
			if _, n := w.dateAt(i); n == 0 {
				h.fault("I am not sure which number of %s is the month: say it like May 16 or 2030-05-16.", w.at(i))
			}
		}
		// "for two weeks", but not "in two weeks", which is a date.
		if days, n := w.span(i); n > 0 && w.said(i-1) != "in" {
			w.use(i, i+n)
			t.OneWay, t.Return, t.Nights = false, "", days
			continue
		}
		d, n := w.dateAt(i)
		if n == 0 {
			continue
		}
		s := spoken{when: d, role: w.role(i, len(said) > 0)}
		denied := w.denied(i)
		if w.use(i, i+n); !denied {
			said = append(said, s)
		} else if at, fault := d.on(today, t.near(d, today)); fault == "" && at.Format(layout) == t.Depart {
			w.hint = starts
		} else if at, fault := d.on(today, t.near(d, today)); fault == "" && at.Format(layout) == t.Return {
			w.hint = ends
		}
	}
	w.vague(h)
	if w.hint == bare && t.Return == "" && w.corrects() {
		w.hint = starts // "no, the 12th" while the return is asked for
	}
	t.take(h, said, w.hint, today)
}

// vague asks back for the day of a month that stands alone. May is a verb, too.
func (w *words) vague(h *heard) {
	for i := range w.all {
		if month := monthOf(w.at(i)); month > 0 && (w.said(i-1) == "in" || len(w.all) == 1) {
			h.fault("Which day of %s?", time.Month(month))
			w.use(i, i+1)
		}
	}
}

// role is which of the two dates of a trip is meant.
type role int

const (
	bare role = iota
	starts
	ends
)

// spoken is a date with what the words before it say of it.
type spoken struct {
	when
	role role
}

// role of the date at i; later: it is not the first of the text.
func (w *words) role(i int, later bool) role {
	prior, at := w.before(i)
	if prior == "on" || prior == "to" && !later || prior == "date" || prior == "is" || prior == "by" {
		if p, _ := w.before(at); slices.Contains(returning, p) || slices.Contains(leaving, p) {
			prior = p // back on May 16
		}
	}
	switch {
	case slices.Contains(returning, prior), later && (isRange(prior) || prior == "and"):
		return ends
	case slices.Contains(leaving, prior):
		return starts
	}
	return bare
}

// take puts the dates of a text into the trip, departures first. A date that
// stands alone is what was asked for, or what hint says, or else what it can be.
func (t *trip) take(h *heard, said []spoken, hint role, today time.Time) {
	for i := range said {
		switch leaves, known := day(t.Depart); {
		case said[i].role != bare:
		case len(said) > 1 || !known || t.OneWay:
			said[i].role = starts
			if i > 0 {
				said[i].role = ends
			}
		case hint != bare:
			said[i].role = hint
		default:
			at, fault := said[i].on(today, t.near(said[i].when, today))
			if said[i].role = starts; fault == "" && at.After(leaves) {
				said[i].role = ends
			}
		}
	}
	for _, r := range []role{starts, ends} {
		for _, s := range said {
			if s.role == r {
				t.date(h, s.when, r, today)
			}
		}
	}
	t.order(h)
}

// near is the day from which a date counts that has no month: "the 16th" is of
// the month that was spoken of.
func (t *trip) near(d when, today time.Time) time.Time {
	leaves, known := day(t.Depart)
	if !known || d.month != 0 || d.relative || d.weekday != 0 {
		return today
	}
	if first := leaves.AddDate(0, 0, 1-leaves.Day()); first.After(today) {
		return first
	}
	return today
}

// date takes one date.
func (t *trip) date(h *heard, d when, r role, today time.Time) {
	leaves, known := day(t.Depart)
	after := t.near(d, today)
	if r == ends && known {
		after = leaves
	}
	at, fault := d.on(today, after)
	// Without a year it is taken for one in the next, which cannot be meant.
	early := r == ends && known && (!at.After(leaves) || d.year == 0 && d.month > 0 && at.Sub(leaves) > 180*24*time.Hour)
	if fault == "" && !today.IsZero() && !early {
		switch {
		case at.Before(today):
			fault = at.Format("January 2, 2006") + " has passed."
		case at.After(today.AddDate(1, 0, 0)):
			fault = at.Format("January 2, 2006") + " is more than a year ahead."
		}
	}
	switch {
	case fault != "":
		h.fault("%s", fault)
	case early:
		h.fault("You leave on %s, so you cannot come back on %s.", leaves.Format("January 2"), at.Format("January 2"))
	case r == ends:
		t.Return, t.OneWay, t.Nights = at.Format(layout), false, 0
	default:
		t.Depart = at.Format(layout)
	}
}

// order makes departure and return fit.
func (t *trip) order(h *heard) {
	leaves, known := day(t.Depart)
	if known && t.Nights > 0 && !t.OneWay {
		t.Return, t.Nights = leaves.AddDate(0, 0, t.Nights).Format(layout), 0
	}
	if returns, ok := day(t.Return); ok && known && !returns.After(leaves) {
		h.fault("Then you would come back on %s, no later than you leave.", returns.Format("January 2"))
		t.Return = ""
	}
}
