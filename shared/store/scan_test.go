package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/natstest"
	"agentmesh/shared/schedule"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/tenant"
	"agentmesh/shared/topology"
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
	natstest.Long(t)
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

// It is there as well when it stood so far back that it changed before it was met.
func TestASessionIsListedWhereverItIsWhenItChanges(t *testing.T) {
	st := open(t, natstest.Start(t))
	last := keptSession(t, st)
	for range 300 { // more than the first window has
		keptSession(t, st)
	}
	for limit, least := range map[int]int{1000: 1, 100: 100} { // on a page that ends when its time is over
		changes := sync.OnceValue(func() error { return st.Sessions.Save(t.Context(), last) })
		seen := map[session.ID]bool{}
		q := store.Search[*session.Session]{Limit: limit, Match: func(*session.Session) bool { return changes() == nil }}
		for more := true; more; more = q.From > 0 {
			page, err := st.Sessions.List(t.Context(), "default", q)
			if err := errors.Join(err, changes()); err != nil {
				t.Fatal(err)
			}
			if len(page.Items) > limit || q.From == 0 && (len(page.Items) < least || page.Items[0].ID != last.ID) {
				t.Errorf("the first page has %d sessions, the first is %s, want %d and %s", len(page.Items), page.Items[0].ID, least, last.ID)
			}
			for _, s := range page.Items {
				if seen[s.ID] {
					t.Errorf("session %s is listed twice", s.ID)
				}
				seen[s.ID] = true
			}
			q.From = page.Next
		}
		if len(seen) != 301 {
			t.Errorf("%d sessions in pages of %d, want 301", len(seen), limit)
		}
	}
}

// A scheduled task moves within the queue when its time has come.
func TestATaskIsListedWhileItIsMadeReady(t *testing.T) {
	for order, list := range map[string]listing{"changed": byChange, "created": byCreation} {
		for _, met := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/met before: %t", order, met), func(t *testing.T) { listedWhenReady(t, list, met) })
		}
	}
}

// listing is all pages of a list: one ends when its time is over.
type listing func(context.Context, *store.Store, store.Listing) ([]*task.Task, error)

func byChange(ctx context.Context, st *store.Store, l store.Listing) (all []*task.Task, err error) {
	for l.From = store.Start; err == nil && !l.From.Done(); {
		var page store.Listed
		page, err = st.Tasks.List(ctx, l)
		all, l.From = append(all, page.Tasks...), page.Next
	}
	return all, err
}

func byCreation(ctx context.Context, st *store.Store, l store.Listing) (all []*task.Task, err error) {
	for page := (store.ListedCreated{}); err == nil && !page.Done; {
		page, err = st.Tasks.ListCreated(ctx, l, page.After, page.View)
		all = append(all, page.Tasks...)
	}
	return all, err
}

func listedWhenReady(t *testing.T, list listing, met bool) {
	srv := natstest.Start(t)
	st := open(t, srv)
	js, err := jetstream.New(srv.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	later := newTask()
	later.NotBefore = task.Stamp(time.Now().Add(time.Hour))
	if _, err := st.Tasks.Enqueue(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	for range 300 { // more than the first window has
		if _, err := st.Tasks.Enqueue(t.Context(), newTask()); err != nil {
			t.Fatal(err)
		}
	}
	comes := sync.OnceValue(func() error { // as the server does it
		queue, err := js.Stream(t.Context(), topology.Tasks)
		if err != nil {
			return err
		}
		msg, err := queue.GetMsg(t.Context(), later.QueueSeq)
		if err != nil {
			return err
		}
		_, err = js.Publish(t.Context(), topology.TaskReady(later.Tenant, later.Agent, later.ID), msg.Data)
		return errors.Join(err, queue.DeleteMsg(t.Context(), later.QueueSeq))
	})
	all, err := list(t.Context(), st, store.Listing{
		Tenant: later.Tenant, Limit: 1000, Queued: true,
		Match: func(one *task.Task) bool { return met && one.ID != later.ID || comes() == nil },
	})
	if err := errors.Join(err, comes()); err != nil {
		t.Fatal(err)
	}
	times := map[task.ID]int{}
	for _, one := range all {
		times[one.ID]++
	}
	if len(all) != 301 || times[later.ID] != 1 {
		t.Errorf("%d tasks are listed, want 301, the one that came %d times", len(all), times[later.ID])
	}
}

// A task that is promoted is in both lines until its message in bulk is acknowledged.
func TestATaskIsListedOnceWhileItIsPromoted(t *testing.T) {
	srv := natstest.Start(t)
	st := open(t, srv)
	js, err := jetstream.New(srv.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	one := newTask()
	one.Bulk = true
	if _, err := st.Tasks.Enqueue(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	queue, err := js.Stream(t.Context(), topology.Tasks)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := queue.GetMsg(t.Context(), one.QueueSeq)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), topology.TaskReady(one.Tenant, one.Agent, one.ID), msg.Data); err != nil {
		t.Fatal(err)
	}
	page, err := st.Tasks.List(t.Context(), store.Listing{Tenant: "default", Limit: 20, From: store.Start, Queued: true, Match: func(*task.Task) bool { return true }})
	if len(page.Tasks) != 1 || err != nil {
		t.Errorf("listed %d times, %v", len(page.Tasks), err)
	}
}
