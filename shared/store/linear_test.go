package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"agentmesh/shared/meshtest/history"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// writer is one of the processes that change records: it claims, reports, completes,
// fails, hands back and cancels, forgets to look again, and does not wait for answers.
type writer struct {
	name string
	st   *store.Store
	h    *history.History
	rnd  *rand.Rand
}

func stateOf(t *task.Task) history.State {
	s := history.State{Status: string(t.Status), Attempt: t.Attempt}
	if t.Percent != nil {
		s.Percent = *t.Percent
	}
	if t.Status.Terminal() {
		s.Outcome = t.Message
	}
	return s
}

func (w *writer) read(ctx context.Context, id task.ID) (*task.Task, error) {
	end := w.h.Begin(history.Op{Task: string(id), Kind: history.Read})
	t, err := w.st.Tasks.Get(ctx, "default", id)
	if err != nil {
		end(history.Told{Verdict: history.Unknown})
		return nil, err
	}
	end(history.Told{Verdict: history.Done, Rev: t.Rev, State: stateOf(t)})
	return t, nil
}

// change makes another record of t; false: nothing may follow what it is.
func (w *writer) change(t *task.Task) bool {
	to := []task.State{task.Processing, task.Processing, task.Processing, task.Pending, task.Completed, task.Failed, task.Canceled}[w.rnd.IntN(7)]
	if t.To(to, time.Now()) != nil {
		return false
	}
	t.Message = fmt.Sprintf("%s %d", w.name, w.rnd.Int())
	t.Percent = nil
	if to == task.Processing {
		if w.rnd.IntN(2) == 0 || t.Attempt == 0 {
			t.Attempt++ // a claim, maybe of one whose lease another one still thinks to have
		}
		t.Percent = new(w.rnd.IntN(100))
	}
	return true
}

// write saves t, and does not always wait for the answer.
func (w *writer) write(ctx context.Context, t *task.Task) {
	if w.rnd.IntN(5) == 0 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, time.Duration(w.rnd.IntN(300))*time.Microsecond)
		defer cancel()
	}
	end := w.h.Begin(history.Op{Task: string(t.ID), Kind: history.Write, Rev: t.Rev, State: stateOf(t)})
	switch err := w.st.Tasks.Save(ctx, t); {
	case err == nil:
		end(history.Told{Verdict: history.Done, Rev: t.Rev})
	case errors.Is(err, task.ErrConflict):
		end(history.Told{Verdict: history.Refused})
	default:
		end(history.Told{Verdict: history.Unknown})
	}
}

func (w *writer) work(ctx context.Context, ids []task.ID) {
	var stale *task.Task
	for range 150 {
		id := ids[w.rnd.IntN(len(ids))]
		t, err := w.read(ctx, id)
		if err != nil {
			continue
		}
		if w.rnd.IntN(4) == 0 && stale != nil { // an abandoned worker comes back
			t = stale
		}
		stale = t.Clone()
		if w.change(t) {
			w.write(ctx, t)
		}
	}
}

// Records are linearizable: whatever several writers do at once, and whichever answers
// they do not wait for, one order of compare-and-sets explains what everybody was told
// (W9, I1, I15).
func TestRecordsAreLinearizable(t *testing.T) {
	srv := natstest.Start(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	h := history.New()
	var writers []*writer
	for i := range 4 {
		st, err := store.Open(t.Context(), srv.Connect(t), store.Options{Replicas: 1})
		if err != nil {
			t.Fatal(err)
		}
		writers = append(writers, &writer{fmt.Sprint("w", i), st, h, rand.New(rand.NewPCG(seed, uint64(i)))})
	}
	var ids []task.ID
	for range 40 {
		tk := newTask()
		end := h.Begin(history.Op{Task: string(tk.ID), Kind: history.Create})
		save(t, writers[0].st, tk)
		end(history.Told{Verdict: history.Done, ID: string(tk.ID), Rev: tk.Rev})
		ids = append(ids, tk.ID)
	}
	var all sync.WaitGroup
	for _, w := range writers {
		all.Go(func() { w.work(t.Context(), ids) })
	}
	all.Wait()
	h.Check(t)
}
