package store_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"agentmesh/shared/natstest"
	"agentmesh/shared/schedule"
	"agentmesh/shared/task"
)

// A record that is being replaced is there all the time, once: though the server counts
// it as gone between the removal of the old one and the word of the new one, and a
// reader may meet both.
func TestARecordIsListedWhileItIsReplaced(t *testing.T) {
	st := open(t, natstest.Start(t))
	now := task.Stamp(time.Now())
	e := &schedule.Schedule{ID: schedule.NewID(uuid.Must(uuid.NewV7())), Tenant: "default", CreatedAt: now, UpdatedAt: now}
	if err := st.Schedules.Add(t.Context(), e, 10); err != nil {
		t.Fatal(err)
	}
	var replaced sync.WaitGroup
	defer replaced.Wait()
	stop := make(chan struct{})
	defer close(stop)
	replaced.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := st.Schedules.Save(t.Context(), e); err != nil {
				t.Error(err)
				return
			}
		}
	})
	missed, twice := 0, 0
	const lists = 1000
	for range lists {
		all, err := st.Schedules.List(t.Context(), "default")
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case len(all) < 1:
			missed++
		case len(all) > 1:
			twice++
		}
	}
	if missed+twice > 0 {
		t.Errorf("of %d lists %d do not have it, and %d have it twice", lists, missed, twice)
	}
}
