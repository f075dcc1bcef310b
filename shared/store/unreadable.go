package store

import (
	"log/slog"
	"sync"

	"agentmesh/shared/telemetry"
)

// unreadable counts and logs the records that nobody can read, each once: lists
// and counts leave them out, so that one of them does not hide all others.
type unreadable struct {
	mu    sync.Mutex
	log   *slog.Logger
	known map[place]bool
}

// place is where a record was found.
type place struct {
	subject string
	seq     uint64
}

// unreadableKnown bounds what is remembered; later records may be counted again.
const unreadableKnown = 1024

func newUnreadable() *unreadable {
	return &unreadable{log: slog.New(slog.DiscardHandler), known: map[place]bool{}}
}

// LogTo has the store say which records it cannot read.
func (s *Store) LogTo(log *slog.Logger) {
	s.damaged.mu.Lock()
	defer s.damaged.mu.Unlock()
	s.damaged.log = log
}

// note counts a record that is left out.
func (u *unreadable) note(m message, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	at := place{m.subject, m.seq}
	if u.known[at] {
		return
	}
	if len(u.known) >= unreadableKnown {
		clear(u.known)
	}
	u.known[at] = true
	telemetry.StoreUnreadable.Add(1)
	u.log.Error("a record is left out, it is not readable: look at it, then delete it or put it right", "key", m.subject, "sequence", m.seq, "error", err)
}
