package worker

import (
	"sync"
	"time"
)

// crew runs functions, each in a goroutine of its own. One that has run a function waits
// a moment for the next: its stack is as large by then as an attempt needs. To grow that
// of a new goroutine each time cost as much as everything else that an attempt did here.
type crew struct {
	next  chan func()    // one that waits takes it at once
	busy  sync.WaitGroup // of functions
	hands sync.WaitGroup // of goroutines
}

// idleFor is how long a goroutine waits for its next function.
const idleFor = time.Second

func newCrew() *crew { return &crew{next: make(chan func())} }

// Go has f run. It does not wait.
func (c *crew) Go(f func()) {
	c.busy.Add(1)
	select {
	case c.next <- f:
	default:
		c.hands.Go(func() { c.work(f) })
	}
}

// work runs f, and what comes after it.
func (c *crew) work(f func()) {
	idle := time.NewTimer(idleFor)
	defer idle.Stop()
	for more := true; more; {
		c.do(f)
		idle.Reset(idleFor)
		select {
		case f, more = <-c.next:
		case <-idle.C:
			more = false
		}
	}
}

func (c *crew) do(f func()) {
	defer c.busy.Done()
	f()
}

// Wait returns when no function runs.
func (c *crew) Wait() { c.busy.Wait() }

// close ends the goroutines, after the last Go.
func (c *crew) close() {
	close(c.next)
	c.hands.Wait()
}
