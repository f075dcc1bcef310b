package notifier

import (
	"context"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"time"

	"agentmesh/shared/webhook"
)

// lanes gives each endpoint a lane of its own, so that one that is slow or dead
// does not hold up the others. A lane runs a few attempts at a time; others wait
// in it, but no more than there is room left for everybody else (a queue may
// grow as long as it is shorter than the free space: Choudhury and Hahne's
// dynamic threshold). A delivery that finds no room is told when to come again.
type lanes struct {
	room int // deliveries in this process
	each int // attempts at one endpoint

	mu    sync.Mutex
	held  int
	by    map[string]*lane
	swept time.Time
}

type lane struct {
	breaker breaker
	running int
	waiting []chan time.Time // each gets the zero time for "run", or when to come again
	took    time.Duration    // how long an attempt takes, about
	ended   time.Time        // when one ended last, or the first began
	booked  time.Time        // when the last delivery that found no room should come again
}

// How far ahead a delivery that finds no room is told to come again, and how long
// an attempt is assumed to take while none has ended.
const (
	maxBooked   = time.Minute
	tookAtLeast = 20 * time.Millisecond
)

func newLanes(room, each int) *lanes {
	return &lanes{room: room, each: each, by: map[string]*lane{}}
}

// laneOf is the lane of a delivery: its webhook, or of a callback the tenant and
// the host, since every callback may have a path of its own.
func laneOf(d *webhook.Delivery) string {
	if d.Webhook != "" {
		return string(d.Webhook)
	}
	host := d.URL
	if u, err := url.Parse(d.URL); err == nil {
		host = u.Scheme + "://" + strings.ToLower(u.Host)
	}
	return d.Tenant + " " + host
}

func (l *lanes) of(name string) *lane {
	found := l.by[name]
	if found == nil {
		found = &lane{}
		l.by[name] = found
	}
	return found
}

// arrive counts a delivery that this process holds, until leave.
func (l *lanes) arrive() (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.held--
	}
}

// full says when to come again to a lane that would not let a delivery in now:
// its endpoint is down, or too many wait for it. Zero: there is room.
func (l *lanes) full(name string) (come time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	in := l.by[name]
	if in == nil {
		return time.Time{}
	}
	now := time.Now()
	if until := in.breaker.open(now); !until.IsZero() {
		return spread(until)
	}
	if in.running >= l.each && l.crowded(in) {
		return in.nextOpening(now, l.each)
	}
	return time.Time{}
}

func (l *lanes) crowded(in *lane) bool { return len(in.waiting)+in.running >= l.room-l.held }

// spread adds up to a fifth of the time that is left, and a moment.
func spread(until time.Time) time.Time {
	if until.IsZero() {
		return until
	}
	left := max(time.Until(until), 0)/5 + 250*time.Millisecond
	return until.Add(rand.N(left))
}

// enter waits for a turn in a lane. Then done must be called with how it went.
// Otherwise come says when to try again. A forced attempt waits for its turn and
// for nothing else.
func (l *lanes) enter(ctx context.Context, name string, force bool) (done func(result) (opened bool), come time.Time, err error) {
	l.mu.Lock()
	in, now := l.of(name), time.Now()
	if until := in.breaker.open(now); !until.IsZero() && !force {
		l.mu.Unlock()
		return nil, spread(until), nil
	}
	if in.running < l.each {
		defer l.mu.Unlock()
		return l.start(in), time.Time{}, nil
	}
	if l.crowded(in) && !force {
		defer l.mu.Unlock()
		return nil, in.nextOpening(now, l.each), nil
	}
	turn := make(chan time.Time, 1)
	in.waiting = append(in.waiting, turn)
	l.mu.Unlock()
	select {
	case come := <-turn:
		if !come.IsZero() {
			return nil, come, nil
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		in.running-- // it was kept for this turn
		return l.start(in), time.Time{}, nil
	case <-ctx.Done():
		l.abandon(in, turn)
		return nil, time.Time{}, ctx.Err()
	}
}

// abandon gives up a turn that has not come, or has in this moment.
func (l *lanes) abandon(in *lane, turn chan time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, w := range in.waiting {
		if w == turn {
			in.waiting = append(in.waiting[:i], in.waiting[i+1:]...)
			return
		}
	}
	if come := <-turn; come.IsZero() {
		in.running--
		l.next(in)
	}
}

// start begins an attempt. The lock is held.
func (l *lanes) start(in *lane) func(result) bool {
	began := time.Now()
	if in.ended.IsZero() {
		in.ended = began
	}
	in.running++
	in.breaker.begin()
	return func(r result) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		now := time.Now()
		in.running--
		in.took, in.ended = (3*in.took+now.Sub(began))/4, now
		opened := in.breaker.end(now, r)
		if until := in.breaker.open(now); !until.IsZero() {
			for _, w := range in.waiting {
				w <- spread(until)
			}
			in.waiting = nil
		}
		l.next(in)
		l.sweep(now)
		return opened
	}
}

// next gives the free turn to the delivery that has waited longest. The lock is held.
func (l *lanes) next(in *lane) {
	if len(in.waiting) > 0 && in.running < l.each {
		in.running++
		in.waiting[0] <- time.Time{}
		in.waiting = in.waiting[1:]
	}
}

// nextOpening is when a delivery that finds no room should come again: after the
// endpoint has worked off the deliveries that were sent away before it.
func (in *lane) nextOpening(now time.Time, each int) time.Time {
	first := now.Add(time.Second)
	if in.booked.Before(first) {
		in.booked = first
	}
	took := max(in.took, tookAtLeast, now.Sub(in.ended)) // nothing may have ended for long
	in.booked = in.booked.Add(took / time.Duration(each))
	if last := now.Add(maxBooked); in.booked.After(last) {
		in.booked = last
		return now.Add(maxBooked/2 + rand.N(maxBooked/2))
	}
	return in.booked
}

// When lanes that say nothing any more are looked for.
const (
	maxLanes   = 4096
	sweepEvery = time.Minute
)

func (l *lanes) sweep(now time.Time) {
	if len(l.by) <= maxLanes || now.Sub(l.swept) < sweepEvery {
		return
	}
	l.swept = now
	for name, in := range l.by {
		if in.running == 0 && len(in.waiting) == 0 && in.breaker.idle(now) {
			delete(l.by, name)
		}
	}
}
