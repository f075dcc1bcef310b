package worker

import (
	"context"
	"slices"
	"sync"
)

// flag asks for a revision of the record that says that there is a journal: written
// anew, if so, which only the run that has the task can; forget: without what the runs
// before have waited for.
type flag struct {
	anew   bool
	forget bool
	answer chan flagged
}

// flagged is such a revision.
type flagged struct {
	rev uint64
	err error
}

// flags are those that wait for the goroutine of the attempt, which alone writes the
// record.
type flags struct {
	mu   sync.Mutex
	asks []flag
	deaf bool // nobody hears them any more
}

// ask has a flag heard by who heeds the bell. One that nobody hears is answered by
// errEnded.
func (l *flags) ask(f flag, heeded bell) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deaf {
		f.answer <- flagged{err: errEnded}
		return
	}
	l.asks = append(l.asks, f)
	heeded.ring()
}

// withdraw takes a flag back, unless it was heard.
func (l *flags) withdraw(f flag) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.asks)
	l.asks = slices.DeleteFunc(l.asks, func(other flag) bool { return other.answer == f.answer })
	return len(l.asks) < n
}

// heard takes the flags that wait.
func (l *flags) heard() []flag {
	l.mu.Lock()
	defer l.mu.Unlock()
	asks := l.asks
	l.asks = nil
	return asks
}

// close ends the flags of a run that is being settled.
func (l *flags) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.asks {
		f.answer <- flagged{err: errEnded}
	}
	l.asks, l.deaf = nil, true
}

// gate lets one in at a time, until it is closed.
type gate struct {
	mu     sync.Mutex
	inside chan struct{} // holds one while somebody is; nil: nobody ever was
	closed bool
}

// enter waits for its turn. The error is errEnded when the gate is closed, or why ctx has
// ended before.
func (g *gate) enter(ctx context.Context) error {
	select {
	case g.way() <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if g.closed {
		g.leave()
		return errEnded
	}
	return nil
}

func (g *gate) leave() { <-g.inside }

func (g *gate) way() chan<- struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside == nil {
		g.inside = make(chan struct{}, 1)
	}
	return g.inside
}

// close waits for who is inside, and lets nobody in any more.
func (g *gate) close() {
	g.mu.Lock()
	never := g.inside == nil
	g.closed = g.closed || never
	g.mu.Unlock()
	if !never {
		g.inside <- struct{}{}
		g.closed = true
		g.leave()
	}
}
