package notifier

import "time"

// Settings of a breaker.
const (
	breakerWindow   = 5 * time.Minute
	breakerMin      = 10 // attempts in the window, before which it never opens
	breakerShare    = 70 // percent of them failed
	breakerFirst    = 30 * time.Second
	breakerLongest  = 15 * time.Minute
	breakerAttempts = 256 // remembered at most
)

// breaker stops the attempts at an endpoint that is down: after a share of
// failures it is open for a while, then lets one attempt probe, and opens for
// longer when that fails too. It belongs to its lane. Only attempts move it:
// nothing that a client asks for closes it.
type breaker struct {
	attempts []attemptMark
	opened   int       // times in a row, without a success
	until    time.Time // open until then; zero: closed
	probing  bool
}

type attemptMark struct {
	at     time.Time
	failed bool
}

// open reports until when nothing may be attempted; zero: it may. When the time
// is over the first who asks is the probe, and the others wait for its outcome.
func (b *breaker) open(now time.Time) (until time.Time) {
	switch {
	case b.until.IsZero():
		return time.Time{}
	case now.Before(b.until):
		return b.until
	case b.probing:
		return now.Add(breakerFirst / 6)
	}
	return time.Time{}
}

// begin notes an attempt; after open has allowed it.
func (b *breaker) begin() { b.probing = !b.until.IsZero() }

// end notes how an attempt ended. It reports whether the breaker has opened.
func (b *breaker) end(now time.Time, r result) (opened bool) {
	probe := b.probing
	b.probing = false
	switch {
	case r == neutral:
		return false
	case r == success && (probe || b.until.IsZero()):
		if probe {
			*b = breaker{}
		}
	case r == failure && probe:
		return b.trip(now)
	}
	b.attempts = append(b.attempts, attemptMark{now, r == failure})
	for len(b.attempts) > breakerAttempts || now.Sub(b.attempts[0].at) > breakerWindow {
		b.attempts = b.attempts[1:]
	}
	failed := 0
	for _, a := range b.attempts {
		if a.failed {
			failed++
		}
	}
	if b.until.IsZero() && len(b.attempts) >= breakerMin && failed*100 >= breakerShare*len(b.attempts) {
		return b.trip(now)
	}
	return false
}

func (b *breaker) trip(now time.Time) bool {
	b.until = now.Add(min(breakerFirst<<min(b.opened, 10), breakerLongest))
	b.opened++
	b.attempts = nil
	return true
}

// idle reports whether nothing is worth remembering: of one that was open, not
// even after the longest time for which it may be.
func (b *breaker) idle(now time.Time) bool {
	return (b.until.IsZero() || now.Sub(b.until) > breakerLongest) && (len(b.attempts) == 0 || now.Sub(b.attempts[len(b.attempts)-1].at) > breakerWindow)
}

// result is what an attempt says of its endpoint's health.
type result int

const (
	neutral result = iota // the endpoint answers, or it is not its doing
	success
	failure
)
