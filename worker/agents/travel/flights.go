package travel

import (
	"cmp"
	"slices"
)

// The sample data. No such flight exists; cities and airlines are those that
// people will ask for.

// name is a city or an airline and how people call it.
type name struct {
	name    string
	aliases []string // in lower case
}

var cities = []name{
	{"Berlin", []string{"berlin"}},
	{"London", []string{"london"}},
	{"New York", []string{"new york city", "new york", "nyc", "manhattan"}},
	{"Osaka", []string{"osaka", "大阪"}},
	{"Paris", []string{"paris"}},
	{"San Francisco", []string{"san francisco", "sf", "sfo"}},
	{"Singapore", []string{"singapore"}},
	{"Sydney", []string{"sydney"}},
	{"Tokyo", []string{"tokyo", "tokio", "東京"}},
}

var airlines = []name{
	{"Air France", []string{"air france"}},
	{"ANA", []string{"ana", "all nippon airways", "all nippon"}},
	{"British Airways", []string{"british airways", "british air", "ba"}},
	{"Japan Airlines", []string{"japan airlines", "jal"}},
	{"Lufthansa", []string{"lufthansa"}},
	{"Qantas", []string{"qantas"}},
	{"Singapore Airlines", []string{"singapore airlines", "singapore air"}},
	{"United", []string{"united airlines", "united"}},
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
	{"Air France", "Paris", "New York", flight{number: "AF 9006", leaves: "13:30", lands: "15:45", price: 310}, flight{number: "AF 9007", leaves: "19:30", lands: "08:50", days: 1, price: 315}},
	{"British Airways", "London", "New York", flight{number: "BA 9117", leaves: "08:25", lands: "11:20", price: 305}, flight{number: "BA 9178", leaves: "07:55", lands: "19:45", price: 300}},
	{"United", "London", "San Francisco", flight{number: "UA 9901", leaves: "14:10", lands: "17:20", price: 390}, flight{number: "UA 9900", leaves: "12:50", lands: "07:10", days: 1, price: 385}},
	{"Air France", "Berlin", "Paris", flight{number: "AF 9735", leaves: "09:55", lands: "11:45", price: 95}, flight{number: "AF 9734", leaves: "18:10", lands: "19:55", price: 99}},
	{"British Airways", "Berlin", "London", flight{number: "BA 9981", leaves: "10:40", lands: "11:40", price: 88}, flight{number: "BA 9982", leaves: "17:05", lands: "20:00", price: 92}},
	{"Lufthansa", "Berlin", "London", flight{number: "LH 9902", leaves: "07:15", lands: "08:20", price: 94}, flight{number: "LH 9903", leaves: "20:30", lands: "23:25", price: 90}},
	{"Qantas", "London", "Sydney", flight{number: "QF 9002", leaves: "11:50", lands: "20:30", days: 1, price: 690}, flight{number: "QF 9001", leaves: "15:30", lands: "06:10", days: 1, price: 710}},
	{"Qantas", "Tokyo", "Sydney", flight{number: "QF 9026", leaves: "20:10", lands: "07:00", days: 1, price: 480}, flight{number: "QF 9025", leaves: "10:20", lands: "18:55", price: 470}},
	{"Singapore Airlines", "London", "Singapore", flight{number: "SQ 9317", leaves: "11:25", lands: "07:30", days: 1, price: 410}, flight{number: "SQ 9318", leaves: "12:45", lands: "19:10", price: 420}},
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

// of are the different values that journeys have, in order.
func of(all []journey, value func(journey) string) []string {
	var values []string
	for _, j := range all {
		values = append(values, value(j))
	}
	slices.Sort(values)
	return slices.Compact(values)
}

func carrier(j journey) string { return j.there.airline }
func start(j journey) string   { return j.there.from }

func names(of []name) []string {
	var all []string
	for _, n := range of {
		all = append(all, n.name)
	}
	return all
}

// named is the name that an alias stands for.
func named(list []name, alias string) string {
	i := slices.IndexFunc(list, func(n name) bool { return slices.Contains(n.aliases, alias) })
	return list[i].name
}
