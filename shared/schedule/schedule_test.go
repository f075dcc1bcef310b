package schedule_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/schedule"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func parse(t testing.TB, expr string) schedule.Cron {
	t.Helper()
	c, err := schedule.ParseCron(expr)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Each night on which a clock changes runs what it must, and no more.
func TestChangesOfTheClockNeitherSkipNorDouble(t *testing.T) {
	for _, tt := range []struct {
		zone, expr, from, to string
		want                 []string // RFC 3339, without the date
	}{
		{"America/New_York", "30 2 * * *", "2026-03-08", "2026-03-09", []string{"03:00:00-04:00"}},
		{"America/New_York", "0,15,30 2 * * *", "2026-03-08", "2026-03-09", []string{"03:00:00-04:00"}},
		{"America/New_York", "30 2,3 * * *", "2026-03-08", "2026-03-09", []string{"03:00:00-04:00", "03:30:00-04:00"}},
		{"America/New_York", "0 2,3 * * *", "2026-03-08", "2026-03-09", []string{"03:00:00-04:00"}},
		{"America/New_York", "30 1 * * *", "2026-11-01", "2026-11-02", []string{"01:30:00-04:00"}},
		{"America/New_York", "*/30 1 * * *", "2026-11-01", "2026-11-02", []string{"01:00:00-04:00", "01:30:00-04:00"}},
		{"America/New_York", "0 */1 * * *", "2026-11-01", "2026-11-02", []string{
			"00:00:00-04:00", "01:00:00-04:00", "01:00:00-05:00", "02:00:00-05:00", "03:00:00-05:00", "04:00:00-05:00", "05:00:00-05:00",
			"06:00:00-05:00", "07:00:00-05:00", "08:00:00-05:00", "09:00:00-05:00", "10:00:00-05:00", "11:00:00-05:00", "12:00:00-05:00",
			"13:00:00-05:00", "14:00:00-05:00", "15:00:00-05:00", "16:00:00-05:00", "17:00:00-05:00", "18:00:00-05:00", "19:00:00-05:00",
			"20:00:00-05:00", "21:00:00-05:00", "22:00:00-05:00", "23:00:00-05:00"}},
		{"Australia/Lord_Howe", "15 2 * * *", "2026-10-04", "2026-10-05", []string{"02:30:00+11:00"}},
		{"Africa/Cairo", "0 0 * * *", "2026-04-24", "2026-04-25", []string{"01:00:00+03:00"}},
		{"Europe/Berlin", "0 2 * * *", "2027-03-28", "2027-03-29", []string{"03:00:00+02:00"}},
		{"Pacific/Apia", "0 12 * * *", "2011-12-29", "2012-01-01", []string{"12:00:00-10:00", "00:00:00+14:00", "12:00:00+14:00"}},
	} {
		loc := zone(t, tt.zone)
		day := func(s string) time.Time {
			d, err := time.ParseInLocation(time.DateOnly, s, loc)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		var got []string
		c := parse(t, tt.expr)
		for at, ok := c.Next(day(tt.from).Add(-time.Second), loc); ok && at.Before(day(tt.to)); at, ok = c.Next(at, loc) {
			got = append(got, at.Format("15:04:05Z07:00"))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s in %s on %s:\n got %v\nwant %v", tt.expr, tt.zone, tt.from, got, tt.want)
		}
	}
}

func TestDaysAreThoseOfPOSIX(t *testing.T) {
	for _, tt := range []struct{ expr, want string }{
		{"0 9 13 * 5", "2026-11-06 2026-11-13 2026-11-20"}, // the 13th or a Friday
		{"0 9 13 * *", "2026-11-13 2026-12-13 2027-01-13"},
		{"0 9 * * FRI", "2026-11-06 2026-11-13 2026-11-20"},
		{"0 9 * * 7", "2026-11-01 2026-11-08 2026-11-15"},
		{"0 9 29 2 *", "2028-02-29 2032-02-29 2036-02-29"},
		{"@monthly", "2026-11-01 2026-12-01 2027-01-01"},
		{"0 0 31 jan-mar/2 *", "2027-01-31 2027-03-31 2028-01-31"},
	} {
		at, ok := time.Date(2026, 10, 31, 23, 59, 0, 0, time.UTC), true
		var got []string
		for c := parse(t, tt.expr); len(got) < 3; got = append(got, at.Format(time.DateOnly)) {
			if at, ok = c.Next(at, time.UTC); !ok {
				t.Fatalf("%s is never due", tt.expr)
			}
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: %s, want %s", tt.expr, s, tt.want)
		}
	}
}

func TestBadExpressionsSayWhatToWrite(t *testing.T) {
	for expr, want := range map[string]string{
		"":                                     "want five",
		"* * * *":                              "want five",
		"0 0 2 * * *":                          "no seconds",
		"0 0 2 * * * 2026":                     "no years",
		"60 * * * *":                           "from 0 to 59",
		"* 24 * * *":                           "from 0 to 23",
		"* * 0 * *":                            "from 1 to 31",
		"* * * 13 *":                           "JAN-DEC",
		"* * * * 8":                            "SUN-SAT",
		"* * L * *":                            "L, W, # and ?",
		"* * 15W * *":                          "L, W, # and ?",
		"* * ? * *":                            "L, W, # and ?",
		"* * * * 5#3":                          "L, W, # and ?",
		"*/0 * * * *":                          "the step",
		"*/-1 * * * *":                         "the step",
		"5/15 * * * *":                         "5-59/15",
		"30-10 * * * *":                        "30-59,0-10",
		"1,,2 * * * *":                         "from 0 to 59",
		"+1 * * * *":                           "from 0 to 59",
		"0 0 30 2 *":                           "never due",
		"0 0 31 4,6,9,11 *":                    "never due",
		"@reboot":                              "@hourly",
		"@every 5m":                            "every",
		"x * * * *":                            "from 0 to 59",
		strings.Repeat("1,", 5000) + "1 * * *": "want five",
	} {
		if _, err := schedule.ParseCron(expr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", expr, err, want)
		}
	}
}

func TestTheNoteSaysWhatTheClockDoes(t *testing.T) {
	for _, tt := range []struct{ zone, expr, after, want string }{
		{"Europe/Berlin", "30 2 * * *", "2027-03-27T12:00:00Z", "02:30 does not exist on 2027-03-28: runs at 03:00"},
		{"Europe/Berlin", "30 2 * * *", "2026-10-24T12:00:00Z", "02:30 comes twice on 2026-10-25: runs the first time"},
		{"Europe/Berlin", "30 2 * * *", "2026-11-24T12:00:00Z", ""},
		{"Europe/Berlin", "30 * * * *", "2027-03-28T00:59:00Z", ""},
	} {
		after, err := time.Parse(time.RFC3339, tt.after)
		if err != nil {
			t.Fatal(err)
		}
		c := parse(t, tt.expr)
		at, _ := c.Next(after, zone(t, tt.zone))
		if got := c.Note(at); got != tt.want {
			t.Errorf("%s after %s: %q, want %q", tt.expr, tt.after, got, tt.want)
		}
	}
}

func TestIntervalsCountFromTheirAnchor(t *testing.T) {
	anchor := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for after, want := range map[time.Duration]time.Duration{-time.Hour: 0, 0: 90 * time.Second, 89 * time.Second: 90 * time.Second, 90 * time.Second: 180 * time.Second} {
		if got := schedule.Every(90*time.Second, anchor, anchor.Add(after)); !got.Equal(anchor.Add(want)) {
			t.Errorf("after %v: %v, want %v", after, got.Sub(anchor), want)
		}
	}
}

// plan is an expression as plain values, for the oracle.
type plan struct {
	minutes, hours []int
	passing        bool
}

func (p plan) expr() string {
	list := func(vs []int) string { return strings.Trim(strings.ReplaceAll(fmt.Sprint(vs), " ", ","), "[]") }
	if p.passing {
		return list(p.minutes) + " * * * *"
	}
	return list(p.minutes) + " " + list(p.hours) + " * * *"
}

func (p plan) matches(local time.Time) bool {
	return slices.Contains(p.minutes, local.Minute()) && (p.passing || slices.Contains(p.hours, local.Hour()))
}

// due walks minute by minute from one time to another and looks at the clock.
func (p plan) due(from, to time.Time) (all []time.Time) {
	shown := func(t time.Time) time.Time { // what the clock shows
		y, m, d := t.Date()
		return time.Date(y, m, d, t.Hour(), t.Minute(), 0, 0, time.UTC)
	}
	latest := shown(from.Add(-time.Minute))
	for at := from; at.Before(to); at = at.Add(time.Minute) {
		now := shown(at)
		is := p.matches(now)
		if !p.passing {
			is = is && now.After(latest)
			for skipped := latest.Add(time.Minute); skipped.Before(now); skipped = skipped.Add(time.Minute) {
				is = is || p.matches(skipped)
			}
		}
		if now.After(latest) {
			latest = now
		}
		if is {
			all = append(all, at)
		}
	}
	return all
}

// The calendar agrees with one that looks at the clock every minute, around each
// change of the clock of ten years in thirty zones.
func TestTheCalendarAgreesWithAClockThatIsWatched(t *testing.T) {
	zones := strings.Fields(`America/New_York America/Los_Angeles America/Sao_Paulo America/St_Johns America/Havana America/Santiago America/Asuncion
		America/Nuuk America/Mexico_City Europe/Berlin Europe/London Europe/Dublin Europe/Lisbon Europe/Istanbul Europe/Moscow Europe/Chisinau Africa/Cairo
		Africa/Casablanca Asia/Beirut Asia/Gaza Asia/Jerusalem Asia/Tehran Asia/Kolkata Asia/Tokyo Asia/Amman Australia/Sydney Australia/Lord_Howe
		Pacific/Apia Pacific/Auckland Antarctica/Troll`)
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 1))
	changes := 0
	for _, name := range zones {
		loc := zone(t, name)
		last := time.Date(2030, 1, 1, 0, 0, 0, 0, loc)
		for at := time.Date(2020, 1, 1, 0, 0, 0, 0, loc); at.Before(last); {
			_, next := at.ZoneBounds()
			if next.IsZero() {
				next = last
			}
			at = next
			changes++
			p := plan{passing: rnd.IntN(4) == 0}
			for range 1 + rnd.IntN(4) {
				p.minutes, p.hours = append(p.minutes, rnd.IntN(60)), append(p.hours, rnd.IntN(5), 23)
			}
			from, to := at.Add(-26*time.Hour).Truncate(time.Minute), at.Add(26*time.Hour).Truncate(time.Minute)
			want := p.due(from, to)
			var got []time.Time
			c := parse(t, p.expr())
			for due, ok := c.Next(from.Add(-time.Second), loc); ok && due.Before(to); due, ok = c.Next(due, loc) {
				got = append(got, due)
			}
			if !slices.EqualFunc(got, want, time.Time.Equal) {
				t.Fatalf("seed %d: %s in %s around %v:\n got %v\nwant %v", seed, p.expr(), name, at, got, want)
			}
		}
	}
	if changes < 200 {
		t.Errorf("only %d changes of the clock were seen", changes)
	}
}

func FuzzParseCron(f *testing.F) {
	for _, s := range []string{"* * * * *", "*/15 9-17/2 1,15 JAN-DEC MON-FRI", "@daily", "0 0 30 2 *", "60 * * * *"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := schedule.ParseCron(s)
		if err != nil {
			return
		}
		from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		if at, ok := c.Next(from, time.UTC); !ok || !at.After(from) {
			t.Errorf("%q after %v: %v, %v", s, from, at, ok)
		}
	})
}
