package mesh

import (
	"context"
	"errors"
	"time"

	"agentmesh/shared/schedule"
)

// sweep sets the alarms that are missing or of an earlier record: of a schedule whose
// gateway died between its record and its alarm. It looks at once and every five
// minutes.
func (r *scheduler) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := r.look(ctx); err != nil && ctx.Err() == nil {
			r.log.Debug("alarms not looked at, trying again", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (r *scheduler) look(ctx context.Context) error {
	all, err := r.store.Schedules.List(ctx, "")
	if err != nil {
		return err
	}
	for _, s := range all {
		at, ok := alarmOf(s, time.Now())
		if !ok {
			continue
		}
		armed, err := r.store.Schedules.Armed(ctx, s, at)
		if err == nil && !armed {
			err = r.rearm(ctx, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rearm sets the alarm of a schedule for what comes next, or takes it away. Its record
// was written before. Of two who change it at once the one whose record is the older may
// be the later here: so each looks whether the record is still what the alarm was set
// for, and else sets it anew.
func (c Schedules) rearm(ctx context.Context, s *schedule.Schedule) error {
	for {
		if err := c.arm(ctx, s); err != nil {
			return err
		}
		now, err := c.store.Schedules.Get(ctx, s.Tenant, s.ID)
		if errors.Is(err, schedule.ErrNotFound) {
			return c.store.Schedules.Disarm(ctx, s)
		}
		if err != nil || now.Rev == s.Rev {
			return err
		}
		s = now
	}
}

// arm sets the alarm as a record says.
func (c Schedules) arm(ctx context.Context, s *schedule.Schedule) error {
	at, ok := alarmOf(s, time.Now())
	if !ok {
		return c.store.Schedules.Disarm(ctx, s)
	}
	return c.store.Schedules.Arm(ctx, s, at)
}

// alarmOf is when a schedule is to be looked at next, and whether at all.
func alarmOf(s *schedule.Schedule, now time.Time) (at time.Time, ok bool) {
	rule, faults := s.Rule(s.CreatedAt)
	if s.Paused || s.Over() || len(faults) > 0 {
		return time.Time{}, false
	}
	if at, ok = rule.Next(s.Last); ok {
		at = at.Add(schedule.Delay(s.ID, at, time.Duration(s.Jitter)))
	}
	if len(s.Waits) > 0 {
		wait := waitLeast
		if open := s.OpenRun(); open != nil {
			wait = min(max(waitLeast, now.Sub(open.Decided)/10), waitMost)
		}
		if again := now.Add(wait); !ok || again.Before(at) {
			at, ok = again, true
		}
	}
	return at, ok
}
