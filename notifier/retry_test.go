package notifier

import (
	"testing"
	"time"
)

// TestRetryIn: each wait is within a fifth of its step or what was asked for,
// there is jitter, and an end.
func TestRetryIn(t *testing.T) {
	for failures := 1; failures < len(schedule); failures++ {
		step, seen := schedule[failures], map[time.Duration]bool{}
		for range 1000 {
			d, ok := retryIn(failures, 0)
			if !ok || d < step*8/10 || d > step*12/10 {
				t.Fatalf("after %d failures: %v, %v", failures, d, ok)
			}
			seen[d] = true
		}
		if len(seen) < 100 {
			t.Errorf("after %d failures there are only %d different waits", failures, len(seen))
		}
		if d, _ := retryIn(failures, 48*time.Hour); d != 48*time.Hour {
			t.Errorf("asked for 48h: %v", d)
		}
	}
	for _, failures := range []int{-1, 0, len(schedule), 100} {
		if d, ok := retryIn(failures, 0); ok {
			t.Errorf("after %d failures: %v", failures, d)
		}
	}
}
