package notifier

import (
	"testing"
	"time"

	"agentmesh/shared/webhook"
)

// Clocks differ: by the server's a delivery is due, or has been replaced, and the
// notifier's own says how long to wait. Neither may make a loop of the other.
func TestEarly(t *testing.T) {
	now := time.Date(2026, 5, 19, 10, 30, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		due, stored time.Time
		hold        time.Duration
		replaced    bool
	}{
		"on time":                      {now, now, 0, false},
		"never scheduled":              {time.Time{}, now, 0, false},
		"a moment early":               {now.Add(time.Second), now, 0, false},
		"replaced by a later schedule": {now.Add(time.Hour), now, 0, true},
		"the server is ahead by 1h":    {now.Add(20 * time.Minute), now.Add(time.Hour), maxEarly, false},
		"the server is ahead by 5s":    {now.Add(5 * time.Second), now.Add(5 * time.Second), 5 * time.Second, false},
		"the server is behind by 1h":   {now.Add(-time.Hour), now.Add(-time.Hour), 0, false},
	} {
		if hold, replaced := early(tt.due, tt.stored, now); hold != tt.hold || replaced != tt.replaced {
			t.Errorf("%s: held for %v, replaced %v; want %v, %v", name, hold, replaced, tt.hold, tt.replaced)
		}
	}
}

// A proxy of our own that stays down is asked less and less often, and nothing is
// charged to the endpoint.
func TestProxyPause(t *testing.T) {
	d := &webhook.Delivery{Status: webhook.Pending}
	var waits []time.Duration
	for range 8 {
		now := time.Now()
		if err := judge(d, verdict{attempt: webhook.Attempt{At: now, Class: webhook.ClassEgressProxy}, after: retryUncounted}); err != nil {
			t.Fatal(err)
		}
		waits = append(waits, d.NextAt.Sub(now).Round(time.Second))
	}
	if waits[0] != proxyPause || waits[1] != 2*proxyPause || waits[7] != proxyPauseLongest || len(d.Attempts) != 1 || d.Failures != 0 {
		t.Errorf("waits %v, %d attempts, %d failures", waits, len(d.Attempts), d.Failures)
	}
	for _, v := range []verdict{{attempt: webhook.Attempt{At: time.Now(), Class: webhook.ClassServer}}, {attempt: webhook.Attempt{At: time.Now(), Class: webhook.ClassEgressProxy}, after: retryUncounted}} {
		if err := judge(d, v); err != nil {
			t.Fatal(err)
		}
	}
	if wait := time.Until(d.NextAt).Round(time.Second); wait != proxyPause || len(d.Attempts) != 3 || d.Failures != 1 {
		t.Errorf("after another fault: %v, %+v", wait, d)
	}
}

// Breakers of endpoints that nobody asks for any more are forgotten, open ones
// not while they may be.
func TestBreakerIdle(t *testing.T) {
	var b breaker
	now := time.Now()
	for range breakerMin {
		b.begin()
		b.end(now, failure)
	}
	if b.open(now).IsZero() || b.idle(now.Add(breakerLongest)) {
		t.Error("an open breaker is forgotten")
	}
	if !b.idle(now.Add(time.Hour)) {
		t.Error("a breaker of long ago is remembered")
	}
}
