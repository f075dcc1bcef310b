package worker

import (
	"sync"

	"agentmesh/shared/task"
)

// running are the attempts that run in this process: of each task the newest.
type running struct {
	mu     sync.Mutex
	by     map[task.ID]*attempt
	coming map[task.ID]*attempt // those that are being claimed
}

// expect notes at as one that may run: a cancel that meets its claim is for it.
func (r *running) expect(at *attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.coming == nil {
		r.coming = map[task.ID]*attempt{}
	}
	r.coming[at.id] = at
}

// enter notes at as the newest attempt of its task, and has the one before look at
// its record: it lost its lease.
func (r *running) enter(at *attempt) {
	r.mu.Lock()
	old := r.by[at.id]
	if r.by == nil {
		r.by = map[task.ID]*attempt{}
	}
	r.by[at.id] = at
	r.came(at)
	r.mu.Unlock()
	if old != nil {
		old.look()
	}
}

func (r *running) leave(at *attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by[at.id] == at {
		delete(r.by, at.id)
	}
	r.came(at)
}

// came forgets that at was expected.
func (r *running) came(at *attempt) {
	if r.coming[at.id] == at {
		delete(r.coming, at.id)
	}
}

func (r *running) of(id task.ID) *attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.by[id]
}

func (r *running) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.by)
}

// canceled tells the attempts of a task to look at its record at once.
func (r *running) canceled(id task.ID) {
	r.mu.Lock()
	at, next := r.by[id], r.coming[id]
	r.mu.Unlock()
	for _, at := range []*attempt{at, next} {
		if at != nil {
			at.look()
		}
	}
}

// called tells the attempt of a task that its agent has started another task
// through the gateway, which it will wait for.
func (r *running) called(id task.ID) {
	if at := r.of(id); at != nil {
		at.seat.lendForGood()
		at.rec.reports.children()
	}
}
