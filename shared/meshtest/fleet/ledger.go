//go:build unix

package fleet

import (
	"crypto/sha256"
	"fmt"
	"sync"
)

// Ledger is what a client and a receiver know of a mesh, kept outside of it. What
// contradicts it is a fault of the mesh.
type Ledger struct {
	mu       sync.Mutex
	requests map[string]*request  // by Idempotency-Key
	tasks    map[string]*request  // by task id
	sent     map[string]*delivery // by webhook-id
	told     map[teller]string    // the end that was told
	faults   []string
}

// teller tells the end of a task: the webhook of all, or its own callback.
type teller struct {
	task     string
	callback bool
}

// request is one that a client has sent, maybe more than once.
type request struct {
	key, path, body string
	id              string // empty: no answer came yet
	canceled        bool   // a cancel was sent
	seen            state
}

// state is what a task looked like when it was seen last.
type state struct {
	status  string
	attempt int
	result  string
}

// delivery is what a receiver got under one webhook-id.
type delivery struct {
	hash  [sha256.Size]byte
	times int
}

// NewLedger knows of nothing.
func NewLedger() *Ledger {
	return &Ledger{requests: map[string]*request{}, tasks: map[string]*request{}, sent: map[string]*delivery{}, told: map[teller]string{}}
}

// Fault notes what must not be.
func (l *Ledger) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

// Faults are what was found.
func (l *Ledger) Faults() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.faults...)
}

// sends notes a request before it is sent.
func (l *Ledger) sends(key, path, body string) *request {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &request{key: key, path: path, body: body}
	l.requests[key] = r
	return r
}

// accepted notes a 202: one key has one task, whoever is asked and however often (I3).
func (l *Ledger) accepted(r *request, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case r.id == "":
		r.id, l.tasks[id] = id, r
	case r.id != id:
		l.faults = append(l.faults, fmt.Sprintf("key %s has two tasks: %s and %s", r.key, r.id, id))
	}
}

var ended = map[string]bool{"completed": true, "failed": true, "canceled": true}

// sees notes an answer to a read. An end is final, and attempts only grow (I1, I10).
func (l *Ledger) sees(r *request, now state) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := r.seen
	if ended[was.status] && was != now || now.attempt < was.attempt {
		l.faults = append(l.faults, fmt.Sprintf("task %s was %+v and is %+v", r.id, was, now))
	}
	r.seen = now
}

// received notes a verified delivery: one id, one body (I4). What is the end that it
// tells, if any: a task has one (I1).
func (l *Ledger) received(id string, by teller, body []byte, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	hash := sha256.Sum256(body)
	d := l.sent[id]
	if d == nil {
		d = &delivery{hash: hash}
		l.sent[id] = d
	}
	if d.times++; d.hash != hash {
		l.faults = append(l.faults, fmt.Sprintf("delivery %s came with two bodies", id))
	}
	if !ended[what] {
		return
	}
	if was := l.told[by]; was != "" && was != what {
		l.faults = append(l.faults, fmt.Sprintf("task %s was told to be %s, and to be %s", by.task, was, what))
	}
	l.told[by] = what
}

// open are the requests without an answer.
func (l *Ledger) open() (all []*request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.requests {
		if r.id == "" {
			all = append(all, r)
		}
	}
	return all
}

// known are the requests that were accepted.
func (l *Ledger) known() (all []*request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.tasks {
		all = append(all, r)
	}
	return all
}

// knows reports whether a task is that of a request.
func (l *Ledger) knows(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tasks[id] != nil
}

// untold are the tasks whose end was not told to all who wait for it: the webhook,
// and the callback of an action. One that was told to have another end than it has
// is a fault (I1).
func (l *Ledger) untold() (ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, r := range l.tasks {
		tellers := []teller{{id, false}, {id, true}}
		if r.path != "/actions" {
			tellers = tellers[:1]
		}
		for _, by := range tellers {
			switch what := l.told[by]; {
			case what == "":
				ids = append(ids, id)
			case ended[r.seen.status] && what != r.seen.status:
				l.faults = append(l.faults, fmt.Sprintf("task %s is %s, and was told to be %s", id, r.seen.status, what))
				l.told[by] = r.seen.status // it is said once
			}
		}
	}
	return ids
}

// Summary counts what happened.
func (l *Ledger) Summary() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	again := 0
	for _, d := range l.sent {
		again += d.times - 1
	}
	return fmt.Sprintf("%d requests, %d tasks, %d deliveries (%d of them more than once)", len(l.requests), len(l.tasks), len(l.sent), again)
}
