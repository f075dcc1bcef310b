// Package pause holds how long to wait before another try, and the wait itself. It
// knows neither who waits nor for what.
package pause

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// For waits for d and reports whether it has passed before ctx is done. It does not
// wait when d is not positive.
func For(ctx context.Context, d time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Until asks whether something is over, at once and then after pauses that double from
// first on, within a time. It reports what was answered last.
func Until(ctx context.Context, within, first time.Duration, over func() (bool, error)) (bool, error) {
	for end, wait := time.Now().Add(within), first; ; wait *= 2 {
		is, err := over()
		if is || err != nil || !time.Now().Add(wait).Before(end) || !For(ctx, wait) {
			return is, err
		}
	}
}

// RetryAfter reads the header Retry-After (RFC 9110, 10.2.3), seconds or a date, at
// most longest. It is 0 where there is none, or none that makes sense, or it has
// passed.
func RetryAfter(h http.Header, now time.Time, longest time.Duration) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text != "" && strings.Trim(text, "0123456789") == "" {
		seconds, err := strconv.ParseUint(text, 10, 63)
		if err != nil { // more than a number holds
			return longest
		}
		return time.Duration(min(seconds, uint64(longest/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil && at.After(now) {
		return min(at.Sub(now), longest)
	}
	return 0
}
