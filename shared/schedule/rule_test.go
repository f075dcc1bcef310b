package schedule_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/schedule"
	"agentmesh/shared/task"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func rule(t *testing.T, s schedule.Spec) schedule.Rule {
	t.Helper()
	r, faults := s.WithDefaults().Rule(epoch)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return r
}

func clock(times []time.Time) string {
	var all []string
	for _, at := range times {
		all = append(all, at.Format("15:04"))
	}
	return strings.Join(all, " ")
}

// Of the times that nobody was there for, the policy says which run.
func TestMissedTimesRunByThePolicy(t *testing.T) {
	r := rule(t, schedule.Spec{Cron: []string{"@hourly"}})
	last := epoch.Add(30 * time.Minute)
	now := epoch.Add(5*time.Hour + 10*time.Minute) // 1, 2, 3, 4 and 5 o'clock are due
	for _, tt := range []struct {
		c           schedule.CatchUp
		run, missed string
	}{
		{schedule.CatchUp{Policy: schedule.One, Window: task.Duration(24 * time.Hour)}, "05:00", "01:00 02:00 03:00 04:00"},
		{schedule.CatchUp{Policy: schedule.One, Window: task.Duration(5 * time.Minute)}, "", "01:00 02:00 03:00 04:00 05:00"},
		{schedule.CatchUp{Policy: schedule.All, Window: task.Duration(24 * time.Hour), Max: 100}, "01:00 02:00 03:00 04:00 05:00", ""},
		{schedule.CatchUp{Policy: schedule.All, Window: task.Duration(24 * time.Hour), Max: 2}, "04:00 05:00", "01:00 02:00 03:00"},
		{schedule.CatchUp{Policy: schedule.All, Window: task.Duration(150 * time.Minute), Max: 100}, "03:00 04:00 05:00", "01:00 02:00"},
		{schedule.CatchUp{Policy: schedule.None, Window: task.Duration(24 * time.Hour)}, "", "01:00 02:00 03:00 04:00 05:00"},
	} {
		run, missed, n := r.Due(last, now, tt.c)
		if clock(run) != tt.run || clock(missed) != tt.missed || n != len(missed) {
			t.Errorf("%+v: run %s, missed %s (%d)", tt.c, clock(run), clock(missed), n)
		}
	}
	if run, missed, _ := r.Due(last, epoch.Add(time.Hour+time.Second), schedule.CatchUp{Policy: schedule.None}); clock(run) != "01:00" || len(missed) > 0 {
		t.Errorf("on time: run %s, missed %s", clock(run), clock(missed))
	}
}

func TestALongAbsenceIsCounted(t *testing.T) {
	r := rule(t, schedule.Spec{Every: task.Duration(time.Second)})
	run, missed, n := r.Due(epoch, epoch.Add(300_000*time.Second), schedule.CatchUp{Policy: schedule.One, Window: task.Duration(time.Hour)})
	if len(run) != 1 || n != 299_999 || len(missed) != schedule.MaxRunsKept {
		t.Errorf("%d run, %d missed of %d", len(run), len(missed), n)
	}
}

func TestExceptionsAndBoundsHoldInTheZone(t *testing.T) {
	r := rule(t, schedule.Spec{
		Cron: []string{"0 0 * * *", "0 12 * * *"}, Timezone: "America/New_York", Exclude: []string{"2026-12-25"},
		StartAt: time.Date(2026, 12, 24, 12, 0, 0, 0, time.UTC), EndAt: time.Date(2026, 12, 26, 17, 0, 0, 0, time.UTC),
	})
	var got []string
	for _, at := range r.Coming(epoch, 10) {
		got = append(got, at.Format("2T15"))
	}
	if want := []string{"24T12", "26T00"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestJitterIsTheSameEverywhereAndWithinItsBound(t *testing.T) {
	seen := map[time.Duration]bool{}
	for i := range 100 {
		at := epoch.Add(time.Duration(i) * time.Hour)
		d := schedule.Delay("sch_a", at, time.Minute)
		if d != schedule.Delay("sch_a", at.In(time.FixedZone("x", 3600)), time.Minute) || d < 0 || d >= time.Minute {
			t.Errorf("delay %v", d)
		}
		seen[d] = true
	}
	if len(seen) < 50 {
		t.Errorf("only %d different delays", len(seen))
	}
}

func TestFaultsOfASpecificationAreToldTogether(t *testing.T) {
	s := schedule.Spec{
		Name: "sch_x", Cron: []string{"0 2 * * *", "61 * * * *"}, Timezone: "Mars/Olympus", Overlap: "maybe", Exclude: []string{"25.12."},
		CatchUp: schedule.CatchUp{Policy: "some", Max: -1}, MaxRuns: -1, PauseAfterFailures: -1,
		StartAt: epoch, EndAt: epoch,
	}
	var got []string
	for _, f := range s.WithDefaults().Check(epoch) {
		got = append(got, f.Pointer)
	}
	slices.Sort(got)
	want := []string{"/catch_up/max", "/catch_up/policy", "/cron/1", "/end_at", "/exclude/0", "/max_runs", "/name", "/overlap", "/pause_after_failures", "/task", "/timezone"}
	if !slices.Equal(got, want) {
		t.Errorf(" got %v\nwant %v", got, want)
	}
	good := schedule.Spec{Every: task.Duration(time.Minute), Task: &schedule.Work{}, Jitter: task.Duration(30 * time.Second)}
	if faults := good.WithDefaults().Check(epoch); len(faults) > 0 {
		t.Errorf("%v", faults)
	}
	good.Jitter++
	if faults := good.WithDefaults().Check(epoch); len(faults) != 1 || faults[0].Pointer != "/jitter" {
		t.Errorf("%v", faults)
	}
}

// A record counts each due time once, and keeps the newest.
func TestTheRecordOfRuns(t *testing.T) {
	var s schedule.Schedule
	for i := range 30 {
		s.Record(schedule.Run{At: epoch.Add(time.Duration(i) * time.Hour), Outcome: schedule.Fired, TaskID: "tsk_1", Status: task.Completed})
	}
	s.Record(schedule.Run{At: epoch.Add(40 * time.Hour), Outcome: schedule.Waiting})
	s.Record(schedule.Run{At: epoch.Add(40 * time.Hour), Outcome: schedule.Fired, TaskID: "tsk_2", Status: task.Pending})
	if len(s.Runs) != schedule.MaxRunsKept || s.Counts.Fired != 31 || s.OpenRun() == nil || s.OpenRun().TaskID != "tsk_2" {
		t.Errorf("%d runs, %+v, open %+v", len(s.Runs), s.Counts, s.OpenRun())
	}
	s.Ended(s.OpenRun(), task.Failed)
	if s.OpenRun() != nil || s.Failures != 1 || s.Counts.Failed != 1 {
		t.Errorf("%+v", s)
	}
	s.MaxRuns = 31
	if !s.Over() {
		t.Error("it has run as often as it may")
	}
}

// A time that no clock of ours can count to is refused: an alarm for the year 2400 goes
// off at once, and one of the year 10000 cannot be told to anybody.
func TestTimesThatCannotBeCountedAreRefused(t *testing.T) {
	now := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	work := &schedule.Work{}
	for text, fine := range map[string]bool{
		"1600-01-01T00:00:00Z": false, "1969-12-31T23:59:59Z": false, "1970-01-01T00:00:00Z": true, "2199-12-31T23:59:59Z": true,
		"2200-01-01T00:00:00Z": false, "2400-01-01T00:00:00Z": false, "9999-12-31T23:59:59Z": false,
	} {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		for pointer, spec := range map[string]schedule.Spec{
			"/anchor":   {Every: task.Duration(time.Hour), Anchor: at, Task: work},
			"/start_at": {Cron: []string{"0 0 * * *"}, StartAt: at, Task: work},
			"/end_at":   {Cron: []string{"0 0 * * *"}, EndAt: at, Task: work},
		} {
			faults := spec.WithDefaults().Check(now)
			if refused := len(faults) > 0 && faults[0].Pointer == pointer; refused == fine {
				t.Errorf("%s %s: %+v", pointer, text, faults)
			}
			rule, faults := spec.WithDefaults().Rule(now)
			for _, due := range rule.Coming(now, 3) {
				if len(faults) == 0 && (due.Before(now) || due.Year() > 2210) {
					t.Errorf("%s %s is due at %v", pointer, text, due)
				}
			}
		}
	}
}
