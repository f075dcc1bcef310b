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

// The patterns of what fills a slot, in lower case.
var (
	startsOver = regexp.MustCompile(`\b(start over|start again|reset|new trip)\b`)
	oneWay     = regexp.MustCompile(`\bone[- ]way\b`)
	anyOf      = regexp.MustCompile(`\b(any|no preference|don't care|doesn't matter|whatever)\b`)
	corrects   = regexp.MustCompile(`\b(no|actually|instead|rather|sorry|change)\b`)
	passengers = regexp.MustCompile(`\b(\d{1,4}|one|two|three|four|five) (?:passengers?|people|persons?|adults?|tickets?)\b`)
	cityName   = pattern(cities)
	airline    = pattern(airlines)
	dateForms  = regexp.MustCompile(`\b(?:(\d{4})-(\d{1,2})-(\d{1,2})` + // 1 to 3: 2030-05-16
		`|(` + months + `)\.? (?:the )?(\d{1,2})(?:st|nd|rd|th)?(?:,? (\d{4}))?` + // 4 to 6: May 16, 2030
		`|(?:the )?(\d{1,2})(?:st|nd|rd|th)?(?: of)? (` + months + `)(?:,? (\d{4}))?` + // 7 to 9: 16th of May 2030
		`|the (\d{1,2})(?:st|nd|rd|th)` + // 10: the 16th
		`|(today|tomorrow))\b`) // 11
)

const months = `jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?`

var monthNames = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}

var numbers = []string{"zero", "one", "two", "three", "four", "five"}

// pattern matches the names and aliases of a list, the longest first.
func pattern(list []name) *regexp.Regexp {
	var all []string
	for _, n := range list {
		for _, alias := range n.aliases {
			all = append(all, regexp.QuoteMeta(alias))
		}
	}
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return regexp.MustCompile(`\b(` + strings.Join(all, "|") + `)\b`)
}

// understand fills the slots that a text, in lower case, speaks of. It returns
// what could not be taken as it was said.
func understand(text string, today time.Time, t *trip) (faults []string) {
	if startsOver.MatchString(text) {
		*t = trip{}
	}
	asked := t.missing()
	if m := airline.FindString(text); m != "" {
		t.Airline = named(airlines, m)
		text = strings.ReplaceAll(text, m, "") // Singapore Airlines is no city
	} else if anyOf.MatchString(text) && (asked == slotAirline || strings.Contains(text, "airline")) {
		t.Airline = anyAirline
	}
	t.takeCities(text)
	if m := passengers.FindStringSubmatch(text); m != nil {
		n, _ := strconv.Atoi(m[1])
		if n = max(n, slices.Index(numbers, m[1])); n < 1 || n > 9 {
			faults = append(faults, "I can look for 1 to 9 passengers.")
		} else {
			t.Passengers = n
		}
	}
	if oneWay.MatchString(text) {
		t.OneWay, t.Return = true, ""
	}
	if fault := t.takeDates(text, today); fault != "" {
		faults = append(faults, fault)
	}
	if t.Origin != "" && t.Origin == t.Destination {
		faults = append(faults, fmt.Sprintf("You cannot fly from %s to %s.", t.Origin, t.Destination))
		t.Origin = ""
	}
	return faults
}

// takeCities takes origin and destination: "from London", "London to Tokyo". A
// city alone is the destination, or the origin when that is known.
func (t *trip) takeCities(text string) {
	for _, at := range cityName.FindAllStringIndex(text, -1) {
		city := named(cities, text[at[0]:at[1]])
		prior := lastWord(text[:at[0]])
		rest := strings.TrimSpace(text[at[1]:])
		origin := prior == "from" || prior != "to" && (strings.HasPrefix(rest, "to ") || strings.HasPrefix(rest, "- "))
		if origin || prior != "to" && t.Destination != "" && t.Destination != city && !corrects.MatchString(text) {
			t.Origin = city
		} else {
			t.Destination = city
		}
	}
}

// takeDates takes departure and return. The first date is the departure, unless a
// word before it says otherwise or only the return is not known.
func (t *trip) takeDates(text string, today time.Time) (fault string) {
	text = spellOut.ReplaceAllString(text, "$1 $2 to $1 $3")
	for i, at := range dateForms.FindAllStringSubmatchIndex(text, -1) {
		group := func(n int) string {
			if at[2*n] < 0 {
				return ""
			}
			return text[at[2*n]:at[2*n+1]]
		}
		prior := lastWord(text[:at[0]])
		returns := slices.Contains([]string{"back", "until", "till", "return", "through"}, prior) || i > 0 && (prior == "to" || prior == "-") ||
			i == 0 && prior != "from" && prior != "leaving" && t.Depart != "" && t.Return == "" && !t.OneWay && !corrects.MatchString(text)
		near := today
		if leaves, ok := day(t.Depart); ok && group(10) != "" {
			near = leaves.AddDate(0, 0, 1-leaves.Day()) // the 16th is of the month that was spoken of
		}
		d, ok := dateOf(group, today, near)
		switch leaves, known := day(t.Depart); {
		case !ok:
			fault = fmt.Sprintf("There is no day %q.", text[at[0]:at[1]])
		case d.Before(today) || d.After(today.AddDate(1, 0, 0)):
			fault = fmt.Sprintf("%s is not within a year from today.", d.Format("January 2, 2006"))
		case returns && known && !d.After(leaves):
			fault = fmt.Sprintf("You leave on %s, so you cannot come back on %s.", leaves.Format("January 2"), d.Format("January 2"))
		case returns:
			t.Return, t.OneWay = d.Format(layout), false
		default:
			if t.Depart = d.Format(layout); t.Return <= t.Depart {
				t.Return = ""
			}
		}
	}
	return fault
}

// spellOut makes "may 10-16" two dates.
var spellOut = regexp.MustCompile(`\b(` + months + `) (\d{1,2}) ?(?:-|–|to|until) ?(\d{1,2})\b`)

// dateOf reads the groups of dateForms. A date without a year is the next one of
// that name, from near on.
func dateOf(group func(int) string, today, near time.Time) (time.Time, bool) {
	number := func(n int) int { v, _ := strconv.Atoi(group(n)); return v }
	month := func(n int) time.Month { return time.Month(slices.Index(monthNames, group(n)[:3]) + 1) }
	switch {
	case group(11) == "today":
		return today, true
	case group(11) != "":
		return today.AddDate(0, 0, 1), true
	case group(1) != "":
		return date(number(1), time.Month(number(2)), number(3))
	case group(4) != "":
		return nextOf(number(6), month(4), number(5), today)
	case group(7) != "":
		return nextOf(number(9), month(8), number(7), today)
	}
	for m := range 3 {
		if d, ok := date(near.Year(), near.Month()+time.Month(m), number(10)); ok && !d.Before(today) {
			return d, true
		}
	}
	return time.Time{}, false
}

func nextOf(year int, month time.Month, day int, today time.Time) (time.Time, bool) {
	if year > 0 {
		return date(year, month, day)
	}
	d, ok := date(today.Year(), month, day)
	if ok && d.Before(today) {
		return date(today.Year()+1, month, day)
	}
	return d, ok
}

func date(year int, month time.Month, day int) (time.Time, bool) {
	d := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	return d, d.Day() == day && d.Month() == month
}

func day(text string) (time.Time, bool) {
	d, err := time.Parse(layout, text)
	return d, err == nil
}

// lastWord is the last word of a text, blanks and "on" and "the" left out.
func lastWord(text string) string {
	words := strings.Fields(text)
	for len(words) > 0 && slices.Contains([]string{"on", "the"}, words[len(words)-1]) {
		words = words[:len(words)-1]
	}
	if len(words) == 0 {
		return ""
	}
	return strings.Trim(words[len(words)-1], ",.;:")
}
