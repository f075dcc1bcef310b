package auth

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// Lockout counts wrong secrets by the name that they were shown for and the address
// that they came from. After too many of them it says to wait, at that address only:
// nobody keeps the owner of a key out from elsewhere. What it remembers is bounded,
// and the oldest is forgotten first. The zero Lockout is ready to use.
type Lockout struct {
	mu    sync.Mutex
	known map[attempts]*list.Element
	order list.List // of *failures, that which failed last in front
}

// Bounds of a lockout.
const (
	lockAfter    = 10 // wrong secrets
	lockWithin   = time.Minute
	lockFor      = time.Minute
	lockRemember = 10_000
)

// attempts are those with one name from one address. An IPv6 address stands for
// its network of 64 bits, all of which one host may have.
type attempts struct {
	name string
	from netip.Prefix
}

type failures struct {
	of    attempts
	count int
	since time.Time
	until time.Time // locked until then
}

func attemptsOf(name string, addr netip.Addr) attempts {
	addr, bits := addr.Unmap().WithZone(""), 32
	if addr.Is6() {
		bits = 64
	}
	from, _ := addr.Prefix(bits) // of no address: the zero prefix
	return attempts{name, from}
}

// Wait is how long an address must wait before a secret for name is looked at; 0:
// not at all.
func (l *Lockout) Wait(name string, addr netip.Addr) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.known[attemptsOf(name, addr)]
	if !ok {
		return 0
	}
	return max(0, time.Until(e.Value.(*failures).until))
}

// Failed notes a wrong secret, and whether it is the one that locks the address out.
func (l *Lockout) Failed(name string, addr netip.Addr) (locks bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	of, now := attemptsOf(name, addr), time.Now()
	e, ok := l.known[of]
	if !ok {
		if l.known == nil {
			l.known = map[attempts]*list.Element{}
		}
		if len(l.known) >= lockRemember {
			last := l.order.Back()
			delete(l.known, l.order.Remove(last).(*failures).of)
		}
		e = l.order.PushFront(&failures{of: of, since: now})
		l.known[of] = e
	}
	l.order.MoveToFront(e)
	f := e.Value.(*failures)
	if now.Sub(f.since) > lockWithin {
		f.since, f.count = now, 0
	}
	if f.count++; f.count < lockAfter {
		return false
	}
	f.until, f.since, f.count = now.Add(lockFor), now, 0
	return true
}

// Passed forgets the wrong secrets before a right one.
func (l *Lockout) Passed(name string, addr netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := attemptsOf(name, addr)
	if e, ok := l.known[of]; ok {
		l.order.Remove(e)
		delete(l.known, of)
	}
}
