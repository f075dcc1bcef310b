package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/natstest"
	"agentmesh/shared/tenant"
)

// runs has a core keep its copies up to date for the length of the test.
func runs(t *testing.T, m *mesh.Mesh) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = m.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	natstest.Until(t, "the limits are read", func() bool { return m.Tenants.Check() == nil })
}

// A change of a tenant's limits holds at every gateway, whatever it was before: a
// faster rate, too, of a tenant that was kept out for an hour.
func TestAChangeOfLimitsHoldsEverywhere(t *testing.T) {
	h := newHouse(t)
	one, two := h.limited(func(*tenant.Limits) {}), h.limited(func(*tenant.Limits) {})
	runs(t, two)
	admin, ctx := auth.Local(), t.Context()
	slow, fast, burst := 1./3600, 1e5, 1
	v, created, err := one.Tenants.Set(ctx, admin, "acme", tenant.Own{Rate: &slow, Burst: &burst})
	if err != nil || !created || v.Effective.Rate != slow || v.Effective.Webhooks != 1000 {
		t.Fatalf("%+v, %v, %v", v, created, err)
	}
	natstest.Until(t, "the other one has heard of it", func() bool {
		_, err := two.Tenants.Allow(of("acme"))
		return errors.Is(err, mesh.ErrRateLimited)
	})
	if v, created, err = one.Tenants.Set(ctx, admin, "acme", tenant.Own{Rate: &fast}); err != nil || created || !v.UpdatedAt.After(v.CreatedAt.Add(-1)) {
		t.Fatalf("%+v, %v, %v", v, created, err)
	}
	natstest.Until(t, "it is let through again", func() bool {
		_, err := two.Tenants.Allow(of("acme"))
		return err == nil
	})
	if all, err := one.Tenants.List(ctx, admin); err != nil || len(all) != 1 || all[0].Name != "acme" || *all[0].Limits.Rate != fast {
		t.Errorf("%+v, %v", all, err)
	}
	if err := one.Tenants.Delete(ctx, admin, "acme"); err != nil {
		t.Fatal(err)
	}
	natstest.Until(t, "it has the limits of the mesh", func() bool {
		a, err := two.Tenants.Allow(of("acme"))
		return err == nil && !a.Limited
	})
	if a, err := one.Tenants.Allow(of("acme")); err != nil || a.Limited {
		t.Errorf("where it was deleted: %+v, %v", a, err)
	}
	for _, err := range []error{one.Tenants.Delete(ctx, admin, "acme"), second(one.Tenants.Get(ctx, admin, "acme")), second(one.Tenants.Get(ctx, admin, "*"))} {
		if !errors.Is(err, mesh.ErrTenantNotFound) {
			t.Error(err)
		}
	}
}

// A name that could not be a subject's token, or a limit out of its range, is refused
// with its place.
func TestATenantThatCannotBeIsRefused(t *testing.T) {
	m := newHouse(t).limited(func(*tenant.Limits) {})
	bad := -7
	_, _, err := m.Tenants.Set(t.Context(), auth.Local(), "acme", tenant.Own{Waits: &bad, Burst: &bad})
	var e *mesh.Error
	if !errors.As(err, &e) || len(e.Faults) != 2 || e.Faults[0].Pointer != "/limits/burst" || e.Faults[1].Pointer != "/limits/waits" {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"", "a.b", "*", ">", "a b", "_mesh", strings.Repeat("a", 65), "a\nb", "ä"} {
		if _, _, err := m.Tenants.Set(t.Context(), auth.Local(), name, tenant.Own{}); !errors.Is(err, mesh.ErrValidationFailed) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// A thousand tenants, each with limits and at work, cost neither a goroutine nor a
// subscription each.
func TestTenantsCostNoGoroutineAndNoSubscription(t *testing.T) {
	h := newHouse(t)
	m := h.limited(func(l *tenant.Limits) { l.Pending, l.PendingPerAgent, l.Waits = 10, 10, 10 })
	runs(t, m)
	before, subs, consumers := runtime.NumGoroutine(), h.nc.NumSubscriptions(), h.srv.NumConsumers(t)
	rate := 100.
	for i := range 1000 {
		name := fmt.Sprint("tenant", i)
		if i < 100 { // each is a write
			if _, _, err := m.Tenants.Set(t.Context(), auth.Local(), name, tenant.Own{Rate: &rate}); err != nil {
				t.Fatal(err)
			}
		}
		_, err := m.Tenants.Allow(of(name))
		release, held := m.Tenants.Hold(of(name), mesh.HeldWait)
		_, accepted := m.Tasks.Accept(t.Context(), of(name), submission())
		if err = errors.Join(err, held, accepted); err != nil {
			t.Fatal(err)
		}
		release()
	}
	if n := h.nc.NumSubscriptions() - subs; n > 1 {
		t.Errorf("%d subscriptions more", n)
	}
	if n := h.srv.NumConsumers(t) - consumers; n > 0 {
		t.Errorf("%d consumers more", n)
	}
	natstest.Until(t, "no goroutine is left", func() bool { return runtime.NumGoroutine()-before < 10 })
}
