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

func TestEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wait := func(ctx context.Context) error { <-ctx.Done(); return nil }
	if err := proc.Run(ctx, proc.Part{Name: "a", Run: wait}, proc.Part{Name: "b", Run: wait}); err != nil {
		t.Errorf("Run() = %v, want nil", err)
	}
}
