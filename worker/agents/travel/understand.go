package travel

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const layout = "2006-01-02"

// The patterns of what fills a slot, in lower case.
var (
	startsOver = regexp.MustCompile(`\b(start over|start again|reset|new trip)\b`)
	oneWay     = regexp.MustCompile(`\bone[- ]way\b`)
	anyOf      = regexp.MustCompile(`\b(any|no preference|don't care|whatever)\b`)
	corrects   = regexp.MustCompile(`\b(no|actually|instead|rather|sorry|change)\b`)
	airline    = regexp.MustCompile(`\b(` + airlines.pattern() + `)\b`)
	cityName   = regexp.MustCompile(`(?:\b(from|to) )?\b(` + cities.pattern() + `)\b( to )?`)
	dateForms  = regexp.MustCompile(`(?:\b(from|leaving|back|until|return|to) |(-) ?)?(?:on )?(?:the )?` + // 1 and 2: a word before it
		`\b(?:(\d{4}-\d\d-\d\d)` + // 3: 2030-05-16
		`|(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]* (\d{1,2})(?:st|nd|rd|th)?` + // 4 and 5: May 16
		`|(\d{1,2})(?:st|nd|rd|th)` + // 6: the 16th
		`|(today|tomorrow))\b`) // 7
)

// understand fills the slots that a text, in lower case, speaks of. It returns
// what could not be taken as it was said, if anything.
func understand(text string, today time.Time, t *trip) (fault string) {
	if startsOver.MatchString(text) {
		*t = trip{}
	}
	if m := airline.FindString(text); m != "" {
		t.Airline = airlines[m]
		text = strings.ReplaceAll(text, m, "") // Singapore Airlines is no city
	} else if anyOf.MatchString(text) && (t.missing() == airlineSlot || strings.Contains(text, "airline")) {
		t.Airline = anyAirline
	}
	t.takeCities(text)
	if oneWay.MatchString(text) {
		t.OneWay, t.Return = true, ""
	}
	for i, m := range dateForms.FindAllStringSubmatch(text, -1) {
		if wrong := t.takeDate(text, m, i == 0, today); wrong != "" {
			fault = wrong
		}
	}
	if t.Origin != "" && t.Origin == t.Destination {
		fault, t.Origin = fmt.Sprintf("You cannot fly from %s to %s.", t.Origin, t.Destination), ""
	}
	return fault
}

// takeCities takes origin and destination: "from London", "London to Tokyo". A
// city alone is the destination, or the origin when that is known.
func (t *trip) takeCities(text string) {
	for _, m := range cityName.FindAllStringSubmatch(text, -1) {
		prior, city := m[1], cities[m[2]]
		if prior == "from" || prior == "" && (m[3] != "" || t.Destination != "" && t.Destination != city && !corrects.MatchString(text)) {
			t.Origin = city
		} else {
			t.Destination = city
		}
	}
}

// takeDate takes a departure or a return. The first date is the departure, unless a
// word before it says otherwise or only the return is not known.
func (t *trip) takeDate(text string, m []string, first bool, today time.Time) (fault string) {
	var returns bool
	switch prior := m[1] + m[2]; {
	case prior == "to" || prior == "-":
		returns = !first
	case prior == "":
		returns = first && t.missing() == returnSlot && !corrects.MatchString(text)
	default:
		returns = prior != "from" && prior != "leaving"
	}
	leaves, known := day(t.Depart)
	d, ok := dateOf(m, today, leaves)
	switch {
	case !ok || d.Before(today) || d.After(today.AddDate(1, 0, 0)):
		return fmt.Sprintf("There is no day %q within a year from today.", strings.TrimSpace(m[0]))
	case returns && known && !d.After(leaves):
		return fmt.Sprintf("You leave on %s, so you cannot come back on %s.", leaves.Format("January 2"), d.Format("January 2"))
	case returns:
		t.Return, t.OneWay = d.Format(layout), false
	default:
		if t.Depart = d.Format(layout); t.Return <= t.Depart {
			t.Return = ""
		}
	}
	return ""
}

// dateOf reads the groups of dateForms. The 16th is of the month that was spoken of.
func dateOf(m []string, today, spoken time.Time) (time.Time, bool) {
	switch {
	case m[7] == "today":
		return today, true
	case m[7] != "":
		return today.AddDate(0, 0, 1), true
	case m[3] != "":
		return day(m[3])
	case m[4] != "":
		month, _ := time.Parse("Jan", m[4])
		return next(today, today, month.Month(), m[5])
	case spoken.Before(today):
		spoken = today
	}
	return next(spoken, today, 0, m[6])
}

// next is the first day of a number from a month on that is not over, of any month if
// none is named.
func next(from, today time.Time, month time.Month, number string) (time.Time, bool) {
	n, _ := strconv.Atoi(number)
	for ahead := range 13 {
		first := from.AddDate(0, 0, 1-from.Day()).AddDate(0, ahead, 0)
		d := first.AddDate(0, 0, n-1)
		if (month == 0 || month == first.Month()) && d.Month() == first.Month() && !d.Before(today) {
			return d, true
		}
	}
	return time.Time{}, false
}

func day(text string) (time.Time, bool) {
	d, err := time.Parse(layout, text)
	return d, err == nil
}
