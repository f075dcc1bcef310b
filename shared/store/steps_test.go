package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

func entry(name string, n int) *task.Entry {
	return &task.Entry{Kind: task.EntryStep, Name: name, N: n, Value: []byte(strconv.Itoa(n)), At: task.Stamp(time.Now())}
}

// Row 6 of what may fail: whoever does not know the newest entry of a journal adds
// none, whatever the name of it.
func TestAnEntryIsWrittenBehindTheNewestOnly(t *testing.T) {
	st := open(t, natstest.Start(t))
	id, ctx := newTask().ID, t.Context()
	one, err := st.Steps.Append(ctx, "default", id, entry("a", 0), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Steps.Append(ctx, "default", id, entry("b", 0), 0); !errors.Is(err, task.ErrConflict) {
		t.Errorf("an entry that does not know of another: %v", err)
	}
	other := newTask().ID
	if _, err := st.Steps.Append(ctx, "default", other, entry("b", 0), 0); err != nil {
		t.Errorf("the journal of another task: %v", err)
	}
	two, err := st.Steps.Append(ctx, "default", id, entry("b", 0), one)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Steps.Append(ctx, "default", id, entry("a", 0), two); err != nil { // again: it replaces
		t.Fatal(err)
	}
	got, err := st.Steps.Read(ctx, "default", id, 0)
	if err != nil || len(got) != 2 || got[0].Name != "b" || got[1].Name != "a" {
		t.Errorf("%+v, %v", got, err)
	}
}

// Row 4: the acknowledgement of an entry is lost.
func TestAnEntryWhoseAcknowledgementWasLostIsFound(t *testing.T) {
	st := open(t, natstest.Start(t))
	id, e := newTask().ID, entry("a", 0)
	seq, err := st.Steps.Append(t.Context(), "default", id, e, 0)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := st.Steps.Append(t.Context(), "default", id, e, 0); err != nil || again != seq {
		t.Errorf("%d, %v; it has sequence %d", again, err, seq)
	}
}

// run is one run of a task: it fences off those before, and appends until it is
// fenced off itself. It returns how many of its entries the store has taken.
func run(ctx context.Context, st *store.Store, id task.ID, epoch uint64, until time.Time) (taken []string, err error) {
	var last uint64
	for last == 0 {
		newest, seq, err := st.Steps.Last(ctx, "default", id)
		switch {
		case errors.Is(err, task.ErrUnavailable):
			continue
		case err != nil:
			return nil, err
		case newest != nil && newest.Epoch > epoch:
			return nil, nil
		}
		fence := &task.Entry{Kind: task.EntryEpoch, Epoch: epoch}
		if last, err = st.Steps.Append(ctx, "default", id, fence, seq); err != nil && !errors.Is(err, task.ErrConflict) && !errors.Is(err, task.ErrUnavailable) {
			return nil, err
		}
	}
	seen, err := st.Steps.Read(ctx, "default", id, last)
	for errors.Is(err, task.ErrUnavailable) {
		seen, err = st.Steps.Read(ctx, "default", id, last)
	}
	if err != nil {
		return nil, err
	}
	if newest := seen[len(seen)-1]; newest.Epoch < epoch {
		return nil, fmt.Errorf("run %d reads %+v behind its fence", epoch, newest)
	}
	for n := 0; time.Now().Before(until); n++ {
		e := entry("run "+strconv.FormatUint(epoch, 10), n)
		e.Epoch = epoch
		for {
			var seq uint64
			seq, err = st.Steps.Append(ctx, "default", id, e, last)
			if err == nil {
				last = seq
				taken = append(taken, e.Slot())
				break
			}
			if errors.Is(err, task.ErrConflict) {
				return taken, nil
			}
			if !errors.Is(err, task.ErrUnavailable) {
				return taken, err
			}
		}
	}
	return taken, nil
}

// Rows 6 and 7, on three nodes whose leader changes: runs follow each other while
// those before still write. What was taken stays, nothing is taken from a run after
// a later one has fenced it off, and each run sees all that was taken before it.
// MESH_STEPS_TIME runs it for longer, see `make steps-fence`.
func TestTheFenceOfAJournalHoldsOnThreeNodesWhileTheLeaderChanges(t *testing.T) {
	natstest.Long(t)
	cluster := natstest.StartCluster(t)
	stores := openNodes(t, cluster)
	length, err := time.ParseDuration(os.Getenv("MESH_STEPS_TIME"))
	if err != nil {
		length = 3 * time.Second
	}
	until := time.Now().Add(length)
	var changes atomic.Int32
	var others, journals sync.WaitGroup
	others.Go(func() {
		nc := cluster.Nodes[0].Connect(t)
		for time.Now().Before(until) {
			natstest.StepDown(t, nc, topology.Steps)
			changes.Add(1)
		}
	})
	for range 4 {
		journals.Go(func() { fencedJournal(t, stores, until) })
	}
	journals.Wait()
	others.Wait()
	t.Logf("%d changes of leader", changes.Load())
}

// fencedJournal has runs of one task begin, one behind the other, on different nodes.
func fencedJournal(t *testing.T, stores []*store.Store, until time.Time) {
	id := newTask().ID
	var runs sync.WaitGroup
	var mu sync.Mutex
	taken := map[string]bool{}
	begun := uint64(0)
	for ; time.Now().Before(until); begun++ {
		st, epoch := stores[begun%3], begun+1
		runs.Go(func() {
			all, err := run(t.Context(), st, id, epoch, until)
			if err != nil {
				t.Errorf("run %d: %v", epoch, err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, slot := range all {
				taken[slot] = true
			}
		})
		natstest.Until(t, "the run has begun", func() bool {
			e, _, err := stores[0].Steps.Last(t.Context(), "default", id)
			return err == nil && e != nil && e.Epoch >= epoch || time.Now().After(until)
		})
	}
	runs.Wait()
	var got []*task.Entry
	natstest.Until(t, "the journal is read", func() bool {
		_, last, err := stores[1].Steps.Last(t.Context(), "default", id)
		if err == nil {
			got, err = stores[2].Steps.Read(t.Context(), "default", id, last)
		}
		return err == nil
	})
	epoch := uint64(0)
	for _, e := range got {
		if e.Epoch < epoch {
			t.Errorf("%+v stands behind an entry of run %d", e, epoch)
		}
		epoch = e.Epoch
		delete(taken, e.Slot())
	}
	if len(taken) > 0 {
		t.Errorf("%d entries were taken and are not there", len(taken))
	}
	t.Logf("%d runs, %d entries", begun, len(got))
}
