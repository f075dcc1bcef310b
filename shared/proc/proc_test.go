package proc_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/proc"
)

func TestFirstPartToEndEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		finished := false
		err := proc.Run(t.Context(),
			proc.Part{Name: "short", Run: func(context.Context) error { return boom }},
			proc.Part{Name: "long", Run: func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(time.Minute) // it has something to finish
				finished = true
				return nil
			}},
		)
		if !errors.Is(err, boom) || err.Error() != "short: boom" {
			t.Errorf("Run() = %v, want short: boom", err)
		}
		if !finished {
			t.Error("Run() returned before the long part had finished")
		}
	})
}

// A part that hangs after the end was asked for is cut, and nothing else is.
func TestEndWithinCutsWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cut := make(chan time.Time, 2)
		ctx, cancel := context.WithCancel(t.Context())
		stop := proc.EndWithin(ctx, time.Minute, func() { cut <- time.Now() })
		defer stop()
		time.Sleep(time.Hour)
		if len(cut) > 0 {
			t.Error("cut although it was not to end")
		}
		asked := time.Now()
		cancel()
		if took := (<-cut).Sub(asked); took != time.Minute {
			t.Errorf("cut after %v", took)
		}
		stop = proc.EndWithin(ctx, time.Minute, func() { cut <- time.Now() })
		stop()
		stop()
		time.Sleep(time.Hour)
		if len(cut) > 0 {
			t.Error("cut although it had ended")
		}
	})
}

func TestEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wait := func(ctx context.Context) error { <-ctx.Done(); return nil }
	if err := proc.Run(ctx, proc.Part{Name: "a", Run: wait}, proc.Part{Name: "b", Run: wait}); err != nil {
		t.Errorf("Run() = %v, want nil", err)
	}
}
