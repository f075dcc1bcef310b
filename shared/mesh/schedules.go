package mesh

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"agentmesh/shared/audit"
	"agentmesh/shared/auth"
	"agentmesh/shared/schedule"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
)

// Schedules keeps what starts at a time.
type Schedules struct{ *core }

// Bounds of schedules.
const (
	maxSchedules   = 1000
	maxScheduled   = 256 << 10 // bytes of the input that a schedule keeps
	maxBackfill    = 1000
	maxBackfillAll = 366 * 24 * time.Hour
)

// Create makes a schedule. The task is checked as if it were to run now.
func (c Schedules) Create(ctx context.Context, who auth.Caller, spec schedule.Spec, faults ...Invalid) (made *schedule.Schedule, err error) {
	id := schedule.NewID(uuid.Must(uuid.NewV7()))
	defer func() { c.audit(ctx, who, audit.ScheduleCreate, string(id), err) }()
	now := task.Stamp(time.Now())
	s := &schedule.Schedule{
		Spec: spec.WithDefaults(), ID: id, Tenant: who.Tenant, Version: 1,
		CreatedAt: now, UpdatedAt: now, Last: now,
	}
	if err := c.check(ctx, who, s, faults); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	err = c.store.Schedules.Add(ctx, s, maxSchedules)
	switch {
	case errors.Is(err, schedule.ErrTooMany):
		return nil, Refuse(ErrTooManySchedules, "There are %d, which is the limit. Delete one that is not needed.", maxSchedules)
	case errors.Is(err, schedule.ErrExists):
		return nil, Refuse(ErrScheduleExists, "There is a schedule %q. PUT /schedules/%s replaces it.", s.Name, s.Name)
	case errors.Is(err, task.ErrConflict):
		return nil, schedulesChanged()
	case err != nil:
		return nil, err
	}
	return s, c.rearm(ctx, s)
}

func schedulesChanged() error {
	return Refuse(ErrConflict, "Schedules are being changed by others. Try again.")
}

// Put makes the schedule of a name what spec says, whatever it was before. In the
// place of a name there may be the id of a schedule that there is.
func (c Schedules) Put(ctx context.Context, who auth.Caller, name string, spec schedule.Spec, faults ...Invalid) (s *schedule.Schedule, created bool, err error) {
	old, err := c.Get(ctx, who, name)
	byID := schedule.ID(name).Valid()
	if byID && err == nil {
		name = old.Name
	}
	if spec.Name != "" && spec.Name != name {
		faults = append(faults, Field("it is not the name in the URL; leave it out", "/name"))
	}
	spec.Name = name
	if !byID && errors.Is(err, ErrScheduleNotFound) {
		s, err = c.Create(ctx, who, spec, faults...)
		return s, true, err
	}
	if err != nil {
		return nil, false, err
	}
	s, err = c.Update(ctx, who, string(old.ID), nil, func(own *schedule.Spec) []Invalid {
		*own = spec
		return faults
	})
	return s, false, err
}

// Get reads a schedule by its id or its name.
func (c Schedules) Get(ctx context.Context, who auth.Caller, name string) (*schedule.Schedule, error) {
	err := error(schedule.ErrNotFound)
	var s *schedule.Schedule
	if id := schedule.ID(name); id.Valid() {
		s, err = c.store.Schedules.Get(ctx, who.Tenant, id)
	} else if name != "" {
		var all []*schedule.Schedule
		if all, err = c.store.Schedules.List(ctx, who.Tenant); err == nil {
			err = schedule.ErrNotFound
			if i := slices.IndexFunc(all, func(s *schedule.Schedule) bool { return s.Name == name }); i >= 0 {
				s, err = all[i], nil
			}
		}
	}
	if errors.Is(err, schedule.ErrNotFound) {
		return nil, Refuse(ErrScheduleNotFound, "No schedule with this id or name is known. GET /schedules lists them.")
	}
	return s, err
}

// Seen reads a schedule with the states that the tasks of its runs have now: the
// record has those of when the schedule was worked on last.
func (c Schedules) Seen(ctx context.Context, who auth.Caller, name string) (*schedule.Schedule, error) {
	s, err := c.Get(ctx, who, name)
	if err != nil {
		return nil, err
	}
	f := firing{Schedules: c, s: s, now: time.Now()}
	return s, f.states(ctx)
}

// List lists the schedules of a tenant in the order of their creation.
func (c Schedules) List(ctx context.Context, who auth.Caller) ([]*schedule.Schedule, error) {
	return c.store.Schedules.List(ctx, who.Tenant)
}

// Newest is the place of the newest change of any schedule: it tells whether there is
// something to read.
func (c Schedules) Newest(ctx context.Context) (uint64, error) { return c.store.Schedules.Newest(ctx) }

// Update changes what the owner of a schedule has said. Times that have passed are
// not decided again.
func (c Schedules) Update(ctx context.Context, who auth.Caller, name string, expect func(rev uint64) error, change func(*schedule.Spec) []Invalid) (s *schedule.Schedule, err error) {
	defer func() { c.audit(ctx, who, audit.ScheduleUpdate, name, err) }()
	return c.change(ctx, who, name, expect, func(s *schedule.Schedule) error {
		faults := change(&s.Spec)
		s.Spec = s.Spec.WithDefaults()
		return c.check(ctx, who, s, faults)
	})
}

// Pause has a schedule start nothing until it is resumed.
func (c Schedules) Pause(ctx context.Context, who auth.Caller, name, note string) (s *schedule.Schedule, err error) {
	defer func() { c.audit(ctx, who, audit.SchedulePause, name, err) }()
	const most = 256
	if len(note) > most {
		return nil, RefuseFields(Field("it has at most 256 bytes", "/note"))
	}
	return c.change(ctx, who, name, nil, func(s *schedule.Schedule) error {
		s.Pause(time.Now(), note)
		return nil
	})
}

// Resume has a schedule go on from now. The times that it was paused for run by
// Backfill only.
func (c Schedules) Resume(ctx context.Context, who auth.Caller, name string) (s *schedule.Schedule, err error) {
	defer func() { c.audit(ctx, who, audit.ScheduleResume, name, err) }()
	return c.change(ctx, who, name, nil, func(s *schedule.Schedule) error {
		if s.Paused {
			s.Last = task.Stamp(time.Now())
		}
		s.Paused, s.Note, s.Failures = false, "", 0
		return nil
	})
}

// change changes a schedule by compare-and-set. Its alarms of before are void.
func (c Schedules) change(ctx context.Context, who auth.Caller, name string, expect func(rev uint64) error, change func(*schedule.Schedule) error) (*schedule.Schedule, error) {
	ctx = context.WithoutCancel(ctx)
	var s *schedule.Schedule
	err := besideOthers(ctx, schedulesChanged, func() (err error) {
		if s, err = c.Get(ctx, who, name); err != nil {
			return err
		}
		if expect != nil {
			if err := expect(s.Rev); err != nil {
				return err
			}
		}
		if err := change(s); err != nil {
			return err
		}
		s.Version++
		s.UpdatedAt = task.Stamp(time.Now())
		return c.store.Schedules.Save(ctx, s)
	})
	if err != nil {
		return nil, err
	}
	return s, c.rearm(ctx, s)
}

// Delete deletes a schedule. What it has started goes on.
func (c Schedules) Delete(ctx context.Context, who auth.Caller, name string, expect func(rev uint64) error) (err error) {
	defer func() { c.audit(ctx, who, audit.ScheduleDelete, name, err) }()
	ctx = context.WithoutCancel(ctx)
	return besideOthers(ctx, schedulesChanged, func() error {
		s, err := c.Get(ctx, who, name)
		if err != nil {
			return err
		}
		if expect != nil {
			if err := expect(s.Rev); err != nil {
				return err
			}
		}
		return c.store.Schedules.Delete(ctx, s)
	})
}

// Trigger starts a run now, whatever the time, by the overlap policy.
func (c Schedules) Trigger(ctx context.Context, who auth.Caller, name string) (r schedule.Run, err error) {
	defer func() { c.audit(ctx, who, audit.ScheduleTrigger, name, err) }()
	at := task.Stamp(time.Now())
	r = schedule.Run{At: at, Decided: at, Outcome: schedule.Waiting} // what is told where 20 others have come since
	s, err := c.decideNow(ctx, who, name, "", func(s *schedule.Schedule) []time.Time {
		for s.Knows(at) { // another trigger of this millisecond
			at = at.Add(time.Millisecond)
		}
		return []time.Time{at}
	})
	if err != nil {
		return schedule.Run{}, err
	}
	for _, one := range s.Runs {
		if one.At.Equal(at) {
			r = one
		}
	}
	return r, nil
}

// Backfill runs the times from one to another, both included, again or for the
// first time. An empty overlap is allow. A time whose task is known runs no second
// time.
func (c Schedules) Backfill(ctx context.Context, who auth.Caller, name string, from, to time.Time, overlap schedule.Overlap) (times []time.Time, err error) {
	defer func() { c.audit(ctx, who, audit.ScheduleBackfill, name, err) }()
	s, err := c.Get(ctx, who, name)
	if err != nil {
		return nil, err
	}
	if overlap == "" {
		overlap = schedule.Allow
	}
	var faults []Invalid
	fault := func(pointer, detail string) { faults = append(faults, Field(detail, pointer)) }
	if !schedule.Within(from) || to.Before(from) || to.Sub(from) > maxBackfillAll {
		fault("/from", "from and to are times such as \"2026-05-19T10:30:00Z\", in this order and at most a year apart")
	}
	if to.After(time.Now()) {
		fault("/to", "it lies ahead: those times run by themselves")
	}
	if !slices.Contains([]schedule.Overlap{schedule.Skip, schedule.Queue, schedule.QueueAll, schedule.CancelRunning, schedule.Allow}, overlap) {
		fault("/overlap", "it must be skip, queue, queue_all, cancel_running or allow")
	}
	if len(faults) > 0 {
		return nil, RefuseFields(faults...)
	}
	rule, _ := s.Rule(s.CreatedAt)
	for at, ok := rule.Next(from.Add(-1)); ok && !at.After(to); at, ok = rule.Next(at) {
		if times = append(times, task.Stamp(at)); len(times) > maxBackfill {
			return nil, RefuseFields(Field("there are more than 1000 times in between; send a shorter span", "/to"))
		}
	}
	if len(times) == 0 {
		return nil, nil
	}
	_, err = c.decideNow(ctx, who, string(s.ID), overlap, func(*schedule.Schedule) []time.Time { return times })
	return times, err
}

// Coming are the next times of a specification that is not kept, and what a change
// of the clock does to each.
func (c Schedules) Coming(spec schedule.Spec, from time.Time, n int, faults ...Invalid) ([]ComingRun, error) {
	rule, found := spec.WithDefaults().Rule(from)
	for _, f := range found {
		faults = append(faults, Field(f.Detail, f.Pointer))
	}
	if !schedule.Within(from) {
		faults = append(faults, Field("it must lie between 1970 and 2199", "/from"))
	}
	if n < 1 || n > 100 {
		faults = append(faults, Field("it must be 1 to 100", "/count"))
	}
	if len(faults) > 0 {
		return nil, RefuseFields(faults...)
	}
	return coming(rule, from, n), nil
}

// ComingRun is a time that will be due.
type ComingRun struct {
	At   time.Time // in the zone of the schedule
	Note string    // what a change of the clock does to it; empty: nothing
}

func coming(rule schedule.Rule, from time.Time, n int) []ComingRun {
	var all []ComingRun
	for _, at := range rule.Coming(from, n) {
		all = append(all, ComingRun{at, rule.Note(at)})
	}
	return all
}

// Next are the next n times of a schedule; none while it is paused or when it is
// over.
func (c Schedules) Next(s *schedule.Schedule, n int) []ComingRun {
	rule, faults := s.Rule(s.CreatedAt)
	if s.Paused || s.Over() || len(faults) > 0 {
		return nil
	}
	if left := s.MaxRuns - s.Counts.Fired; s.MaxRuns > 0 {
		n = min(n, left)
	}
	return coming(rule, s.Last, n)
}

// check refuses a specification with any fault, and one whose task the mesh would
// not accept.
func (c Schedules) check(ctx context.Context, who auth.Caller, s *schedule.Schedule, faults []Invalid) error {
	for _, f := range s.Check(s.CreatedAt) {
		faults = append(faults, Field(f.Detail, f.Pointer))
	}
	if s.Task != nil && len(s.Task.Input) > maxScheduled {
		faults = append(faults, Field("a schedule keeps an input of at most 256 KiB; put the rest where the agent can read it", "/task/input"))
	}
	if len(faults) > 0 {
		return RefuseFields(faults...)
	}
	if err := mayStart(who, s); err != nil {
		return err
	}
	if s.Message != nil {
		if s.Message.Text == "" {
			return RefuseFields(Field("it must say something", "/message/text"))
		}
		talk, err := Sessions(c).Get(ctx, who, session.ID(s.Message.SessionID))
		if err == nil {
			s.Message.Agent = talk.Agent
		}
		return err
	}
	return c.checkWork(ctx, who, &s.Task.Work, s.Task.Input, false)
}

// mayStart refuses a caller who may not do itself what a schedule does for it.
func mayStart(who auth.Caller, s *schedule.Schedule) error {
	need, what := auth.TasksWrite, "starts tasks"
	if s.Message != nil {
		need, what = auth.SessionsWrite, "speaks in a session"
	}
	if who.May(need) {
		return nil
	}
	return Refuse(ErrForbidden, "The schedule %s, which needs the scope %s, too, and these credentials have %v.", what, need, who.Scopes)
}
