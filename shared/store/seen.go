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
		s.old, s.now, s.since = s.now, s.old, time.Now()
		if clear(s.now); s.now == nil {
			s.now = map[string]struct{}{}
		}
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

// lost is the error of something that is not there and was a moment ago: then the
// store is in trouble. Ask whether it was before looking for it: what somebody else
// stores meanwhile was not there yet.
func lost(id string) error {
	return fmt.Errorf("%w: %s was there a moment ago, and the node that answers does not have it", task.ErrUnavailable, id)
}
