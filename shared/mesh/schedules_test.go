package mesh_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/natstest"
	"agentmesh/shared/schedule"
	"agentmesh/shared/task"
	"agentmesh/shared/tenant"
)

// timed is a house in fake time whose cores run, as those of gateways do.
type timed struct {
	*house
	core *mesh.Mesh
	stop func()
}

// inTime runs f in fake time, on a mesh of n gateways.
func inTime(t *testing.T, n int, f func(h *timed)) {
	synctest.Test(t, func(t *testing.T) {
		h := &timed{house: newHouse(t)}
		h.run(n)
		defer func() { h.stop() }()
		f(h)
	})
}

// pass lets fake time pass.
func (h *timed) pass(d time.Duration) { time.Sleep(d) }

// run starts n cores; stop ends them.
func (h *timed) run(n int) {
	ctx, cancel := context.WithCancel(h.t.Context())
	ended := make(chan error, n)
	for range n {
		h.core = h.limited(func(*tenant.Limits) {})
		go func() { ended <- h.core.Run(ctx) }()
	}
	synctest.Wait()
	h.stop = func() {
		cancel()
		for range n {
			<-ended
		}
	}
}

// hourly is a schedule of the agent echo at every full hour.
func hourly(change func(*schedule.Spec)) schedule.Spec {
	s := schedule.Spec{Cron: []string{"0 * * * *"}, Task: &schedule.Work{Work: task.Work{Agent: "echo"}, Input: json.RawMessage(`{"n":1}`)}}
	if change != nil {
		change(&s)
	}
	return s
}

func (h *timed) create(s schedule.Spec) *schedule.Schedule {
	h.t.Helper()
	made, err := h.core.Schedules.Create(h.t.Context(), auth.Local(), s)
	if err != nil {
		h.t.Fatal(err)
	}
	return made
}

// read reads a schedule again.
func (h *timed) read(id schedule.ID) *schedule.Schedule {
	h.t.Helper()
	s, err := h.core.Schedules.Get(h.t.Context(), auth.Local(), string(id))
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// runs are the outcomes of a schedule's due times, oldest first: "01:00 fired".
func (h *timed) runs(id schedule.ID) string {
	h.t.Helper()
	var all []string
	for _, r := range h.read(id).Runs {
		all = append(all, r.At.Format("15:04")+" "+string(r.Outcome))
	}
	return strings.Join(all, ", ")
}

// queued are the due times of the mesh's tasks, in order.
func (h *timed) queued() (times []string) {
	h.t.Helper()
	for _, t := range h.all() {
		times = append(times, t.ScheduledAt.Format("15:04"))
	}
	slices.Sort(times)
	return times
}

// all lists the tasks of the mesh, oldest first.
func (h *timed) all() []*task.Task {
	h.t.Helper()
	page, err := h.core.Tasks.List(h.t.Context(), auth.Local(), mesh.Filter{Created: true}, 200, "")
	if err != nil {
		h.t.Fatal(err)
	}
	slices.Reverse(page.Tasks)
	return page.Tasks
}

func TestEveryDueTimeStartsOneTaskWhicheverGatewayHearsIt(t *testing.T) {
	inTime(t, 3, func(h *timed) {
		s := h.create(hourly(func(s *schedule.Spec) { s.Overlap = schedule.Allow }))
		time.Sleep(5*time.Hour + time.Minute)
		if got := fmt.Sprint(h.queued()); got != "[01:00 02:00 03:00 04:00 05:00]" {
			t.Errorf("tasks of %s; runs %s", got, h.runs(s.ID))
		}
		one := h.all()[0]
		if one.ScheduleID != string(s.ID) || one.Agent != "echo" {
			t.Errorf("the task does not say where it comes from: %+v", one)
		}
	})
}

func TestATimeThatIsDueWhileARunIsOpenGoesByThePolicy(t *testing.T) {
	natstest.Long(t)
	for overlap, want := range map[schedule.Overlap]string{
		schedule.Skip:          "01:00 fired, 02:00 skipped, 03:00 skipped, 04:00 fired",
		schedule.Allow:         "01:00 fired, 02:00 fired, 03:00 fired, 04:00 fired",
		schedule.Queue:         "01:00 fired, 03:00 skipped, 02:00 fired, 04:00 waiting",
		schedule.QueueAll:      "01:00 fired, 03:00 waiting, 02:00 fired, 04:00 waiting",
		schedule.CancelRunning: "01:00 fired, 02:00 fired, 03:00 fired, 04:00 fired",
	} {
		inTime(t, 1, func(h *timed) {
			s := h.create(hourly(func(s *schedule.Spec) { s.Overlap = overlap }))
			time.Sleep(3*time.Hour + time.Minute)
			first := h.read(s.ID).Runs[0].TaskID
			if overlap == schedule.CancelRunning {
				if old, err := h.st.Tasks.Find(h.t.Context(), "default", first); err != nil || old.Status != task.Canceled {
					t.Errorf("the first run is %+v, %v; want it canceled", old, err)
				}
			} else {
				h.finish(first, `1`)
			}
			time.Sleep(time.Hour)
			if got := h.runs(s.ID); got != want {
				t.Errorf("%s:\n got %s\nwant %s", overlap, got, want)
			}
		})
	}
}

func TestTimesThatNoGatewayWasThereForAreCaughtUpOrCounted(t *testing.T) {
	for policy, want := range map[schedule.Policy]string{
		schedule.One:  "01:00 fired, 02:00 missed, 03:00 missed, 04:00 fired",
		schedule.All:  "01:00 fired, 02:00 fired, 03:00 fired, 04:00 fired",
		schedule.None: "01:00 fired, 02:00 missed, 03:00 missed, 04:00 missed",
	} {
		inTime(t, 1, func(h *timed) {
			s := h.create(hourly(func(s *schedule.Spec) { s.Overlap, s.CatchUp.Policy = schedule.Allow, policy }))
			time.Sleep(time.Hour + time.Minute)
			h.stop()
			time.Sleep(3*time.Hour + 10*time.Minute)
			h.run(1)
			time.Sleep(time.Minute)
			if got := h.runs(s.ID); got != want {
				t.Errorf("%s:\n got %s\nwant %s", policy, got, want)
			}
		})
	}
}

func TestAPausedScheduleStartsNothingAndGoesOnFromNow(t *testing.T) {
	inTime(t, 1, func(h *timed) {
		s := h.create(hourly(func(s *schedule.Spec) { s.Overlap = schedule.Allow }))
		ctx, who := h.t.Context(), auth.Local()
		time.Sleep(time.Hour + time.Minute)
		if p, err := h.core.Schedules.Pause(ctx, who, string(s.ID), "holidays"); err != nil || !p.Paused || p.Note != "holidays" || h.core.Schedules.Next(p, 5) != nil {
			t.Fatalf("%+v, %v", p, err)
		}
		time.Sleep(2 * time.Hour)
		if _, err := h.core.Schedules.Resume(ctx, who, string(s.ID)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if got := h.runs(s.ID); got != "01:00 fired, 04:00 fired" {
			t.Errorf("runs %s", got)
		}
		from := s.CreatedAt.Add(time.Hour)
		if times, err := h.core.Schedules.Backfill(ctx, who, string(s.ID), from, from.Add(2*time.Hour), ""); err != nil || len(times) != 3 {
			t.Errorf("%v, %v", times, err)
		}
		if got := fmt.Sprint(h.queued()); got != "[01:00 02:00 03:00 04:00]" {
			t.Errorf("after the backfill, which knows the first: %s", got)
		}
		if r, err := h.core.Schedules.Trigger(ctx, who, string(s.ID)); err != nil || r.Outcome != schedule.Fired || len(h.all()) != 5 {
			t.Errorf("trigger: %+v, %v", r, err)
		}
	})
}

func TestAChangedScheduleForgetsItsOldTimes(t *testing.T) {
	inTime(t, 1, func(h *timed) {
		s := h.create(hourly(func(s *schedule.Spec) { s.Overlap = schedule.Allow }))
		_, err := h.core.Schedules.Update(h.t.Context(), auth.Local(), string(s.ID), nil, func(s *schedule.Spec) []mesh.Invalid {
			s.Cron = []string{"30 */2 * * *"}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Hour)
		if got := fmt.Sprint(h.queued()); got != "[00:30 02:30 04:30]" {
			t.Errorf("tasks %s", got)
		}
		if err := h.core.Schedules.Delete(h.t.Context(), auth.Local(), string(s.ID), nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Hour)
		if n := len(h.all()); n != 3 {
			t.Errorf("%d tasks after it was deleted", n)
		}
		if _, err := h.core.Schedules.Get(h.t.Context(), auth.Local(), string(s.ID)); !errors.Is(err, mesh.ErrScheduleNotFound) {
			t.Errorf("read after delete: %v", err)
		}
	})
}

func TestAScheduleWhoseRunsFailIsPaused(t *testing.T) {
	inTime(t, 1, func(h *timed) {
		s := h.create(hourly(func(s *schedule.Spec) { s.PauseAfterFailures = 2 }))
		for range 3 {
			time.Sleep(time.Hour + time.Second)
			for _, tk := range h.all() {
				if tk.Status.Terminal() {
					continue
				}
				tk.Error = &task.Error{Code: "x"}
				if err := tk.To(task.Failed, time.Now()); err != nil {
					t.Fatal(err)
				}
				h.save(tk)
			}
		}
		if p := h.read(s.ID); !p.Paused || !strings.Contains(p.Note, "2 runs failed") || p.Counts.Fired != 2 || p.Counts.Failed != 2 {
			t.Errorf("%+v", p)
		}
	})
}

func TestAScheduleRunsAsOftenAsItMay(t *testing.T) {
	inTime(t, 1, func(h *timed) {
		h.create(hourly(func(s *schedule.Spec) { s.Overlap, s.MaxRuns = schedule.Allow, 2 }))
		h.create(hourly(func(s *schedule.Spec) {
			s.Overlap, s.EndAt = schedule.Allow, time.Now().Add(150*time.Minute)
			s.Task.Agent = "other"
		}))
		time.Sleep(6 * time.Hour)
		if got := fmt.Sprint(h.queued()); got != "[01:00 01:00 02:00 02:00]" {
			t.Errorf("tasks %s", got)
		}
	})
}

func TestJitterIsPartOfNoTime(t *testing.T) {
	inTime(t, 1, func(h *timed) {
		s := h.create(hourly(func(s *schedule.Spec) { s.Overlap, s.Jitter = schedule.Allow, task.Duration(30*time.Minute) }))
		time.Sleep(4*time.Hour + 31*time.Minute)
		if got := fmt.Sprint(h.queued()); got != "[01:00 02:00 03:00 04:00]" {
			t.Errorf("tasks of %s", got)
		}
		for _, tk := range h.all() {
			want := schedule.Delay(s.ID, tk.ScheduledAt, 30*time.Minute)
			if late := tk.CreatedAt.Sub(tk.ScheduledAt); late < want || late > want+time.Second {
				t.Errorf("%s ran %v late, want %v", tk.ScheduledAt, late, want)
			}
		}
	})
}

// A schedule says something in a session, one turn after the other.
func TestAScheduleSpeaksInASession(t *testing.T) {
	inTime(t, 1, func(h *timed) {
		talk, err := h.core.Sessions.Open(h.t.Context(), auth.Local(), "echo", nil)
		if err != nil {
			t.Fatal(err)
		}
		s := h.create(schedule.Spec{Cron: []string{"@hourly"}, Message: &schedule.Message{SessionID: string(talk.SessionID), Text: "news?"}})
		time.Sleep(time.Hour + time.Second)
		open, err := h.st.Turns.Open(h.t.Context(), "default", "echo", talk.SessionID)
		if err != nil || open.Instruction != "news?" || h.read(s.ID).Runs[0].TaskID != open.ID {
			t.Fatalf("%+v, %v", open, err)
		}
		time.Sleep(time.Hour)
		if got := h.runs(s.ID); got != "01:00 fired, 02:00 skipped" {
			t.Errorf("runs %s", got)
		}
	})
}

func TestAnAlarmThatIsMissingIsSetAgain(t *testing.T) {
	inTime(t, 1, func(h *timed) {
		s := h.create(hourly(func(s *schedule.Spec) { s.Overlap = schedule.Allow }))
		if err := h.st.Schedules.Disarm(h.t.Context(), s); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour + time.Minute)
		if got := h.runs(s.ID); got != "01:00 fired" {
			t.Errorf("runs %s", got)
		}
	})
}

// What was done before a gateway died is done again with no effect.
func TestAnAlarmThatComesAgainStartsNothingTwice(t *testing.T) {
	inTime(t, 1, func(h *timed) {
		s := h.create(hourly(func(s *schedule.Spec) { s.Overlap = schedule.Allow }))
		time.Sleep(time.Hour + time.Minute)
		before := h.read(s.ID)
		before.Last, before.Runs, before.Counts = s.Last, nil, schedule.Counts{} // as if the record was not written
		if err := h.st.Schedules.Save(h.t.Context(), before); err != nil {
			t.Fatal(err)
		}
		if err := h.st.Schedules.Arm(h.t.Context(), before, time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := h.runs(s.ID); got != "01:00 fired" || len(h.all()) != 1 {
			t.Errorf("runs %s, %d tasks", got, len(h.all()))
		}
	})
}

func TestATaskThatTheMeshRefusesIsARunWithAReason(t *testing.T) {
	inTime(t, 1, func(h *timed) {
		s := h.create(hourly(func(s *schedule.Spec) { s.Task.Agent = "other" }))
		if _, err := h.st.Registry.Register(h.t.Context(), task.Definition{Name: "other", InputSchema: json.RawMessage(`{"type":"string"}`), Version: "2"}, "wrk_1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour + time.Minute)
		r := h.read(s.ID).Runs
		if len(r) != 1 || r[0].Outcome != schedule.Refused || !strings.Contains(r[0].Reason, mesh.ErrInputInvalid.Code) {
			t.Errorf("%+v", r)
		}
	})
}

func TestAScheduleIsCheckedBeforeItIsKept(t *testing.T) {
	inTime(t, 1, func(h *timed) {
		for name, tt := range map[string]struct {
			spec    schedule.Spec
			refusal *mesh.Refusal
			pointer string
		}{
			"no agent":     {hourly(func(s *schedule.Spec) { s.Task.Agent = "nobody" }), mesh.ErrAgentNotFound, ""},
			"bad label":    {hourly(func(s *schedule.Spec) { s.Task.Labels = map[string]string{"": "x"} }), mesh.ErrValidationFailed, "/task/labels/"},
			"bad cron":     {hourly(func(s *schedule.Spec) { s.Cron = []string{"x"} }), mesh.ErrValidationFailed, "/cron/0"},
			"no work":      {hourly(func(s *schedule.Spec) { s.Task = nil }), mesh.ErrValidationFailed, "/task"},
			"no session":   {schedule.Spec{Cron: []string{"@daily"}, Message: &schedule.Message{SessionID: "ses_x", Text: "hi"}}, nil, ""},
			"large input":  {hourly(func(s *schedule.Spec) { s.Task.Input = json.RawMessage(`"` + strings.Repeat("x", 300<<10) + `"`) }), mesh.ErrValidationFailed, "/task/input"},
			"no time zone": {hourly(func(s *schedule.Spec) { s.Timezone = "Mars" }), mesh.ErrValidationFailed, "/timezone"},
		} {
			_, err := h.core.Schedules.Create(h.t.Context(), auth.Local(), tt.spec)
			var e *mesh.Error
			if err == nil || tt.refusal != nil && !errors.Is(err, tt.refusal) {
				t.Errorf("%s: %v", name, err)
			}
			if errors.As(err, &e) && tt.pointer != "" && (len(e.Faults) == 0 || !strings.HasPrefix(e.Faults[0].Pointer, strings.TrimSuffix(tt.pointer, "/"))) {
				t.Errorf("%s: faults %+v, want %s", name, e.Faults, tt.pointer)
			}
		}
		h.create(hourly(func(s *schedule.Spec) { s.Name = "nightly" }))
		if _, err := h.core.Schedules.Create(h.t.Context(), auth.Local(), hourly(func(s *schedule.Spec) { s.Name = "nightly" })); !errors.Is(err, mesh.ErrScheduleExists) {
			t.Errorf("a name twice: %v", err)
		}
		if _, err := h.core.Schedules.Create(h.t.Context(), of("acme"), hourly(func(s *schedule.Spec) { s.Name = "nightly" })); err != nil {
			t.Errorf("the name of another tenant's: %v", err)
		}
		put, created, err := h.core.Schedules.Put(h.t.Context(), auth.Local(), "nightly", hourly(func(s *schedule.Spec) { s.MaxRuns = 7 }))
		if err != nil || created || put.MaxRuns != 7 || put.Name != "nightly" {
			t.Errorf("put: %+v, %v, %v", put, created, err)
		}
		if _, err := h.core.Schedules.Get(h.t.Context(), of("acme"), string(put.ID)); !errors.Is(err, mesh.ErrScheduleNotFound) {
			t.Errorf("another tenant's: %v", err)
		}
	})
}

// A schedule acts for its tenant when its owner is away, so it may do no more than
// its owner could.
func TestAScheduleStartsNothingThatItsOwnerMayNot(t *testing.T) {
	inTime(t, 1, func(h *timed) {
		talk, err := h.core.Sessions.Open(h.t.Context(), auth.Local(), "echo", nil)
		if err != nil {
			h.t.Fatal(err)
		}
		speaks := schedule.Spec{Cron: []string{"@daily"}, Message: &schedule.Message{SessionID: string(talk.SessionID), Text: "hi"}}
		kept := h.create(hourly(nil))
		for _, tt := range []struct {
			spec schedule.Spec
			has  auth.Scope
			may  bool
		}{
			{hourly(nil), auth.SchedulesRead, false},
			{hourly(nil), auth.SessionsWrite, false},
			{hourly(nil), auth.TasksWrite, true},
			{speaks, auth.TasksWrite, false},
			{speaks, auth.SessionsWrite, true},
		} {
			who := auth.Caller{Tenant: auth.DefaultTenant, Subject: "someone", Scopes: []auth.Scope{auth.SchedulesWrite, tt.has}}
			_, err := h.core.Schedules.Create(h.t.Context(), who, tt.spec)
			if err == nil != tt.may || !tt.may && !errors.Is(err, mesh.ErrForbidden) {
				t.Errorf("create with %v: %v", who.Scopes, err)
			}
			_, err = h.core.Schedules.Update(h.t.Context(), who, string(kept.ID), nil, func(s *schedule.Spec) []mesh.Invalid {
				*s = tt.spec
				return nil
			})
			if err == nil != tt.may || !tt.may && !errors.Is(err, mesh.ErrForbidden) {
				t.Errorf("update with %v: %v", who.Scopes, err)
			}
		}
		operator := auth.Caller{Tenant: auth.DefaultTenant, Subject: "operator", Scopes: []auth.Scope{auth.SchedulesWrite}}
		if _, err := h.core.Schedules.Pause(h.t.Context(), operator, string(kept.ID), ""); err != nil {
			t.Errorf("pause: %v", err)
		}
	})
}
