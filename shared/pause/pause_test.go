package pause_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/pause"
)

// A pause lasts as long as it was asked for, and ends at once with its context.
func TestAPauseEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !pause.For(t.Context(), time.Minute) || time.Since(began) != time.Minute {
			t.Errorf("paused for %v", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if pause.For(ctx, time.Hour) || time.Since(began) != time.Minute+time.Second {
			t.Errorf("ended after %v", time.Since(began))
		}
		if pause.For(ctx, 0) || !pause.For(t.Context(), -time.Second) {
			t.Error("no pause is not what its context is")
		}
	})
}

// The wait that a receiver asks for is neither negative nor longer than the
// longest.
func FuzzRetryAfter(f *testing.F) {
	now := time.Date(2026, 5, 19, 10, 30, 0, 0, time.UTC)
	const longest = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, " 7 ": 7 * time.Second, "-5": 0, "soon": 0, "0": 0, "1e9": 0, "315360000": longest, "99999999999999999999999999": longest,
		"Tue, 19 May 2026 10:31:00 GMT": time.Minute, "Tue, 19 May 2026 10:29:00 GMT": 0, "Wed, 21 Oct 2035 07:28:00 GMT": longest,
	} {
		if d := pause.RetryAfter(http.Header{"Retry-After": {text}}, now, longest); d != want {
			f.Errorf("%q asks for %v, want %v", text, d, want)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d := pause.RetryAfter(http.Header{"Retry-After": {text}}, now, longest); d < 0 || d > longest {
			t.Errorf("%q asks for %v", text, d)
		}
	})
}
