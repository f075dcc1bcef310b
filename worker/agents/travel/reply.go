package travel

import (
	"fmt"
	"strings"
	"time"
)

// slot is something that a search needs.
type slot int

const (
	slotNone slot = iota
	slotDestination
	slotDeparture
	slotReturn
	slotAirline
)

// missing is what to ask for next.
func (t *trip) missing() slot {
	switch {
	case t.Destination == "":
		return slotDestination
	case t.Depart == "":
		return slotDeparture
	case t.Return == "" && !t.OneWay:
		return slotReturn
	case t.Airline == "":
		return slotAirline
	}
	return slotNone
}

const abilities = `I understand cities, dates such as May 16 or tomorrow, airlines, the number of passengers, and "start over".`

// respond says what came of a message, piece by piece.
func respond(text string, before trip, t *trip, faults []string) []string {
	var pieces []string
	say := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if n := len(pieces); n > 0 && !strings.HasSuffix(pieces[n-1], "\n") {
			text = " " + text
		}
		pieces = append(pieces, text)
	}
	for _, f := range faults {
		say("%s", f)
	}
	lost := false
	switch low := strings.ToLower(text); {
	case startsOver.MatchString(low):
		say("Let us start over.")
	case *t != before || len(faults) > 0:
	case strings.Contains(low, "thank"):
		say("You're welcome!")
	case strings.HasPrefix(low, "bye") || strings.HasPrefix(low, "goodbye"):
		return []string{"Goodbye! I keep your search in case you come back."}
	case strings.HasPrefix(low, "hello") || strings.HasPrefix(low, "hi"):
		say("Hello!")
	default:
		lost = true
		say("Sorry, I did not understand that. %s", abilities)
	}
	t.fit(say)
	if t.missing() != slotNone && (*t != before || lost) && *t != (trip{Destination: t.Destination}) {
		say("%s.", t.summary())
	}
	t.next(say)
	return pieces
}

// fit drops what the sample data has no flights for, and says so.
func (t *trip) fit(say func(string, ...any)) {
	if t.Destination == "" {
		return
	}
	if t.Origin != "" && len(journeys(t.Origin, t.Destination, "", true)) == 0 {
		say("There are no flights from %s to %s in the sample data, only from %s.", t.Origin, t.Destination,
			list(of(journeys("", t.Destination, "", true), start), "and"))
		t.Origin = ""
	}
	if t.Airline != "" && len(journeys(t.Origin, t.Destination, t.Airline, true)) == 0 {
		say("%s has no flights%s in the sample data.", t.Airline, t.route())
		t.Airline = ""
	}
}

// next asks for what is missing, or lists the flights.
func (t *trip) next(say func(string, ...any)) {
	switch t.missing() {
	case slotDestination:
		say("Where would you like to go? I know %s.", list(names(cities), "and"))
	case slotDeparture:
		say("When would you like to travel to %s? For example: from May 10 to May 16.", t.Destination)
	case slotReturn:
		say("And when do you come back from %s? Or say one way.", t.Destination)
	case slotAirline:
		say("Which airline do you prefer: %s? Or any airline?", list(of(journeys(t.Origin, t.Destination, "", true), carrier), "or"))
	case slotNone:
		t.flights(say)
	}
}

const maxListed = 5

// flights lists what there is.
func (t *trip) flights(say func(string, ...any)) {
	found := journeys(t.Origin, t.Destination, t.Airline, t.OneWay)
	total := len(found)
	found = found[:min(total, maxListed)]
	noun := "flights"
	if total == 1 {
		noun = "flight"
	}
	say("%s. I found %d %s (sample data, not real flights):\n", t.summary(), total, noun)
	for i, j := range found {
		say("%d. %s: %s\n", i+1, j, t.total(j))
	}
	say("Say another city, date or airline to change the search.")
}

// String is the flight there and the one back.
func (j journey) String() string {
	text := fmt.Sprintf("%s %s, %s %s to %s %s%s", j.there.airline, j.there.number, j.there.from, j.there.leaves, j.there.to, j.there.lands, j.there.later())
	if j.price > j.there.price {
		text += fmt.Sprintf("; back %s, %s to %s%s", j.back.number, j.back.leaves, j.back.lands, j.back.later())
	}
	return text
}

func (f flight) later() string {
	if f.days == 0 {
		return ""
	}
	return fmt.Sprintf(" (+%d day)", f.days)
}

func (t *trip) total(j journey) string {
	if n := t.Passengers; n > 1 {
		return fmt.Sprintf("EUR %d for %d passengers", n*j.price, n)
	}
	return fmt.Sprintf("EUR %d", j.price)
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
	var parts []string
	if route := t.route(); route != "" {
		parts = append(parts, "Flights"+route)
	}
	leaves, ok := day(t.Depart)
	if ok {
		parts = append(parts, "leaving "+dated(leaves))
	}
	if returns, ok := day(t.Return); ok {
		parts = append(parts, "back "+dated(returns))
	} else if t.OneWay {
		parts = append(parts, "one way")
	}
	if t.Passengers > 0 {
		noun := "passengers"
		if t.Passengers == 1 {
			noun = "passenger"
		}
		parts = append(parts, fmt.Sprintf("%d %s", t.Passengers, noun))
	}
	switch t.Airline {
	case "":
	case anyAirline:
		parts = append(parts, "any airline")
	default:
		parts = append(parts, "with "+t.Airline)
	}
	text := strings.Join(parts, ", ")
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

func dated(d time.Time) string { return d.Format("Monday, January 2, 2006") }

// list is a, b and c.
func list(all []string, last string) string {
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	return strings.Join(all[:len(all)-1], ", ") + " " + last + " " + all[len(all)-1]
}
