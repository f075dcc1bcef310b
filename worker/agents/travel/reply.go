package travel

import (
	"fmt"
	"strings"
	"time"
)

// respond says what came of a message, piece by piece.
func respond(t *trip, h *heard) []string {
	var pieces []string
	say := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if n := len(pieces); n > 0 && !strings.HasSuffix(pieces[n-1], "\n") {
			text = " " + text
		}
		pieces = append(pieces, text)
	}
	for _, f := range h.faults {
		say("%s", f)
	}
	lost := false
	complete, again := t.missing() == nothing, len(h.faults) == 0 && (h.known || h.about == prices)
	switch {
	case h.reset:
		say("Let us start over.")
	case h.changed, len(h.faults) > 0, complete && again:
	case h.about == thanks:
		say("You're welcome!")
	case h.about == goodbye:
		say("Goodbye! I keep your search in case you come back.")
		return pieces
	case h.about == hello:
		say("Hello!")
	case h.about == wish && !complete:
	case h.about == booking:
		say("I only look flights up, and these are sample data, so nothing can be booked.")
	case h.about == whichCities:
		say("I know flights between %s.", list(names(cities), "and"))
	case h.about == whichAirlines && t.Destination == "":
		say("There are flights of %s.", list(names(airlines), "and"))
	case h.about == whichAirlines:
		say("There are flights%s of %s.", t.route(), list(of(journeys(t.Origin, t.Destination, "", true), carrier), "and"))
	case h.about == help, h.about == prices:
		lost = true
		say("%s", abilities)
	default:
		lost = true
		say("Sorry, I did not understand that. %s", abilities)
	}
	t.fit(say)
	switch summary := t.summary(); {
	case t.missing() == nothing && !h.changed && !again:
		say("%s. Say another city, date or airline to change it.", summary)
		return pieces
	case t.missing() != nothing && (h.changed || lost) && *t != trip{Destination: t.Destination}:
		say("%s.", summary)
	}
	t.next(say)
	return pieces
}

const abilities = `I understand cities, dates such as May 16, tomorrow or next Friday, airlines, the number of passengers, and "start over".`

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
	case destination:
		say("Where would you like to go? I know %s.", list(names(cities), "and"))
	case departure:
		say("When would you like to travel to %s? For example: from May 10 to May 16.", t.Destination)
	case comingBack:
		say("And when do you come back from %s? Or say one way.", t.Destination)
	case airline:
		say("Which airline do you prefer: %s? Or any airline?", list(of(journeys(t.Origin, t.Destination, "", true), carrier), "or"))
	case nothing:
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
