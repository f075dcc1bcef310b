package travel

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// The sample data. No such flight exists; cities and airlines are those that
// people will ask for.

// words are what people call a city or an airline, in lower case, and its name.
type words map[string]string

var cities = words{
	"berlin": "Berlin", "london": "London", "new york": "New York", "new york city": "New York", "nyc": "New York", "osaka": "Osaka", "paris": "Paris",
	"san francisco": "San Francisco", "sf": "San Francisco", "singapore": "Singapore", "sydney": "Sydney", "tokyo": "Tokyo", "tokio": "Tokyo",
}

var airlines = words{
	"air france": "Air France", "ana": "ANA", "all nippon airways": "ANA", "british airways": "British Airways", "ba": "British Airways",
	"japan airlines": "Japan Airlines", "jal": "Japan Airlines", "lufthansa": "Lufthansa", "qantas": "Qantas",
	"singapore airlines": "Singapore Airlines", "united airlines": "United", "united": "United",
}

func (w words) names() []string { return slices.Compact(slices.Sorted(maps.Values(w))) }

// pattern matches the words, the longest first.
func (w words) pattern() string {
	longest := func(a, b string) int { return cmp.Or(len(b)-len(a), cmp.Compare(a, b)) }
	return strings.Join(slices.SortedFunc(maps.Keys(w), longest), "|")
}

// flight goes every day.
type flight struct {
	airline, number string
	from, to        string
	leaves, lands   string // local times
	days            int    // that it lands later
	price           int    // EUR, one way, one passenger
}

// routes are flights there and back.
var routes = []struct {
	airline, a, b string
	there, back   flight
}{
	{"ANA", "London", "Tokyo", flight{number: "NH 9211", leaves: "19:00", lands: "15:55", days: 1, price: 445}, flight{number: "NH 9212", leaves: "11:10", lands: "15:30", price: 460}},
	{"British Airways", "London", "Tokyo", flight{number: "BA 9005", leaves: "12:55", lands: "09:50", days: 1, price: 420}, flight{number: "BA 9006", leaves: "12:05", lands: "18:25", price: 425}},
	{"Japan Airlines", "Paris", "Tokyo", flight{number: "JL 9046", leaves: "18:20", lands: "14:50", days: 1, price: 405}, flight{number: "JL 9045", leaves: "10:20", lands: "17:10", price: 415}},
	{"Lufthansa", "Berlin", "Tokyo", flight{number: "LH 9710", leaves: "13:20", lands: "08:55", days: 1, price: 398}, flight{number: "LH 9711", leaves: "10:35", lands: "18:45", price: 410}},
	{"United", "San Francisco", "Tokyo", flight{number: "UA 9837", leaves: "11:05", lands: "14:25", days: 1, price: 510}, flight{number: "UA 9838", leaves: "17:15", lands: "10:30", price: 520}},
	{"ANA", "New York", "Tokyo", flight{number: "NH 9109", leaves: "12:00", lands: "15:25", days: 1, price: 560}, flight{number: "NH 9110", leaves: "11:00", lands: "11:00", price: 575}},
	{"Singapore Airlines", "Singapore", "Tokyo", flight{number: "SQ 9638", leaves: "23:55", lands: "08:00", days: 1, price: 240}, flight{number: "SQ 9637", leaves: "11:10", lands: "17:20", price: 245}},
	{"ANA", "Tokyo", "Osaka", flight{number: "NH 9013", leaves: "08:00", lands: "09:10", price: 75}, flight{number: "NH 9014", leaves: "19:00", lands: "20:10", price: 75}},
	{"Japan Airlines", "London", "Osaka", flight{number: "JL 9048", leaves: "09:40", lands: "06:55", days: 1, price: 455}, flight{number: "JL 9047", leaves: "10:55", lands: "16:20", price: 465}},
	{"Air France", "Paris", "Osaka", flight{number: "AF 9292", leaves: "14:10", lands: "10:25", days: 1, price: 430}, flight{number: "AF 9291", leaves: "12:15", lands: "19:20", price: 435}},
	{"British Airways", "London", "New York", flight{number: "BA 9117", leaves: "08:25", lands: "11:20", price: 305}, flight{number: "BA 9178", leaves: "07:55", lands: "19:45", price: 300}},
	{"Qantas", "Tokyo", "Sydney", flight{number: "QF 9026", leaves: "20:10", lands: "07:00", days: 1, price: 480}, flight{number: "QF 9025", leaves: "10:20", lands: "18:55", price: 470}},
}

// journey is a flight there and, unless one way is asked for, one back.
type journey struct {
	there, back flight
	price       int // one passenger
}

// journeys are those to a city, the cheapest first. An empty origin or airline,
// or anyAirline, means all.
func journeys(origin, destination, airline string, oneWay bool) []journey {
	var found []journey
	for _, r := range routes {
		j := journey{there: r.there, back: r.back}
		a, b := r.a, r.b
		if b != destination {
			a, b, j.there, j.back = b, a, j.back, j.there
		}
		if b != destination || origin != "" && a != origin || airline != "" && airline != anyAirline && r.airline != airline {
			continue
		}
		j.there.airline, j.there.from, j.there.to = r.airline, a, b
		j.back.airline, j.back.from, j.back.to = r.airline, b, a
		if j.price = j.there.price; !oneWay {
			j.price += j.back.price
		}
		found = append(found, j)
	}
	slices.SortStableFunc(found, func(x, y journey) int { return cmp.Compare(x.price, y.price) })
	return found
}

// carriers are the airlines of journeys, each once.
func carriers(all []journey) (names []string) {
	for _, j := range all {
		names = append(names, j.there.airline)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
