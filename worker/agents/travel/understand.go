package travel

import (
	"fmt"
	"slices"
	"time"
)

// topic is what a message is about beside the trip.
type topic int

const (
	noTopic topic = iota
	help
	whichAirlines
	whichCities
	booking
	prices
	thanks
	goodbye
	hello
	wish // for a flight
)

// heard is what a message has brought.
type heard struct {
	about   topic
	changed bool     // the trip
	known   bool     // it names what the trip has already
	reset   bool     // start over
	faults  []string // what could not be taken as it was said
}

// maxFaults are said; a text that has more is nonsense.
const maxFaults = 2

func (h *heard) fault(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if len(h.faults) < maxFaults && !slices.Contains(h.faults, text) {
		h.faults = append(h.faults, text)
	}
}

// Words that go before what they tell of.
var (
	leaving    = []string{"from", "on", "leave", "leaving", "depart", "departing", "departure", "start", "starting", "out", "outbound"}
	returning  = []string{"until", "till", "through", "back", "return", "returning", "returns"}
	people     = []string{"passenger", "passengers", "people", "persons", "person", "adult", "adults", "travellers", "traveller", "travelers", "traveler", "seats", "tickets", "friends"}
	correcting = []string{"no", "actually", "instead", "rather", "sorry", "change", "correction", "make", "wait"}
)

func isRange(word string) bool {
	return slices.Contains([]string{"-", "–", "—", "to", "until", "till", "through"}, word)
}

// understand takes what a text says into the trip. today is the day of the
// message, zero when it is not known.
func understand(text string, today time.Time, t *trip) *heard {
	h, w, asked, before := &heard{}, split(text), t.missing(), *t
	if w.take("start over", "start again", "begin again", "reset", "restart", "new search", "new trip", "forget it", "forget everything", "from scratch") {
		h.reset, *t, asked = true, trip{}, destination
	}
	w.airlines(t, h, asked)
	w.cities(t, h)
	w.passengers(t, h)
	w.dates(t, h, today)
	h.known = slices.Contains(w.used, true)
	if len(h.faults) == 0 {
		w.strangers(h, asked)
	}
	h.changed = !h.reset && *t != before || h.reset && *t != trip{}
	h.about = w.topic(asked)
	return h
}

func (w *words) airlines(t *trip, h *heard, asked item) {
	for i := range w.all {
		for _, a := range airlines {
			n := 0
			for _, alias := range a.aliases {
				n = max(n, w.phrase(i, alias))
			}
			if n == 0 || a.name == "United" && slices.Contains([]string{"states", "kingdom", "arab", "nations"}, w.at(i+1)) {
				continue
			}
			denied := w.denied(i)
			if w.use(i, i+n); !denied {
				t.Airline = a.name
			} else if t.Airline == a.name {
				t.Airline = ""
			}
		}
	}
	if w.take("any airline", "any airlines", "any carrier", "all airlines", "no preference", "no preferences", "no preferred airline", "no airline preference", "which airline doesn't matter", "airline doesn't matter", "airline does not matter", "no particular airline") ||
		asked == airline && t.Airline == "" && (w.take("any", "anything", "doesn't matter", "does not matter", "don't care", "do not care", "don't mind", "do not mind", "whatever", "whichever", "either", "all", "not really", "none") ||
			slices.Equal(w.all, []string{"no"}) || slices.Equal(w.all, []string{"no", "."})) {
		t.Airline = anyAirline
	}
}

func (w *words) cities(t *trip, h *heard) {
	for i := range w.all {
		for _, c := range cities {
			n := 0
			for _, alias := range c.aliases {
				n = max(n, w.phrase(i, alias))
			}
			if n == 0 {
				continue
			}
			denied := w.denied(i)
			w.use(i, i+n)
			w.city(t, h, c.name, i, i+n, denied)
		}
	}
	if t.Origin != "" && t.Origin == t.Destination {
		h.fault("You cannot fly from %s to %s.", t.Origin, t.Destination)
		t.Origin = ""
	}
}

// city decides what a city is, whose words are from i to end.
func (w *words) city(t *trip, h *heard, name string, i, end int, denied bool) {
	prior, _ := w.before(i)
	switch {
	case denied:
		if t.Destination == name {
			t.Destination = ""
		}
		if t.Origin == name {
			t.Origin = ""
		}
	case prior == "via":
		h.fault("I know direct flights only.")
	case prior == "from" || prior == "of" || prior == "leaving" || prior == "departing":
		t.Origin = name
	case w.said(end) == "-" || w.said(end) == "–" || w.said(end) == "to" && prior != "to": // London - Tokyo, London to Tokyo
		t.Origin = name
	case slices.Contains([]string{"to", "for", "into", "visit", "towards", "in", "-", "–", "toward", "reach", "what", "how"}, prior) || // what about Osaka
		t.Destination == "" || w.corrects():
		t.Destination = name
	case t.Destination != name:
		t.Origin = name
	}
}

// corrects reports whether the text says that something was not right. The no of
// "no preference" is used up.
func (w *words) corrects() bool {
	for i := range w.all {
		if slices.Contains(correcting, w.at(i)) {
			return true
		}
	}
	return false
}

func (w *words) passengers(t *trip, h *heard) {
	count := -1
	for i := range w.all {
		n := number(w.at(i))
		switch {
		case n < 0:
			continue
		case slices.Contains(people, w.at(i+1)), w.at(i+1) == "of" && w.at(i+2) == "us":
			count = n
			w.use(i, i+2)
		case w.said(i-1) == "it" && w.said(i-2) == "make" && i == len(w.all)-1:
			count = n
			w.use(i, i+1)
		}
	}
	switch {
	case count >= 1 && count <= 9:
		t.Passengers = count
	case count >= 0:
		h.fault("I can look for 1 to 9 passengers.")
	case w.take("just me", "only me", "alone", "by myself"):
		t.Passengers = 1
	}
}

// strangers finds cities and airlines that the sample data does not have.
func (w *words) strangers(h *heard, asked item) {
	for i := range w.all {
		if p := w.said(i - 1); p != "to" && p != "from" && p != "with" || !w.isName(i) {
			continue
		}
		switch p := w.said(i - 2); {
		case w.said(i-1) == "with" && asked == airline:
			h.fault("I have no flights of %s.", clip(w.raw[i]))
		case w.said(i-1) == "from", w.said(i-1) == "to" && (p == "" || slices.Contains([]string{"flight", "flights", "fly", "flying", "go", "going", "travel", "travelling", "traveling", "ticket", "tickets", "trip", "get", "actually", "no", "rather", "instead", "and", "but", ",", "."}, p)):
			h.fault("I have no flights %s %s.", w.said(i-1), clip(w.raw[i]))
		default:
			continue
		}
		return
	}
}

// isName reports whether the word at i may be a name.
func (w *words) isName(i int) bool {
	word := w.at(i)
	if len(word) < 2 || word[0] >= '0' && word[0] <= '9' || monthOf(word) > 0 || weekdayOf(word) > 0 {
		return false
	}
	return !slices.Contains([]string{
		"the", "my", "your", "our", "me", "you", "us", "it", "there", "here", "where", "what", "which", "any", "anywhere", "somewhere", "this", "that", "one",
		"go", "fly", "be", "see", "book", "buy", "know", "find", "travel", "get", "leave", "return", "come", "change", "start", "have", "scratch", "now", "today", "tomorrow", "an", "and", "or", "home",
	}, word)
}

// topic is what else a text is about.
func (w *words) topic(asked item) topic {
	asks := w.has("which", "what", "list", "show")
	switch {
	case asks && w.has("airline", "airlines", "carrier", "carriers"):
		return whichAirlines
	case asks && w.has("city", "cities", "destination", "destinations", "places"), w.has("where"):
		return whichCities
	case w.has("book", "buy", "reserve", "pay") && asked == nothing:
		return booking
	case w.has("cheap", "cheaper", "cheapest", "price", "prices", "cost", "costs", "much"):
		return prices
	case w.has("help", "how", "why") || w.has("what", "who") && w.has("do", "are", "can"):
		return help
	case w.has("thanks", "thank", "thx", "cheers"):
		return thanks
	case w.has("bye", "goodbye", "quit", "exit", "ciao"):
		return goodbye
	case w.has("hi", "hello", "hey", "morning", "evening"):
		return hello
	case w.has("flight", "flights", "fly", "trip", "travel", "ticket", "tickets"):
		return wish
	}
	return noTopic
}
