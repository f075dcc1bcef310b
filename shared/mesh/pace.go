package mesh

import (
	"sync"
	"sync/atomic"
	"time"
)

// pace lets things through at a rate, with bursts: the generic cell rate algorithm,
// as ATM had it. It is one number: when it would be whole again if nothing more
// came. Its zero value is whole.
type pace struct{ whole atomic.Int64 } // in ns of the clock of the system

// paced is what a pace says of one thing.
type paced struct {
	ok   bool
	left int           // how many more may come now
	full time.Duration // until as many may come as ever
	wait time.Duration // until the next one may; 0: it is let through
}

// take lets one thing through, if it may come: one every so often, and up to burst
// of them at once. A clock that was set back, or a pace that was slower before,
// keeps nothing out: the next one may come.
func (p *pace) take(every time.Duration, burst int) paced {
	now, room := time.Now().UnixNano(), int64(every)*int64(burst)
	for {
		old := p.whole.Load()
		from := max(old, now)
		if from > now+room {
			from = now + room - int64(every)
		}
		next := from + int64(every)
		if next-now > room {
			return paced{full: time.Duration(from - now), wait: time.Duration(next - now - room)}
		}
		if p.whole.CompareAndSwap(old, next) {
			return paced{ok: true, left: int((room - (next - now)) / int64(every)), full: time.Duration(next - now)}
		}
	}
}

// back gives back what was taken.
func (p *pace) back(every time.Duration) { p.whole.Add(-int64(every)) }

// idle reports whether a pace is as if nothing had ever come.
func (p *pace) idle() bool { return p.whole.Load() <= time.Now().UnixNano() }

// paces are those of many names with one rate. They remember a bounded number of
// names.
type paces struct {
	every time.Duration
	burst int

	mu sync.Mutex
	by map[string]*pace
}

// pacesKept is how many names are remembered. Beyond it all new ones share a pace.
const pacesKept = 10_000

func newPaces(every time.Duration, burst int) *paces {
	return &paces{every: every, burst: burst, by: map[string]*pace{}}
}

// take lets one thing of a name through, if it may come.
func (p *paces) take(name string) paced { return p.of(name).take(p.every, p.burst) }

// back gives back what was taken in a name.
func (p *paces) back(name string) { p.of(name).back(p.every) }

func (p *paces) of(name string) *pace {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.by[name]
	if one == nil {
		if len(p.by) >= pacesKept {
			for old, pace := range p.by {
				if pace.idle() {
					delete(p.by, old)
				}
			}
		}
		if len(p.by) >= pacesKept {
			name = ""
		}
		if one = p.by[name]; one == nil {
			one = &pace{}
			p.by[name] = one
		}
	}
	return one
}
