package worker

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// slots are the places that an agent has in this process. An attempt holds one
// while its handler works; one that waits for a task that it called gives it
// back and takes another before it goes on.
type slots struct {
	mu    sync.Mutex
	size  int
	free  int             // below zero after the size has shrunk
	queue []chan struct{} // attempts that wait for a slot, first come first served
	bells []*slotBell     // of the intakes

	changed func() // is called when another number of them is taken; it does not wait
}

func newSlots(size int, changed func()) *slots {
	return &slots{size: size, free: size, changed: changed}
}

// open is how many slots are free and nobody waits for.
func (s *slots) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.free, 0)
}

// busy is how many are taken.
func (s *slots) busy() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size - s.free
}

// tryTake takes a slot if one is free.
func (s *slots) tryTake() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free <= 0 {
		return false
	}
	s.takeLocked()
	return true
}

func (s *slots) takeLocked() {
	s.changed()
	if s.free--; s.free == 0 {
		s.ringLocked()
	}
}

// slotBell rings when the first slot becomes free and when the last one is taken. Further
// free ones ring it from as many on as somebody has a use for: to wake who has none for
// each task cost as much as to receive it.
type slotBell struct {
	bell
	from atomic.Int64
}

// useFrom has it ring for n free slots and more.
func (b *slotBell) useFrom(n int) { b.from.Store(int64(n)) }

// newBell is a bell until removeBell.
func (s *slots) newBell() *slotBell {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &slotBell{bell: newBell()}
	s.bells = append(s.bells, b)
	return b
}

// removeBell ends what newBell began.
func (s *slots) removeBell(bell *slotBell) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bells = slices.DeleteFunc(s.bells, func(b *slotBell) bool { return b == bell })
}

// ring rings the bells: what the intakes have room for may have changed.
func (s *slots) ring() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ringLocked()
}

// wanted reports whether somebody waits for a slot.
func (s *slots) wanted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue) > 0
}

func (s *slots) ringLocked() {
	for _, b := range s.bells {
		b.ring()
	}
}

// take waits for a slot. It returns the cause of ctx's end without one.
func (s *slots) take(ctx context.Context) error {
	s.mu.Lock()
	if s.free > 0 {
		s.takeLocked()
		s.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	s.queue = append(s.queue, turn)
	s.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	i := slices.Index(s.queue, turn)
	if i >= 0 {
		s.queue = slices.Delete(s.queue, i, i+1)
	}
	s.mu.Unlock()
	if i < 0 { // it came in the same moment
		s.give()
	}
	return context.Cause(ctx)
}

// give gives a slot back, to who waits longest.
func (s *slots) give() { s.add(1) }

// resize changes how many there are. Slots that are taken stay taken.
func (s *slots) resize(size int) {
	s.mu.Lock()
	n := size - s.size
	s.size = size
	s.mu.Unlock()
	s.add(n)
}

func (s *slots) add(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed()
	first := s.free <= 0
	s.free += n
	for s.free > 0 && len(s.queue) > 0 {
		s.free--
		close(s.queue[0])
		s.queue = s.queue[1:]
	}
	for _, b := range s.bells {
		if s.free > 0 && (first || int64(s.free) >= b.from.Load()) {
			b.ring()
		}
	}
}
