package notifier

import (
	"math/rand/v2"
	"time"
)

// schedule is the wait before each attempt, the first at once. Each wait is
// within a fifth of its step, so that what failed together does not come back
// together.
var schedule = []time.Duration{
	0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour,
	5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// maxRetryAfter bounds what a receiver may ask for.
const maxRetryAfter = 24 * time.Hour

// retryIn is the wait after so many failures, and false when they are too many.
// A receiver may ask for more time than the schedule has, not for less.
func retryIn(failures int, asked time.Duration) (time.Duration, bool) {
	if failures < 1 || failures >= len(schedule) {
		return 0, false
	}
	step := schedule[failures]
	jittered := step - step/5 + rand.N(2*step/5+1)
	return max(jittered, asked), true
}
