package store_test

import (
	"errors"
	"testing"

	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// The n-th of many equal calls is found without asking for each one before it,
// through whichever gateway it comes, and the attempt after finds the same
// children in the same order.
func TestManyEqualCallsAreNoneTooMany(t *testing.T) {
	srv := natstest.Start(t)
	const calls = 300
	parent := newTask()
	var stores []*store.Store
	for range 3 {
		stores = append(stores, open(t, srv))
	}
	sent := func() (n uint64) {
		for _, st := range stores {
			n += st.Conn().Stats().OutMsgs
		}
		return n
	}
	var before []string
	for attempt := 1; attempt <= 2; attempt++ {
		parent.Attempt, parent.Lease = attempt, &task.Lease{Worker: "wrk_1"}
		from := sent()
		var ids []string
		for i := range calls {
			id, known, err := stores[i%len(stores)].Children.Adopt(t.Context(), parent, "key")
			if err != nil || known != (attempt == 2) || id != task.ChildID(parent.ID, "key", i) {
				t.Fatalf("call %d of attempt %d: %s, known %v, %v", i, attempt, id, known, err)
			}
			ids = append(ids, string(id))
		}
		if requests := sent() - from; requests > 8*calls {
			t.Errorf("%d requests for %d calls", requests, calls)
		}
		if attempt == 2 && ids[calls-1] != before[calls-1] {
			t.Error("another child than before")
		}
		before = ids
	}
	// A gateway that has seen none of them finds its place as well.
	if id, _, err := open(t, srv).Children.Adopt(t.Context(), parent, "key"); err != nil || id != task.ChildID(parent.ID, "key", calls) {
		t.Errorf("through a new gateway: %s, %v", id, err)
	}
	parent.Attempt = 1
	if _, _, err := open(t, srv).Children.Adopt(t.Context(), parent, "key"); !errors.Is(err, task.ErrConflict) {
		t.Errorf("an attempt before: %v", err)
	}
}
