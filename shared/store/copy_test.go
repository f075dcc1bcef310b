package store_test

import (
	"context"
	"fmt"
	"testing"

	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/tenant"
)

// A copy has all that there is when it is said to be ready, also while that is replaced.
func TestACopyIsCompleteWhenItIsReady(t *testing.T) {
	const many = 200
	names := make([]string, many)
	for n := range names {
		names[n] = fmt.Sprint("one-", n)
	}
	tenants := map[string]*tenant.Tenant{}
	for kind, c := range map[string]struct {
		replace func(ctx context.Context, st *store.Store, name string, n int) error
		watch   func(ctx context.Context, st *store.Store, f func(name string), ready func()) error
	}{
		"tenants": {
			func(ctx context.Context, st *store.Store, name string, n int) error {
				if n == 0 {
					tenants[name] = &tenant.Tenant{Name: name}
				}
				return st.Tenants.Save(ctx, tenants[name])
			},
			func(ctx context.Context, st *store.Store, f func(string), ready func()) error {
				return st.Tenants.Watch(ctx, func(one *tenant.Tenant) { f(one.Name) }, func(string, uint64) {}, ready)
			},
		},
		"agents": {
			func(ctx context.Context, st *store.Store, name string, n int) error {
				_, err := st.Registry.Register(ctx, task.Definition{Name: name, Description: fmt.Sprint(n)}, "wrk_1")
				return err
			},
			func(ctx context.Context, st *store.Store, f func(string), ready func()) error {
				return st.Registry.Watch(ctx, func(d store.Definition) { f(d.Name) }, func(string, uint64) {}, ready)
			},
		},
	} {
		t.Run(kind, func(t *testing.T) {
			st := open(t, natstest.Start(t))
			replace := func(n int) error {
				for _, name := range names {
					if err := c.replace(context.WithoutCancel(t.Context()), st, name, n); err != nil {
						return err
					}
				}
				return nil
			}
			if err := replace(0); err != nil {
				t.Fatal(err)
			}
			stop, replaced := make(chan struct{}), make(chan error, 1)
			go func() {
				for n := 1; ; n++ {
					select {
					case <-stop:
						replaced <- nil
						return
					default:
					}
					if err := replace(n); err != nil {
						replaced <- err
						return
					}
				}
			}()
			for range 30 {
				ctx, cancel := context.WithCancel(t.Context())
				known := map[string]bool{}
				err := c.watch(ctx, st, func(name string) { known[name] = true }, func() {
					if len(known) != many {
						t.Errorf("ready with %d of %d", len(known), many)
					}
					cancel()
				})
				cancel()
				if err != nil {
					t.Error(err)
				}
			}
			close(stop)
			if err := <-replaced; err != nil {
				t.Error(err)
			}
		})
	}
}
