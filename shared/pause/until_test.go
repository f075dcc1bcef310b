package pause

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestUntilAsksAtOnceAndAfterPausesThatDouble(t *testing.T) {
	failed := errors.New("failed")
	for name, c := range map[string]struct {
		over  func(asked int) (bool, error)
		asked int
		took  time.Duration
		is    bool
		err   error
	}{
		"over at once": {func(int) (bool, error) { return true, nil }, 1, 0, true, nil},
		"over later":   {func(asked int) (bool, error) { return asked == 3, nil }, 3, 3 * time.Millisecond, true, nil},
		"never over":   {func(int) (bool, error) { return false, nil }, 4, 7 * time.Millisecond, false, nil},
		"not answered": {func(int) (bool, error) { return false, failed }, 1, 0, false, failed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, asked := time.Now(), 0
				is, err := Until(t.Context(), 10*time.Millisecond, time.Millisecond, func() (bool, error) { asked++; return c.over(asked) })
				if took := time.Since(began); is != c.is || !errors.Is(err, c.err) || asked != c.asked || took != c.took {
					t.Errorf("%t, %v, asked %d times in %s", is, err, asked, took)
				}
			})
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	asked := 0
	if is, err := Until(ctx, time.Hour, time.Minute, func() (bool, error) { asked++; return false, nil }); is || err != nil || asked != 1 {
		t.Errorf("after the end of its context: %t, %v, asked %d times", is, err, asked)
	}
}
