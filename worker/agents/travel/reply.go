package travel

import (
	"fmt"
	"strings"
	"time"
)

// slot is something that a search needs, and the question for it.
type slot struct {
	filled func(*trip) bool
	ask    func(*trip) string
}

// slots are asked for in this order.
var slots = []slot{
	{func(t *trip) bool { return t.Destination != "" }, func(*trip) string {
		return "Where would you like to go? I know " + list(cities.names(), "and") + "."
	}},
	{func(t *trip) bool { return t.Depart != "" }, func(t *trip) string {
		return "When would you like to travel to " + t.Destination + "? For example: from May 10 to May 16."
	}},
	{func(t *trip) bool { return t.Return != "" || t.OneWay }, func(t *trip) string {
		return "And when do you come back from " + t.Destination + "? Or say one way."
	}},
	{func(t *trip) bool { return t.Airline != "" }, func(t *trip) string {
		return "Which airline do you prefer: " + list(carriers(journeys("", t.Destination, "", true)), "or") + "? Or any airline?"
	}},
}

const (
	returnSlot  = 2
	airlineSlot = 3
)

// missing is the first slot that is empty, len(slots): none.
func (t *trip) missing() int {
	for i, s := range slots {
		if !s.filled(t) {
			return i
		}
	}
	return len(slots)
}

const abilities = `I understand cities, dates such as May 16 or tomorrow, airlines, and "start over".`

// respond says what came of a message, piece by piece.
func respond(text string, before trip, t *trip, fault string) (pieces []string) {
	say := func(text string) {
		if n := len(pieces); n > 0 && !strings.HasSuffix(pieces[n-1], "\n") {
			text = " " + text
		}
		pieces = append(pieces, text)
	}
	lost := false
	switch {
	case fault != "":
		say(fault)
	case startsOver.MatchString(text):
		say("Let us start over.")
	case *t != before:
	case strings.HasPrefix(text, "thank"):
		say("You're welcome!")
	case strings.HasPrefix(text, "bye"):
		return []string{"Goodbye! I keep your search in case you come back."}
	case strings.HasPrefix(text, "hello"):
		say("Hello!")
	default:
		lost = true
		say("Sorry, I did not understand that. " + abilities)
	}
	missing := t.missing()
	if missing == len(slots) {
		t.flights(say)
		return pieces
	}
	if (*t != before || lost) && *t != (trip{Destination: t.Destination}) {
		say(t.summary() + ".")
	}
	say(slots[missing].ask(t))
	return pieces
}

const maxListed = 5

// flights lists what there is.
func (t *trip) flights(say func(string)) {
	found := journeys(t.Origin, t.Destination, t.Airline, t.OneWay)
	noun := "flights"
	if len(found) == 1 {
		noun = "flight"
	}
	say(fmt.Sprintf("%s. I found %d %s (sample data, not real flights):\n", t.summary(), len(found), noun))
	for i, j := range found[:min(len(found), maxListed)] {
		say(fmt.Sprintf("%d. %s: EUR %d\n", i+1, j, j.price))
	}
	say("Say another city, date or airline to change the search.")
}

// String is the flight there and the one back.
func (j journey) String() string {
	later := func(f flight) string { return strings.Repeat(" (+1 day)", f.days) }
	text := fmt.Sprintf("%s %s, %s %s to %s %s%s", j.there.airline, j.there.number, j.there.from, j.there.leaves, j.there.to, j.there.lands, later(j.there))
	if j.price > j.there.price {
		text += fmt.Sprintf("; back %s, %s to %s%s", j.back.number, j.back.leaves, j.back.lands, later(j.back))
	}
	return text
}

// route is " from London to Tokyo" as far as it is known.
func (t *trip) route() string {
	text := ""
	if t.Origin != "" {
		text += " from " + t.Origin
	}
	if t.Destination != "" {
		text += " to " + t.Destination
	}
	return text
}

// summary is what is known of the trip, as a sentence.
func (t *trip) summary() string {
	parts := []string{"Flights" + t.route()}
	if leaves, ok := day(t.Depart); ok {
		parts = append(parts, "leaving "+dated(leaves))
	}
	if returns, ok := day(t.Return); ok {
		parts = append(parts, "back "+dated(returns))
	} else if t.OneWay {
		parts = append(parts, "one way")
	}
	switch t.Airline {
	case "":
	case anyAirline:
		parts = append(parts, "any airline")
	default:
		parts = append(parts, "with "+t.Airline)
	}
	return strings.Join(parts, ", ")
}

func dated(d time.Time) string { return d.Format("Monday, January 2, 2006") }

// list is a, b and c.
func list(all []string, last string) string {
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	return strings.Join(all[:len(all)-1], ", ") + " " + last + " " + all[len(all)-1]
}
