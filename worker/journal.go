package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// journal keeps what the handler of an attempt has finished, and knows what the runs
// before have. Its entries go out one at a time, each on condition that the one
// before is the newest of the task: whoever has lost the task writes no more.
type journal struct {
	patience
	at    *attempt
	t     *task.Task   // as it was when the run began
	of    task.ID      // of the task in which the work began: this one, or the turn that it goes on with
	cause func() error // why the handler's context has ended, if it has

	// These belong to who writes.
	epoch uint64 // of this run; 0: nothing is written yet, and nobody has a journal
	last  uint64 // sequence of the newest entry

	writing gate
	flags   flags // for a record that says that there is a journal

	mu      sync.Mutex
	entries map[string]*noted // by slot
	count   int64             // of all that were noted, for their order
	weight  int64
	done    int // finished steps
	ended   map[occurrence]int
	running map[occurrence]bool

	seal   seal
	cursor cursor      // the checkpoint
	anew   bool        // what the runs before had finished is dropped
	answer *task.Entry // of a turn that goes on: what the user has said
}

// noted is an entry and its place in the order.
type noted struct {
	*task.Entry
	order int64
}

// occurrence is what entries are counted by.
type occurrence struct {
	kind task.EntryKind
	name string
}

// begin begins the journal of a run. Most handlers note nothing: what it takes to do so
// is made when they do.
func (j *journal) begin(at *attempt, t *task.Task, cause func() error) {
	j.patience, j.at, j.t, j.of, j.cause = at.patience, at, t, t.ID, cause
	j.seal = seal{at.w.cfg.Keeper, at.in.agent.Seal, t}
}

// resume fences off the runs before, and reads what they have finished. rev is the
// revision of the record by which this run began.
func (j *journal) resume(ctx context.Context, rev uint64) error {
	if err := j.lock(ctx); err != nil {
		return err
	}
	defer j.writing.leave()
	j.epoch = rev
	if err := j.fence(ctx); err != nil {
		return err
	}
	var entries []*task.Entry
	err := j.untilAnswered(ctx, func() (err error) {
		entries, err = j.store.Steps.Read(ctx, j.t.Tenant, j.t.ID, j.last)
		return err
	})
	if err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	return noteAll(j, entries)
}

// noteAll takes over what runs before have written, if this one can read it.
func noteAll(j *journal, entries []*task.Entry) error {
	for _, e := range entries {
		if _, err := j.seal.open(e, e.Value); err != nil {
			return err
		}
		j.note(e, false)
	}
	return nil
}

// fence writes the entry after which no earlier run can write. Where it is complete,
// the journal has all that they have written.
func (j *journal) fence(ctx context.Context) error {
	for {
		var newest *task.Entry
		err := j.untilAnswered(ctx, func() (err error) {
			newest, j.last, err = j.store.Steps.Last(ctx, j.t.Tenant, j.t.ID)
			return err
		})
		switch {
		case err != nil:
			return fmt.Errorf("read the journal: %w", err)
		case newest != nil && newest.Epoch > j.epoch:
			// A later run has begun, or the store was restored and the record is older
			// than the journal. A write of the record tells.
			if _, err := j.flag(ctx, flag{anew: true}); err != nil {
				return err
			}
			j.epoch = newest.Epoch + 1
		}
		err = j.put(ctx, &task.Entry{Kind: task.EntryEpoch})
		if !errors.Is(err, task.ErrConflict) {
			return err
		}
		if err := j.untilAnswered(ctx, func() error { return j.holds(ctx) }); err != nil {
			return err
		}
	}
}

// holds is nil while the record is this run's.
func (j *journal) holds(ctx context.Context) error {
	rec, err := j.store.Tasks.Get(ctx, j.t.Tenant, j.t.ID)
	switch {
	case err != nil:
		return err
	case rec.Status == task.Canceled:
		return agent.ErrCanceled
	case rec.Status != task.Processing || rec.Lease == nil || j.t.Lease == nil || rec.Lease.Seq != j.t.Lease.Seq || rec.Attempt != j.t.Attempt:
		return j.lost()
	}
	return nil
}

// lost has the attempt look at its record, which ends it, and says so.
func (j *journal) lost() error {
	j.at.look()
	return agent.ErrLeaseLost
}

// lock waits for its turn to write.
func (j *journal) lock(ctx context.Context) error {
	err := j.writing.enter(ctx)
	if errors.Is(err, errEnded) {
		return cmp.Or(j.cause(), errEnded)
	}
	return err
}

// append writes an entry. It waits for a store that is away. The error is why the
// attempt has ended, when it has.
func (j *journal) append(ctx context.Context, e *task.Entry) error {
	if err := j.lock(ctx); err != nil {
		return err
	}
	defer j.writing.leave()
	if j.epoch == 0 {
		rev, err := j.flag(ctx, flag{})
		if err != nil {
			return err
		}
		j.epoch = rev
	}
	err := j.put(ctx, e)
	if errors.Is(err, task.ErrConflict) && j.last == 0 { // a restored store may have entries of which its record does not know
		if err = j.fence(ctx); err == nil {
			err = j.put(ctx, e)
		}
	}
	switch {
	case errors.Is(err, task.ErrConflict):
		return j.lost()
	case err != nil:
		return cmp.Or(j.cause(), err)
	}
	j.note(e, true)
	return nil
}

// flag has the record say that there is a journal.
func (j *journal) flag(ctx context.Context, ask flag) (rev uint64, err error) {
	var f flagged
	err = j.untilAnswered(ctx, func() error {
		ask.answer = make(chan flagged, 1)
		j.flags.ask(ask, j.at.bell)
		select {
		case f = <-ask.answer:
		case <-ctx.Done():
			if f.err = context.Cause(ctx); !j.flags.withdraw(ask) {
				f = <-ask.answer
			}
		}
		return f.err
	})
	if err != nil {
		return 0, cmp.Or(j.cause(), err)
	}
	return f.rev, nil
}

// put writes e behind the newest entry.
func (j *journal) put(ctx context.Context, e *task.Entry) error {
	e.At, e.Attempt, e.Version, e.Epoch = task.Stamp(time.Now()), j.t.Attempt, j.at.in.agent.Version, j.epoch
	return j.untilAnswered(ctx, func() error {
		seq, err := j.store.Steps.Append(ctx, j.t.Tenant, j.t.ID, e, j.last)
		if err == nil {
			j.last = seq
		}
		return err
	})
}

// note takes an entry into what is known. fresh: this run has written it.
func (j *journal) note(e *task.Entry, fresh bool) {
	if e.Kind == task.EntryEpoch {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if old := j.entries[e.Slot()]; old != nil {
		j.weight -= old.Weight()
		if old.Kind == task.EntryStep {
			j.done--
		}
	}
	if j.entries == nil {
		j.entries = map[string]*noted{}
	}
	j.count++
	j.entries[e.Slot()] = &noted{e, j.count}
	j.weight += e.Weight()
	if e.Kind == task.EntryStep {
		if j.done++; fresh {
			j.at.rec.reports.stepped(e.Name, j.done)
		}
	}
	if e.Kind == task.EntryCheckpoint {
		if v, err := j.seal.open(e, e.Value); err == nil { // it was opened before
			j.cursor.found(v)
		}
	}
}

// find is the entry of a kind, name and n; nil: there is none.
func (j *journal) find(k task.EntryKind, name string, n int) *task.Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	if found := j.entries[task.Slot(k, name, n)]; found != nil {
		return found.Entry
	}
	return nil
}

// full is an error when no further entry may be added to the journal.
func (j *journal) full() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	most := j.at.w.cfg.maxEntries
	if len(j.entries) < most && j.weight < task.MaxJournalBytes {
		return nil
	}
	return &agent.Error{Code: task.CodeJournalFull, Permanent: true, Message: fmt.Sprintf(
		"the journal has %d entries of %d bytes, allowed are %d and %d: start further tasks for what is left", len(j.entries), j.weight, most, task.MaxJournalBytes)}
}

// enter begins the next of a kind and name. Two at once cannot be told apart.
func (j *journal) enter(o occurrence) (n int, leave func(ended bool), err error) {
	if err := j.cause(); err != nil {
		return 0, nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.running[o] {
		return 0, nil, &agent.Error{Code: task.CodeStepAmbiguous, Permanent: true, Message: fmt.Sprintf("two of kind %s have the name %q at the same time: give each a name of its own", o.kind, o.name)}
	}
	if j.running == nil {
		j.ended, j.running = map[occurrence]int{}, map[occurrence]bool{}
	}
	j.running[o] = true
	return j.ended[o], func(ended bool) {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.running, o)
		if ended {
			j.ended[o]++
		}
	}, nil
}

// rest writes what is left to write, and ends the journal for this attempt.
func (j *journal) rest(ctx context.Context) {
	if err := j.saveCheckpoint(ctx); err != nil {
		j.log.Debug("last checkpoint not written", "error", err)
	}
	j.writing.close()
}

// all are the entries in their order.
func (j *journal) all() []*task.Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	sorted := slices.SortedFunc(maps.Values(j.entries), func(a, b *noted) int { return cmp.Compare(a.order, b.order) })
	entries := make([]*task.Entry, len(sorted))
	for i, n := range sorted {
		entries[i] = n.Entry
	}
	return entries
}

// endJournal drops the journal of a task whose record says that it has ended, after
// it has seen to that journal's artifact. One that stays is dropped by a gateway.
func (at *attempt) endJournal(ctx context.Context, t *task.Task) {
	if t.Steps == nil {
		return
	}
	journals := at.w.core.Journals
	err := at.untilAnswered(ctx, func() error {
		if t.Steps.Object == "" {
			if err := journals.ArchiveStored(ctx, t); err != nil {
				return err
			}
			if t.Steps.Object != "" {
				if err := at.store.Records.Fit(ctx, t); err != nil {
					return err
				}
			}
		}
		return journals.Drop(ctx, t)
	})
	if err != nil {
		at.log.Warn("journal not ended, a gateway will", "error", err)
	}
}
