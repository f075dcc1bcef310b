package mesh

import (
	"context"
	"crypto/rand"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/schedule"
)

// decideNow decides times that its owner names. An empty overlap is the schedule's own.
// A time that may not run beside others takes its place in the record before its task is
// started: of those who name times at once the compare-and-set says whose is the first.
func (c Schedules) decideNow(ctx context.Context, who auth.Caller, name string, overlap schedule.Overlap, named func(*schedule.Schedule) []time.Time) (*schedule.Schedule, error) {
	ctx = context.WithoutCancel(ctx)
	f := firing{Schedules: c, reserves: true}
	var times []time.Time
	err := besideOthers(ctx, schedulesChanged, func() (err error) {
		if f.s, err = c.Get(ctx, who, name); err != nil {
			return err
		}
		f.now = time.Now()
		if err := f.refresh(ctx); err != nil {
			return err
		}
		times = named(f.s)
		for _, at := range times {
			if err := f.decide(ctx, at, overlap); err != nil {
				return err
			}
		}
		f.s.Decided = rand.Text()
		return c.store.Schedules.Save(ctx, f.s)
	})
	if err == nil && !f.paused {
		err = f.begin(ctx, who, times)
	}
	if err != nil {
		return nil, err
	}
	if len(f.s.Waits) > 0 {
		err = c.rearm(ctx, f.s)
	}
	return f.s, err
}

// begin starts what has its place in the record. Times whose task the mesh does not
// accept in this moment give theirs back, and the error is returned.
func (f *firing) begin(ctx context.Context, who auth.Caller, times []time.Time) error {
	read := true
	err := besideOthers(ctx, schedulesChanged, func() (err error) {
		if !read { // somebody has changed it since
			if f.s, err = f.Get(ctx, who, string(f.s.ID)); err != nil {
				return err
			}
			f.now = time.Now()
			if err := f.states(ctx); err != nil {
				return err
			}
		}
		read = false
		if !f.startable() {
			return nil
		}
		if err := f.startWaiting(ctx); err != nil {
			return err
		}
		return f.store.Schedules.Save(ctx, f.s)
	})
	if err == nil {
		return nil
	}
	back := false
	lost := besideOthers(ctx, schedulesChanged, func() (err error) {
		if f.s, err = f.Get(ctx, who, string(f.s.ID)); err != nil {
			return err
		}
		if back = f.s.Withdraw(times); !back {
			return nil
		}
		return f.store.Schedules.Save(ctx, f.s)
	})
	if lost == nil && !back { // somebody else has started it
		return nil
	}
	return err
}

// startable reports whether something waits that may start.
func (f *firing) startable() bool {
	return len(f.s.Waits) > 0 && f.s.OpenRun() == nil && !f.s.Over()
}

// startWaiting starts what waits, as far as it may.
func (f *firing) startWaiting(ctx context.Context) error {
	for f.startable() {
		if err := f.start(ctx, f.s.Waits[0]); err != nil {
			return err
		}
		f.s.Waits = f.s.Waits[1:]
	}
	return nil
}
