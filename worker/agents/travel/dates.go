package travel

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const layout = "2006-01-02"

func dayOf(t time.Time) time.Time {
	y, m, d := t.UTC().Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// day reads a date of the state.
func day(text string) (time.Time, bool) {
	t, err := time.Parse(layout, text)
	return t, err == nil
}

// when is a date as it was said. What was left out is 0.
type when struct {
	year, month, day int
	weekday          int // from 1, Sunday
	ahead            int // days from the message
	relative         bool
}

// months and weekdays by their first letters, as far as they are told apart.
var (
	months   = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
	weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
)

// monthOf is the month of a name or its abbreviation, 0 for any other word.
func monthOf(word string) int {
	i := slices.IndexFunc(months, func(m string) bool { return strings.HasPrefix(word, m) })
	if i >= 0 && (strings.HasPrefix(strings.ToLower(time.Month(i+1).String()), word) || word == "sept") {
		return i + 1
	}
	return 0
}

// weekdayOf is the day of a name or its abbreviation, from 1.
func weekdayOf(word string) int {
	i := slices.IndexFunc(weekdays, func(d string) bool { return strings.HasPrefix(word, d) })
	if i >= 0 && strings.HasPrefix(strings.ToLower(time.Weekday(i).String()), word) {
		return i + 1
	}
	return 0
}

// dayNumber reads 16 and 16th.
func dayNumber(word string) (n int, ordinal bool) {
	plain := strings.TrimRight(word, "sthndr")
	n, err := strconv.Atoi(plain)
	if err != nil || n < 1 || len(plain) > 2 {
		return 0, false
	}
	return n, plain != word
}

var digits = regexp.MustCompile(`^(\d+)([-./])(\d+)[-./]?(\d*)$`)

// dateAt reads the date that begins at word i and tells how many words it has.
// 5/6 is left alone: nobody knows which is the month.
func (w *words) dateAt(i int) (d when, n int) {
	word := w.at(i)
	if m := digits.FindStringSubmatch(word); m != nil {
		a, _ := strconv.Atoi(m[1])
		b, _ := strconv.Atoi(m[3])
		c, _ := strconv.Atoi(m[4])
		switch {
		case m[2] == "-":
			return when{year: a, month: b, day: c}, 1
		case m[2] == ".", b <= 12 && a > 12:
			return when{year: c, month: b, day: a}, 1
		case a <= 12 && b > 12:
			return when{year: c, month: a, day: b}, 1
		}
		return when{}, 0
	}
	if d, n = w.calendar(i); n > 0 {
		return d, n
	}
	return w.relative(i)
}

// calendar reads May 16, May the 16th 2027, 16 May, 16th of May, the 16th, and
// the 10 of 10-16 May.
func (w *words) calendar(i int) (d when, n int) {
	from := i
	if month := monthOf(w.at(i)); month > 0 {
		if i++; w.at(i) == "the" {
			i++
		}
		if day, _ := dayNumber(w.at(i)); day > 0 {
			return w.withYear(when{month: month, day: day}, from, i+1)
		}
		return when{}, 0
	}
	if w.at(i) == "the" {
		i++
	}
	day, ordinal := dayNumber(w.at(i))
	if day == 0 {
		return when{}, 0
	}
	next := i + 1
	if w.at(next) == "of" {
		next++
	}
	if month := monthOf(w.at(next)); month > 0 {
		return w.withYear(when{month: month, day: day}, from, next+1)
	}
	if isRange(w.at(i + 1)) {
		if last, _ := dayNumber(w.at(i + 2)); last > 0 {
			if month := monthOf(w.at(i + 3)); month > 0 {
				d, _ := w.withYear(when{month: month, day: day}, from, i+4)
				return d, i + 1 - from
			}
		}
	}
	if prior, _ := w.before(from); ordinal || i > from || isRange(prior) || slices.Contains(leaving, prior) || slices.Contains(returning, prior) {
		if day <= 31 && !isUnit(w.at(i+1)) {
			return when{day: day}, i + 1 - from
		}
	}
	return when{}, 0
}

// withYear adds the year that may follow, after a comma or not.
func (w *words) withYear(d when, from, to int) (when, int) {
	next := to
	if w.at(next) == "," {
		next++
	}
	if y := w.at(next); len(y) == 4 && number(y) >= 1900 {
		d.year = number(y)
		return d, next + 1 - from
	}
	return d, to - from
}

// relative reads tomorrow, next Friday and in two weeks.
func (w *words) relative(i int) (d when, n int) {
	switch w.at(i) {
	case "today":
		return when{relative: true}, 1
	case "tomorrow":
		return when{relative: true, ahead: 1}, 1
	}
	if n := w.phrase(i, "the day after tomorrow") + w.phrase(i, "day after tomorrow"); n > 0 {
		return when{relative: true, ahead: 2}, n
	}
	if w.at(i) == "in" {
		if days, n := w.span(i + 1); n > 0 {
			return when{relative: true, ahead: days}, n + 1
		}
	}
	from := i
	if w.at(i) == "next" || w.at(i) == "this" {
		i++
	}
	word := w.at(i)
	if weekdayOf(word) == 0 {
		return when{}, 0
	}
	next := i + 1
	if w.at(next) == "," {
		next++
	}
	if d, n := w.calendar(next); n > 0 { // Friday the 24th
		return d, next + n - from
	}
	// The short names are words of their own: the sun, he sat.
	if len(word) > 3 || i > from || len(w.all) <= 2 || isRange(w.said(i-1)) || slices.Contains(leaving, w.said(i-1)) {
		return when{weekday: weekdayOf(word)}, i + 1 - from
	}
	return when{}, 0
}

// span reads a length of time in days: two weeks, 5 nights, a week.
func (w *words) span(i int) (days, n int) {
	count := number(w.at(i))
	if w.at(i) == "a" {
		count = 1
	}
	if count < 1 || count > 366 {
		return 0, 0
	}
	switch w.at(i + 1) {
	case "day", "days", "night", "nights":
		return count, 2
	case "week", "weeks":
		return count * 7, 2
	}
	return 0, 0
}

func isUnit(word string) bool {
	switch word {
	case "day", "days", "night", "nights", "week", "weeks", "o'clock", "am", "pm", "h", "eur", "euro", "euros", "dollars":
		return true
	}
	return slices.Contains(people, word)
}

// on is the first such day that is not before after. fault says why there is
// none.
func (d when) on(today, after time.Time) (at time.Time, fault string) {
	if today.IsZero() && d.year == 0 {
		return at, "Please say dates with their year, such as 2030-05-16."
	}
	switch {
	case d.relative:
		return today.AddDate(0, 0, d.ahead), ""
	case d.weekday > 0:
		ahead := (d.weekday - 1 - int(after.Weekday()) + 7) % 7
		if ahead == 0 {
			ahead = 7
		}
		return after.AddDate(0, 0, ahead), ""
	case d.month == 0:
		for m := range 3 { // one of three months in a row has 31 days
			at := time.Date(after.Year(), after.Month()+time.Month(m), d.day, 0, 0, 0, 0, time.UTC)
			if at.Day() == d.day && !at.Before(after) {
				return at, ""
			}
		}
		return at, fmt.Sprintf("No month has a day %d.", d.day)
	case d.year == 0:
		for y := range 9 { // February 29 may be eight years away
			if at, ok := date(after.Year()+y, d.month, d.day); ok && !at.Before(after) {
				return at, ""
			}
		}
	default:
		if at, ok := date(d.year, d.month, d.day); ok {
			return at, ""
		}
	}
	if d.month < 1 || d.month > 12 {
		return at, fmt.Sprintf("There is no month %d.", d.month)
	}
	return at, fmt.Sprintf("There is no %s %d.", time.Month(d.month), d.day)
}

func date(year, month, day int) (time.Time, bool) {
	at := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	return at, at.Year() == year && int(at.Month()) == month && at.Day() == day
}
