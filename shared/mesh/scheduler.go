package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/pause"
	"agentmesh/shared/schedule"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
)

// scheduler starts what is due. Every gateway runs one; an alarm that went off is
// given to one of them, and to another when that one dies. All that it does again
// then has happened already: the id of a task follows from its schedule and its
// time, and the record is changed by compare-and-set.
type scheduler struct {
	Schedules

	upkeep *store.Upkeep
	log    *slog.Logger
	room   chan struct{} // taken while an alarm is worked on
}

// Times and bounds of the scheduler.
const (
	alarmLease   = 30 * time.Second
	alarmRetry   = 5 * time.Second // after an alarm that could not be worked on
	alarmsAtOnce = 32
	sweepEvery   = 5 * time.Minute
	// A time that waits for the run before is looked at again after a tenth of what
	// that run has taken, within these bounds.
	waitLeast = 5 * time.Second
	waitMost  = time.Minute
)

func newScheduler(c *core) *scheduler {
	for _, counter := range []*telemetry.Counter{telemetry.SchedulesFired, telemetry.SchedulesSkipped, telemetry.SchedulesMissed} {
		counter.Add(0)
	}
	return &scheduler{Schedules: Schedules{c}, upkeep: c.store.Consumers.Upkeep(c.log), log: c.log, room: make(chan struct{}, alarmsAtOnce)}
}

func (r *scheduler) durables() []store.Durable {
	return []store.Durable{store.SchedulerDurable(alarmLease)}
}

// run works on alarms until ctx is done.
func (r *scheduler) run(ctx context.Context) {
	var loops sync.WaitGroup
	defer loops.Wait()
	loops.Go(func() { r.upkeep.Run(ctx, r.durables) })
	loops.Go(func() { r.sweep(ctx) })
	for ctx.Err() == nil {
		kept, err := r.upkeep.Open(ctx, r.durables()[0])
		if err == nil {
			err = r.listen(ctx, kept, &loops)
		}
		if err != nil && ctx.Err() == nil {
			r.log.Warn("scheduler cannot pull, trying again", "error", err)
		}
		pause.For(ctx, time.Second)
	}
}

// listen works on the alarms of one life of the consumer.
func (r *scheduler) listen(ctx context.Context, kept *store.Kept, works *sync.WaitGroup) error {
	prefetch := store.Prefetch{Messages: alarmsAtOnce, Bytes: 2 * int(r.store.MaxPayload()), Expires: 30 * time.Second, Heartbeat: 15 * time.Second}
	disturbed := func(err error) bool {
		r.log.Debug("pull of alarms disturbed", "error", err)
		pause.For(ctx, time.Second)
		now, err := r.upkeep.Open(ctx, r.durables()[0])
		return err == nil && now != kept
	}
	return kept.Each(ctx, prefetch, disturbed, func(msg *store.Delivered) {
		select {
		case r.room <- struct{}{}:
		case <-ctx.Done():
			_ = msg.Nak(0)
			return
		}
		works.Go(func() {
			defer func() { <-r.room }()
			r.ring(context.WithoutCancel(ctx), msg)
		})
	})
}

// ring works on an alarm that went off.
func (r *scheduler) ring(ctx context.Context, msg *store.Delivered) {
	a, err := msg.Alarm()
	if err != nil {
		r.log.Error("alarm is not readable, dropping it", "error", err)
		_ = msg.Drop()
		return
	}
	ctx, cancel := context.WithTimeout(ctx, alarmLease-alarmRetry)
	defer cancel()
	if err := r.fire(ctx, a); err != nil {
		r.log.Warn("schedule is not worked on, trying again", "schedule", a.ID, "error", err)
		_ = msg.Nak(alarmRetry)
		return
	}
	if err := msg.AckSync(ctx); err != nil {
		r.log.Debug("alarm not acked, it comes again", "schedule", a.ID, "error", err)
	}
}

// fire decides everything that is due of a schedule and sets its next alarm.
func (r *scheduler) fire(ctx context.Context, a store.Alarm) error {
	f := firing{Schedules: r.Schedules}
	for {
		s, err := r.store.Schedules.Get(ctx, a.Tenant, a.ID)
		if errors.Is(err, schedule.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if s.Paused || s.Version != a.Version {
			return nil
		}
		now := time.Now()
		if now.Before(a.At) { // the server's clock is ahead of ours
			now = a.At
		}
		f.s, f.now, f.paused = s, now, false
		if err := f.all(ctx); err != nil {
			return err
		}
		err = r.store.Schedules.Save(ctx, s)
		if errors.Is(err, task.ErrConflict) {
			continue
		}
		if err == nil && !f.paused {
			err = r.rearm(ctx, s)
		}
		return err
	}
}

// firing is one look at a schedule. It changes its copy of the record only.
type firing struct {
	Schedules

	s      *schedule.Schedule
	now    time.Time
	paused bool // the schedule has just been paused for its failures

	// reserves has a time that may not run beside others wait until the record has it.
	reserves bool
	// made are the runs that were started for a record that somebody else has changed
	// meanwhile: they run, whatever the record says now.
	made []schedule.Run
}

// all decides what waits and what is due.
func (f *firing) all(ctx context.Context) error {
	s := f.s
	if err := f.refresh(ctx); err != nil {
		return err
	}
	if err := f.startWaiting(ctx); err != nil {
		return err
	}
	rule, faults := s.Rule(s.CreatedAt)
	if len(faults) > 0 { // no zone data for it any more
		return fmt.Errorf("schedule %s: %s: %s", s.ID, faults[0].Pointer, faults[0].Detail)
	}
	until := f.now
	run, missed, count := rule.Due(s.Last, until, s.CatchUp)
	for len(run) > 0 { // the newest may have to be late
		newest := run[len(run)-1]
		if !newest.Add(schedule.Delay(s.ID, newest, time.Duration(s.Jitter))).After(f.now) {
			break
		}
		until = newest.Add(-1)
		run, missed, count = rule.Due(s.Last, until, s.CatchUp)
	}
	f.miss(missed, count)
	for _, at := range run {
		telemetry.ScheduleLateness.Record(f.now.Sub(at))
		if err := f.decide(ctx, at, ""); err != nil {
			return err
		}
	}
	if until.After(s.Last) {
		s.Last = task.Stamp(until)
	}
	return nil
}

// miss writes down the times that nobody was there to run.
func (f *firing) miss(missed []time.Time, count int) {
	for _, at := range missed {
		f.s.Record(schedule.Run{At: at, Decided: f.now, Outcome: schedule.Missed, Reason: "nothing looked at the schedule in time; catch_up says which of such times run"})
	}
	f.s.Counts.Missed += count - len(missed)
	if count > 0 {
		telemetry.SchedulesMissed.Add(int64(count))
		f.log.Warn("due times were missed", "schedule", f.s.ID, "name", f.s.Name, "tenant", f.s.Tenant, "times", count)
	}
}

// refresh asks how the tasks of open runs are, and pauses a schedule whose runs
// fail.
func (f *firing) refresh(ctx context.Context) error {
	if err := f.states(ctx); err != nil {
		return err
	}
	s := f.s
	if n := s.PauseAfterFailures; n > 0 && s.Failures >= n && !s.Paused {
		s.Pause(f.now, fmt.Sprintf("%d runs failed in a row", s.Failures))
		f.paused = true
		s.Version++
		f.log.Warn("schedule paused: its runs fail", "schedule", s.ID, "name", s.Name, "tenant", s.Tenant, "failures", s.Failures)
	}
	return nil
}

// states asks how the tasks of open runs are.
func (f *firing) states(ctx context.Context) error {
	s := f.s
	for i := range s.Runs {
		r := &s.Runs[i]
		if !r.Open() {
			continue
		}
		t, err := f.find(ctx, s.Tenant, r.TaskID, f.place())
		switch {
		case errors.Is(err, task.ErrNotFound):
			s.Ended(r, task.Canceled) // it is past its retention
		case err != nil:
			return err
		case t.Status.Terminal():
			s.Ended(r, t.Status)
		default:
			r.Status = t.Status
		}
	}
	return nil
}

// place is where the runs' turns are; zero for tasks.
func (f *firing) place() location {
	if f.s.Message == nil {
		return location{}
	}
	return location{agent: f.s.Message.Agent, session: session.ID(f.s.Message.SessionID)}
}

// decide says what becomes of a due time.
func (f *firing) decide(ctx context.Context, at time.Time, overlap schedule.Overlap) error {
	s := f.s
	if overlap == "" {
		overlap = s.Overlap
	}
	open := s.OpenRun()
	most, waiting := schedule.MaxWaiting, len(s.Waits)
	if overlap == schedule.Queue {
		most = 1
	}
	if open == nil && waiting > 0 {
		waiting-- // the first of them is about to start
	}
	switch {
	case f.runs(at) != nil && (overlap != schedule.CancelRunning || s.Over()):
		return f.start(ctx, at)
	case s.Paused && f.paused, s.Over():
		f.skip(at, "the schedule has ended or was paused")
	case overlap == schedule.Allow:
		return f.start(ctx, at)
	case overlap == schedule.CancelRunning:
		return f.replace(ctx, open, at)
	case open == nil && len(s.Waits) == 0 && !f.reserves:
		return f.start(ctx, at)
	case open == nil && len(s.Waits) == 0:
		f.wait(at, "it is about to start")
	case overlap == schedule.Skip && open == nil:
		f.skip(at, "the run before is about to start")
	case overlap == schedule.Skip:
		f.skip(at, "the run before, "+string(open.TaskID)+", is still open")
	case waiting >= most:
		f.skip(at, fmt.Sprintf("%d due times wait already", waiting))
	default:
		f.wait(at, "the run before is still open")
	}
	return nil
}

// runs is the run of a time that was started for a record that has changed since; nil:
// there is none.
func (f *firing) runs(at time.Time) *schedule.Run {
	if i := slices.IndexFunc(f.made, func(r schedule.Run) bool { return r.At.Equal(at) }); i >= 0 {
		return &f.made[i]
	}
	return nil
}

func (f *firing) wait(at time.Time, reason string) {
	f.s.Waits = append(f.s.Waits, at)
	f.s.Record(schedule.Run{At: at, Decided: f.now, Outcome: schedule.Waiting, Reason: reason})
}

func (f *firing) skip(at time.Time, reason string) {
	f.s.Record(schedule.Run{At: at, Decided: f.now, Outcome: schedule.Skipped, Reason: reason})
	telemetry.SchedulesSkipped.Add(1)
}

// replace cancels the open run and starts the next one.
func (f *firing) replace(ctx context.Context, open *schedule.Run, at time.Time) error {
	if open != nil {
		_, err := cancels{f.core}.cancelTree(ctx, f.s.Tenant, open.TaskID, f.place())
		if err != nil && !errors.Is(err, task.ErrFinished) && !errors.Is(err, task.ErrNotFound) {
			return err
		}
		f.s.Ended(open, task.Canceled)
	}
	return f.start(ctx, at)
}

// start starts the task of a due time, or finds it where it was started before. A
// refusal that lasts is written down; one that may pass is returned.
func (f *firing) start(ctx context.Context, at time.Time) error {
	if made := f.runs(at); made != nil {
		f.s.Record(*made)
		return nil
	}
	r := schedule.Run{At: at, Decided: f.now, Outcome: schedule.Fired, Status: task.Pending}
	var err error
	ctx, span := telemetry.StartSchedule(ctx, string(f.s.ID))
	if f.s.Message != nil {
		err = f.say(ctx, &r)
	} else {
		err = f.submit(ctx, &r)
	}
	telemetry.End(span, err)
	if err != nil {
		refused := RefusalOf(err)
		passes := refused.Wait() > 0 && refused.Refusal != ErrQuotaExceeded // a budget lasts longer than a due time
		if passes || refused.Refusal == ErrInternal {
			return err
		}
		r.Outcome, r.TaskID, r.Status, r.Reason = schedule.Refused, "", "", refused.Refusal.Code+": "+Clip(refused.Detail, 512)
		f.log.Error("the task of a schedule is refused", "schedule", f.s.ID, "name", f.s.Name, "tenant", f.s.Tenant, "reason", r.Reason)
	} else {
		telemetry.SchedulesFired.Add(1)
		f.made = append(f.made, r)
	}
	f.s.Record(r)
	return nil
}

// by is who a schedule acts as.
func (f *firing) by() auth.Caller {
	return auth.Caller{Tenant: f.s.Tenant, Subject: string(f.s.ID), Scopes: []auth.Scope{auth.TasksWrite, auth.SessionsWrite}}
}

func (f *firing) submit(ctx context.Context, r *schedule.Run) error {
	r.TaskID = task.DerivedID(task.KindTask, r.At, string(f.s.ID))
	old, err := f.store.Tasks.Find(ctx, f.s.Tenant, r.TaskID)
	if err == nil {
		r.Status = old.Status
		return nil
	}
	if !errors.Is(err, task.ErrNotFound) {
		return err
	}
	s, err := f.submissionOf(f.s.Tenant, &f.s.Task.Work)
	if err != nil {
		return err
	}
	s.Input, s.ID, s.ScheduleID, s.ScheduledAt = f.s.Task.Input, r.TaskID, string(f.s.ID), r.At
	a, err := Tasks{f.core}.Accept(ctx, f.by(), s)
	if err == nil {
		a.Close()
	}
	return err
}

// say says the schedule's message. The key has a repeat find the first turn.
func (f *firing) say(ctx context.Context, r *schedule.Run) error {
	m := &Message{
		Text: f.s.Message.Text, OnBusy: Wait, Until: time.Now().Add(alarmRetry),
		Key: NewKey(f.by(), fmt.Sprint(r.At.UnixMilli()), []string{"schedule", string(f.s.ID)}, f.s.Message.Text),
	}
	a, _, err := (Sessions{f.core}).Say(ctx, f.by(), session.ID(f.s.Message.SessionID), m)
	if err == nil {
		r.TaskID = a.TaskID
		a.Close()
	}
	return err
}
