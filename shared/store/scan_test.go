package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"agentmesh/shared/natstest"
	"agentmesh/shared/schedule"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/tenant"
)

// A record that is being replaced is there all the time, once: though the server counts
// it as gone between the removal of the old one and the word of the new one, and a
// reader may meet both.
func TestARecordIsListedWhileItIsReplaced(t *testing.T) {
	now := task.Stamp(time.Now())
	e := &schedule.Schedule{ID: schedule.NewID(uuid.Must(uuid.NewV7())), Tenant: "default", CreatedAt: now, UpdatedAt: now}
	d := task.Definition{Name: "echo"}
	acme := &tenant.Tenant{Name: "acme"}
	for kind, c := range map[string]struct {
		replace func(ctx context.Context, st *store.Store, n int) error
		list    func(context.Context, *store.Store) (int, error)
	}{
		"schedule": {
			func(ctx context.Context, st *store.Store, n int) error {
				if n == 0 {
					return st.Schedules.Add(ctx, e, 10)
				}
				return st.Schedules.Save(ctx, e)
			},
			func(ctx context.Context, st *store.Store) (int, error) {
				all, err := st.Schedules.List(ctx, "default")
				return len(all), err
			},
		},
		"agent": {
			func(ctx context.Context, st *store.Store, n int) error {
				if n == 0 {
					if _, err := st.Registry.Register(ctx, task.Definition{Name: "other"}, "wrk_1"); err != nil {
						return err
					}
				}
				d.Description = fmt.Sprint(n)
				_, err := st.Registry.Register(ctx, d, "wrk_1")
				return err
			},
			func(ctx context.Context, st *store.Store) (int, error) {
				all, err := st.Registry.Agents(ctx)
				return len(all) - 1, err
			},
		},
		"tenant": {
			func(ctx context.Context, st *store.Store, n int) error {
				if n == 0 {
					if err := st.Tenants.Save(ctx, &tenant.Tenant{Name: "other"}); err != nil {
						return err
					}
				}
				return st.Tenants.Save(ctx, acme)
			},
			func(ctx context.Context, st *store.Store) (int, error) {
				all, err := st.Tenants.List(ctx)
				return len(all) - 1, err
			},
		},
	} {
		t.Run(kind, func(t *testing.T) {
			st := open(t, natstest.Start(t))
			if err := c.replace(t.Context(), st, 0); err != nil {
				t.Fatal(err)
			}
			var replaced sync.WaitGroup
			defer replaced.Wait()
			stop := make(chan struct{})
			defer close(stop)
			replaced.Go(func() {
				for n := 1; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					if err := c.replace(t.Context(), st, n); err != nil {
						t.Error(err)
						return
					}
				}
			})
			missed, twice := 0, 0
			const lists = 500
			for range lists {
				n, err := c.list(t.Context(), st)
				if err != nil {
					t.Fatal(err)
				}
				switch {
				case n < 1:
					missed++
				case n > 1:
					twice++
				}
			}
			if missed+twice > 0 {
				t.Errorf("of %d lists %d do not have it, and %d have it twice", lists, missed, twice)
			}
		})
	}
}

// A task that is claimed while a list is made is in it: it moves from the queue to the
// records, and is met at one of them.
func TestATaskIsListedWhileItIsClaimed(t *testing.T) {
	st := open(t, natstest.Start(t))
	for n := range 300 {
		one := newTask()
		if _, err := st.Tasks.Enqueue(t.Context(), one); err != nil {
			t.Fatal(err)
		}
		claimed := make(chan error)
		go func() {
			for range n % 10 { // some time
				_, _ = st.Tasks.Queued(t.Context())
			}
			next := one.Clone()
			next.Status, next.Attempt = task.Processing, 1
			err := st.Tasks.Save(context.WithoutCancel(t.Context()), next)
			if err == nil { // and ended
				err = st.Tasks.Withdraw(context.WithoutCancel(t.Context()), one)
			}
			claimed <- err
		}()
		page, err := st.Tasks.List(t.Context(), store.Listing{Tenant: one.Tenant, Limit: 1000, From: store.Start, Queued: true, Match: func(*task.Task) bool { return true }})
		if err := errors.Join(err, <-claimed); err != nil {
			t.Fatal(err)
		}
		times := 0
		for _, got := range page.Tasks {
			if got.ID == one.ID {
				times++
			}
		}
		if times != 1 {
			t.Errorf("claimed after %d requests it is listed %d times", n%10, times)
		}
	}
}

// The same holds for a page of what is listed by its newest change.
func TestASessionIsListedWhileItChanges(t *testing.T) {
	st := open(t, natstest.Start(t))
	sess := keptSession(t, st)
	stop, changed := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				changed <- nil
				return
			default:
			}
			if err := st.Sessions.Save(context.WithoutCancel(t.Context()), sess); err != nil {
				changed <- err
				return
			}
		}
	}()
	for range 500 {
		page, err := st.Sessions.List(t.Context(), "default", store.Search[*session.Session]{Limit: 10, Match: func(*session.Session) bool { return true }})
		if err != nil || len(page.Items) != 1 {
			t.Fatalf("%d sessions, %v", len(page.Items), err)
		}
	}
	close(stop)
	if err := <-changed; err != nil {
		t.Error(err)
	}
}
