// Package schedule is the noun of what repeats: its record, what its owner has said
// of it, and when it is due by cron expressions and intervals in a time zone. It
// imports nouns and the standard library, and does not know how a due time becomes
// a task: the core decides that.
//
// A time of day that a change of the clock skips or repeats runs once all the
// same. See Cron.Next for the rule.
package schedule

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Cron is a parsed cron expression. The zero value is due never.
type Cron struct {
	minute, hour, day, month, weekday uint64 // one bit for each value
	anyDay, anyWeekday                bool   // the field is *
	anyHour                           bool   // the hour is * or */n
}

// horizon is how far ahead a time is looked for: an expression that is not due
// within it is refused.
const horizon = 10

// field is one of the five fields of an expression.
type field struct {
	name     string
	min, max int
	names    []string // of min, min+1 ...
}

var (
	months   = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
	weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
	fields   = [5]field{{"minute", 0, 59, nil}, {"hour", 0, 23, nil}, {"day of the month", 1, 31, nil}, {"month", 1, 12, months}, {"day of the week", 0, 7, weekdays}}
)

// macros are the words that stand for an expression.
var macros = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

// ParseCron reads an expression of five fields: minute (0-59), hour (0-23), day of
// the month (1-31), month (1-12 or JAN-DEC) and day of the week (0-7 or SUN-SAT, 0
// and 7 are Sunday), each of them *, a number, a range (1-5), a list (1,3) or one
// of these with a step (*/15, 9-17/2); or one of @hourly, @daily, @weekly,
// @monthly and @yearly. Where both days are restricted, either of them is enough,
// as POSIX has it. An error says what to write instead.
func ParseCron(text string) (Cron, error) {
	expr := strings.TrimSpace(strings.ToLower(text))
	if strings.HasPrefix(expr, "@") {
		plain, ok := macros[expr]
		if !ok {
			return Cron{}, fmt.Errorf("cron %q: there is no such word; write @hourly, @daily, @weekly, @monthly or @yearly, or the interval as every", text)
		}
		expr = plain
	}
	parts := strings.Fields(expr)
	switch len(parts) {
	case 5:
	case 6, 7:
		return Cron{}, fmt.Errorf("cron %q has %d fields, want five: minute hour day month weekday; there are no seconds and no years, for less than a minute use every", text, len(parts))
	default:
		return Cron{}, fmt.Errorf("cron %q has %d fields, want five: minute hour day month weekday, such as \"0 2 * * *\"", text, len(parts))
	}
	var sets [5]uint64
	for i, f := range fields {
		set, err := f.parse(parts[i])
		if err != nil {
			return Cron{}, fmt.Errorf("cron %q: %w", text, err)
		}
		sets[i] = set
	}
	if sets[4]&(1<<7) != 0 { // 7 is Sunday, too
		sets[4] = sets[4]&^(1<<7) | 1
	}
	c := Cron{
		minute: sets[0], hour: sets[1], day: sets[2], month: sets[3], weekday: sets[4],
		anyDay: parts[2] == "*", anyWeekday: parts[4] == "*", anyHour: strings.HasPrefix(parts[1], "*"),
	}
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // a leap year among the ten
	if _, ok := c.next(start, start.AddDate(horizon, 0, 0)); !ok {
		return Cron{}, fmt.Errorf("cron %q is never due: no such day in %d years", text, horizon)
	}
	return c, nil
}

// parse reads a field into the bits of its values.
func (f field) parse(text string) (set uint64, err error) {
	for _, item := range strings.Split(text, ",") {
		span, step, stepped := strings.Cut(item, "/")
		low, high, err := f.span(span)
		if err != nil {
			return 0, err
		}
		by := 1
		if stepped {
			if by, err = strconv.Atoi(step); err != nil || by < 1 || by > f.max {
				return 0, fmt.Errorf("%s %q: the step must be a number from 1 to %d", f.name, item, f.max)
			}
			if !strings.ContainsAny(span, "*-") {
				return 0, fmt.Errorf("%s %q: a step needs a range, such as %s-%d/%d", f.name, item, span, f.max, by)
			}
		}
		for v := low; v <= high; v += by {
			set |= 1 << v
		}
	}
	return set, nil
}

// span reads *, one value or a range.
func (f field) span(text string) (low, high int, err error) {
	if text == "*" {
		high = f.max
		if f.max == 7 {
			high = 6
		}
		return f.min, high, nil
	}
	if strings.ContainsAny(text, "lw#?") && !f.named(text) {
		return 0, 0, fmt.Errorf("%s %q: L, W, # and ? are not known; write the days as numbers, or * for any", f.name, text)
	}
	from, to, ranged := strings.Cut(text, "-")
	if low, err = f.value(from); err != nil || !ranged {
		return low, low, err
	}
	if high, err = f.value(to); err != nil {
		return 0, 0, err
	}
	if high < low {
		return 0, 0, fmt.Errorf("%s %q: the range goes down; write two, such as %d-%d,%d-%d", f.name, text, low, f.max, f.min, high)
	}
	return low, high, nil
}

// named reports whether each end of a range is one of the field's names.
func (f field) named(text string) bool {
	for _, end := range strings.Split(text, "-") {
		if _, err := f.value(end); err != nil {
			return false
		}
	}
	return true
}

func (f field) value(text string) (int, error) {
	for i, name := range f.names {
		if text == name {
			return f.min + i, nil
		}
	}
	v, err := strconv.Atoi(text)
	if err != nil || v < f.min || v > f.max || strings.ContainsAny(text, "+-") {
		names := ""
		if f.names != nil {
			names = " or " + strings.ToUpper(f.names[0]+"-"+f.names[len(f.names)-1])
		}
		return 0, fmt.Errorf("%s %q: it must be from %d to %d%s", f.name, text, f.min, f.max, names)
	}
	return v, nil
}

// next is the first minute from t on that the fields name, and before end. Both
// are local times in UTC's clothes: this knows no zone.
func (c Cron) next(t, end time.Time) (time.Time, bool) {
	if s := t.Truncate(time.Minute); s.Before(t) {
		t = s.Add(time.Minute)
	}
	for t.Before(end) {
		year, month, day := t.Date()
		switch {
		case c.month&(1<<month) == 0:
			t = time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC)
			continue
		case !c.onDay(t):
			t = time.Date(year, month, day+1, 0, 0, 0, 0, time.UTC)
			continue
		}
		hour, ok := from(c.hour, t.Hour())
		if !ok {
			t = time.Date(year, month, day+1, 0, 0, 0, 0, time.UTC)
			continue
		}
		first := t.Minute()
		if hour > t.Hour() {
			first = 0
		}
		if minute, ok := from(c.minute, first); ok {
			t = time.Date(year, month, day, hour, minute, 0, 0, time.UTC)
			return t, t.Before(end)
		}
		t = time.Date(year, month, day, hour+1, 0, 0, 0, time.UTC)
	}
	return time.Time{}, false
}

// onDay reports whether the day of t is one of the expression's.
func (c Cron) onDay(t time.Time) bool {
	day, weekday := c.day&(1<<t.Day()) != 0, c.weekday&(1<<t.Weekday()) != 0
	if c.anyDay || c.anyWeekday {
		return day && weekday
	}
	return day || weekday
}

// from is the smallest value of a set that is not below v.
func from(set uint64, v int) (int, bool) {
	rest := set >> v << v
	return bits.TrailingZeros64(rest), rest != 0
}
