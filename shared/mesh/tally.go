package mesh

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// tally is how many of something there are: what the store said when it was asked
// last, and what this process has added since. Others add too, and things go away:
// the store is asked again when the answer is old, or a limit is near.
//
// How old an answer may be follows from what it costs, since the store counts one
// by one: a second, or a hundred times as long as counting took. All tallies of a
// process together keep the store busy for a tenth of the time at most.
type tally struct {
	// ask counts in the store. It may stop at a number that is enough.
	ask func(ctx context.Context, enough int) (int, error)

	asking  sync.Mutex
	answer  atomic.Int64
	added   atomic.Int64 // since the answer
	coming  atomic.Int64 // being added: the answer may have them or not
	askedAt atomic.Int64 // when the answer was asked for; 0: never
	cost    atomic.Int64 // of the answer, in ns
}

const (
	tallyKept = time.Second           // an answer that is no older is good
	tallyNear = 50 * time.Millisecond // one by which something is refused
)

// now is the number as this process knows it, and rather too high than too low.
func (t *tally) now() int { return int(t.answer.Load() + t.added.Load() + t.coming.Load()) }

// add notes that this process has added one.
func (t *tally) add() { t.added.Add(1) }

// settle ends what take has begun: one was added, or none.
func (t *tally) settle(added bool) {
	if added {
		t.add()
	}
	t.coming.Add(-1)
}

// age is how old the answer is, and whether there is one.
func (t *tally) age() (age time.Duration, known bool) {
	at := t.askedAt.Load()
	return time.Duration(time.Now().UnixNano() - at), at != 0
}

// tallies are those of a process, by name. An empty one is ready to use.
type tallies struct {
	mu   sync.Mutex
	by   map[tallyOf]*tally
	free atomic.Int64 // when the store may be asked again
}

// tallyOf names a tally.
type tallyOf struct{ what, tenant, agent string }

// talliesKept is how many are remembered before those go that nobody asked for in
// a while.
const talliesKept = 10_000

// of finds a tally, or begins one that asks in this way.
func (l *tallies) of(name tallyOf, ask func(ctx context.Context, enough int) (int, error)) *tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.by[name]
	if t != nil {
		return t
	}
	if len(l.by) >= talliesKept {
		for old, t := range l.by {
			if age, _ := t.age(); age > time.Minute {
				delete(l.by, old)
			}
		}
	}
	if l.by == nil {
		l.by = map[tallyOf]*tally{}
	}
	t = &tally{ask: ask}
	l.by[name] = t
	return t
}

// read is how many there are; it asks the store where the answer is old. enough is
// a number from which on nobody cares. The error is that of a store that has never
// answered; one that is away now leaves the old answer.
func (l *tallies) read(ctx context.Context, t *tally, enough int) (int, error) {
	age, known := t.age()
	if known && age < max(tallyKept, 100*time.Duration(t.cost.Load())) {
		return t.now(), nil
	}
	err := l.refresh(ctx, t, enough)
	return t.now(), err
}

// take begins to add one where there are fewer than limit, and reports whether it
// did: settle the tally then.
func (l *tallies) take(ctx context.Context, t *tally, limit int) (bool, error) {
	n, err := l.read(ctx, t, limit)
	if age, _ := t.age(); err == nil && n >= limit && age > max(tallyNear, 20*time.Duration(t.cost.Load())) {
		err = l.refresh(ctx, t, limit) // some may have gone
	}
	if err != nil {
		return false, err
	}
	if t.coming.Add(1); t.now() <= limit {
		return true, nil
	}
	t.coming.Add(-1)
	return false, nil
}

// refresh asks the store, unless somebody does or it has been asked enough: only a
// tally that has no answer must have one.
func (l *tallies) refresh(ctx context.Context, t *tally, enough int) error {
	if _, known := t.age(); known {
		if time.Now().UnixNano() < l.free.Load() || !t.asking.TryLock() {
			return nil
		}
	} else {
		t.asking.Lock()
		if _, known = t.age(); known { // somebody else has asked
			t.asking.Unlock()
			return nil
		}
	}
	defer t.asking.Unlock()
	began, before := time.Now(), t.added.Load()
	// Others go by this answer: it must not end with who asked first.
	n, err := t.ask(context.WithoutCancel(ctx), enough)
	cost := time.Since(began)
	l.free.Store(time.Now().Add(9 * cost).UnixNano())
	if _, known := t.age(); err != nil && !known {
		return err
	}
	if err == nil {
		t.answer.Store(int64(n))
		t.added.Add(-before)
		t.cost.Store(int64(cost))
	}
	t.askedAt.Store(began.UnixNano())
	return nil
}
