package store

import (
	"fmt"
	"sync"
	"time"

	"agentmesh/shared/task"
)

// seen remembers what this process has stored or read lately. A node whose copy
// of a stream is damaged, and that leads it nevertheless, answers that there is
// no such message: a message that was there a moment ago is not gone on one
// node's word. It holds each for seenFor at least, unless there are too many.
type seen struct {
	mu       sync.Mutex
	now, old map[string]struct{}
	since    time.Time // of now
}

const (
	seenFor = 10 * time.Minute
	seenMax = 16 << 10 // of one generation; there are two
)

func (s *seen) add(tenant, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turn(); len(s.now) >= seenMax {
		s.old, s.now, s.since = s.now, map[string]struct{}{}, time.Now()
	}
	s.now[tenant+"/"+id] = struct{}{}
}

// turn begins another generation when it is time.
func (s *seen) turn() {
	age := time.Since(s.since)
	if s.now != nil && age < seenFor {
		return
	}
	if s.old = s.now; age >= 2*seenFor {
		s.old = nil
	}
	s.now, s.since = map[string]struct{}{}, time.Now()
}

func (s *seen) forget(tenant, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.now, tenant+"/"+id)
	delete(s.old, tenant+"/"+id)
}

func (s *seen) has(tenant, id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn()
	_, now := s.now[tenant+"/"+id]
	_, old := s.old[tenant+"/"+id]
	return now || old
}

// gone is absent, the error that something is not there, unless it was a moment
// ago: then the store is in trouble.
func (s *seen) gone(tenant, id string, absent error) error {
	if !s.has(tenant, id) {
		return absent
	}
	return fmt.Errorf("%w: %s was there a moment ago, and the node that answers does not have it", task.ErrUnavailable, id)
}
