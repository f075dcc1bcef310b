package store_test

import (
	"errors"
	"testing"
	"time"

	"agentmesh/shared/natstest"
	"agentmesh/shared/task"
	"agentmesh/shared/tenant"
)

// Tasks that wait are counted for each tenant and agent, and none that is scheduled,
// settled or another's.
func TestWaitingTasksAreCounted(t *testing.T) {
	st := open(t, natstest.Start(t))
	ctx := t.Context()
	queue := func(tenant, agent string, later time.Duration) *task.Task {
		one := newTask()
		one.Tenant, one.Agent = tenant, agent
		if later > 0 {
			one.NotBefore = time.Now().Add(later)
		}
		if _, err := st.Tasks.Enqueue(ctx, one); err != nil {
			t.Fatal(err)
		}
		return one
	}
	for range 3 {
		queue("acme", "echo", 0)
	}
	gone := queue("acme", "echo", 0)
	queue("acme", "other", 0)
	queue("acme", "echo", time.Hour)
	queue("acme2", "echo", 0)
	if err := st.Tasks.Withdraw(ctx, gone); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tenant, agent string
		want          int
	}{{"acme", "", 4}, {"acme", "echo", 3}, {"acme", "other", 1}, {"acme2", "", 1}, {"nobody", "", 0}, {"acme", "nothing", 0}} {
		if got, err := st.Tasks.Waiting(ctx, c.tenant, c.agent); err != nil || got != c.want {
			t.Errorf("%s %s: %d, %v; want %d", c.tenant, c.agent, got, err, c.want)
		}
	}
}

// Sessions are counted without those that were deleted, and no further than is
// asked for.
func TestSessionsAreCounted(t *testing.T) {
	st := open(t, natstest.Start(t))
	ctx := t.Context()
	for i := range 6 {
		s := newSession()
		if i == 5 {
			s.Tenant = "other"
		}
		if err := st.Sessions.Save(ctx, s); err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			if err := st.Sessions.Delete(ctx, s); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct{ limit, want int }{{2, 2}, {3, 3}, {5, 3}} {
		if got, err := st.Sessions.Count(ctx, "default", c.limit); err != nil || got != c.want {
			t.Errorf("up to %d: %d, %v; want %d", c.limit, got, err, c.want)
		}
	}
}

// A tenant's record is changed by compare-and-set, and a watch tells of each change.
func TestATenantIsACompareAndSet(t *testing.T) {
	st := open(t, natstest.Start(t))
	ctx := t.Context()
	if _, err := st.Tenants.Get(ctx, "acme"); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("before it is there: %v", err)
	}
	rate := 5.
	mine := &tenant.Tenant{Name: "acme", Limits: tenant.Own{Rate: &rate}}
	if err := st.Tenants.Save(ctx, mine); err != nil || mine.Rev == 0 {
		t.Fatal(mine.Rev, err)
	}
	theirs, err := st.Tenants.Get(ctx, "acme")
	if err != nil || theirs.Rev != mine.Rev || *theirs.Limits.Rate != 5 {
		t.Fatalf("%+v, %v", theirs, err)
	}
	if err := st.Tenants.Save(ctx, &tenant.Tenant{Name: "acme"}); !errors.Is(err, task.ErrConflict) {
		t.Errorf("made twice: %v", err)
	}
	if err := st.Tenants.Save(ctx, theirs); err != nil {
		t.Fatal(err)
	}
	if err := st.Tenants.Save(ctx, mine); !errors.Is(err, task.ErrConflict) {
		t.Errorf("a stale write: %v", err)
	}
	if err := st.Tenants.Delete(ctx, mine); !errors.Is(err, task.ErrConflict) {
		t.Errorf("a stale delete: %v", err)
	}
	if err := st.Tenants.Delete(ctx, theirs); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Tenants.Get(ctx, "acme"); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
	again := &tenant.Tenant{Name: "acme"}
	if err := st.Tenants.Save(ctx, again); err != nil {
		t.Errorf("made again: %v", err)
	}
}
