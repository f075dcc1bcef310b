package mesh_test

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/task"
	"agentmesh/shared/tenant"
	"agentmesh/shared/topology"
)

// of is a caller of a tenant.
func of(name string) auth.Caller { return auth.Local().For(name) }

// unlimited are limits that bound nothing, changed by f.
func unlimited(f func(*tenant.Limits)) *tenant.Limits {
	l := tenant.Default()
	f(&l)
	return &l
}

// limited is a core with limits, whose agents are known.
func (h *house) limited(f func(*tenant.Limits)) *mesh.Mesh {
	h.t.Helper()
	for _, name := range []string{"echo", "other"} {
		if _, err := h.st.Registry.Register(h.t.Context(), task.Definition{Name: name}, "wrk_1"); err != nil {
			h.t.Fatal(err)
		}
	}
	return mesh.New(h.st, mesh.Options{Log: quiet(), Limits: unlimited(f), Keys: meshtest.RingOf(h.t, meshtest.TestKey)})
}

func submission() *mesh.Submission {
	return &mesh.Submission{Kind: task.KindTask, Agent: "echo", Input: json.RawMessage(`{}`)}
}

// A tenant may send a burst at once, and then as many as its rate says; the answer
// says how many are left, and a refusal when the next one may come.
func TestARateLetsABurstThroughAndThenOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenants := mesh.New(nil, mesh.Options{Log: quiet(), Limits: unlimited(func(l *tenant.Limits) { l.Rate, l.Burst = 2, 3 })}).Tenants
		for _, left := range []int{2, 1, 0} {
			a, err := tenants.Allow(of("acme"))
			if err != nil || a.Left != left || a.Quota != 3 || a.Window != 1500*time.Millisecond || a.Reset != time.Duration(3-left)*500*time.Millisecond {
				t.Fatalf("%+v, %v; want %d left", a, err, left)
			}
		}
		refused := func(wait time.Duration) {
			t.Helper()
			a, err := tenants.Allow(of("acme"))
			var e *mesh.Error
			if !errors.Is(err, mesh.ErrRateLimited) || !errors.As(err, &e) || e.Wait() != wait || a.Left != 0 || a.Reset != wait {
				t.Fatalf("%+v, %v; want refused for %v", a, err, wait)
			}
		}
		refused(500 * time.Millisecond)
		if _, err := tenants.Allow(of("other")); err != nil {
			t.Errorf("another tenant: %v", err)
		}
		time.Sleep(499 * time.Millisecond)
		refused(time.Millisecond)
		time.Sleep(time.Millisecond)
		if _, err := tenants.Allow(of("acme")); err != nil {
			t.Errorf("when it was said to come again: %v", err)
		}
		refused(500 * time.Millisecond)
		time.Sleep(time.Hour)
		for range 3 {
			if _, err := tenants.Allow(of("acme")); err != nil {
				t.Errorf("after a rest: %v", err)
			}
		}
		refused(500 * time.Millisecond)
	})
}

// However many ask at once, as many are let through as may come.
func TestARateHoldsForThoseWhoAskAtOnce(t *testing.T) {
	tenants := mesh.New(nil, mesh.Options{Log: quiet(), Limits: unlimited(func(l *tenant.Limits) { l.Rate, l.Burst = 1./60, 50 })}).Tenants
	var through atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 20 {
				if _, err := tenants.Allow(of("acme")); err == nil {
					through.Add(1)
				}
			}
		})
	}
	all.Wait()
	if n := through.Load(); n != 50 {
		t.Errorf("%d of 400 came through, want 50", n)
	}
}

// A rate of 0 lets nothing through, and one below 0 everything.
func TestARateMayBeNothingOrNoLimit(t *testing.T) {
	tenants := mesh.New(nil, mesh.Options{Log: quiet(), Limits: unlimited(func(l *tenant.Limits) { l.Rate = 0 })}).Tenants
	if a, err := tenants.Allow(of("acme")); !errors.Is(err, mesh.ErrRateLimited) || !a.Limited {
		t.Errorf("%+v, %v", a, err)
	}
	tenants = mesh.New(nil, mesh.Options{Log: quiet()}).Tenants
	if a, err := tenants.Allow(of("acme")); err != nil || a.Limited {
		t.Errorf("%+v, %v", a, err)
	}
}

// Waits and streams of a tenant are counted apart, each until it is given back.
func TestWhatIsHeldIsGivenBack(t *testing.T) {
	tenants := mesh.New(nil, mesh.Options{Log: quiet(), Limits: unlimited(func(l *tenant.Limits) { l.Waits, l.Streams = 2, 1 })}).Tenants
	hold := func(who string, why mesh.Held) func() {
		t.Helper()
		release, err := tenants.Hold(of(who), why)
		if err != nil {
			t.Fatal(err)
		}
		return release
	}
	first := hold("acme", mesh.HeldWait)
	defer hold("acme", mesh.HeldWait)()
	defer hold("acme", mesh.HeldStream)()
	defer hold("other", mesh.HeldWait)()
	for _, why := range []mesh.Held{mesh.HeldWait, mesh.HeldStream} {
		if _, err := tenants.Hold(of("acme"), why); !errors.Is(err, mesh.ErrTooManyWaits) {
			t.Errorf("%v: %v", why, err)
		}
	}
	first()
	defer hold("acme", mesh.HeldWait)()
}

// A tenant with as many tasks as it may have is refused before anything of the next
// one is written, and may go on when one has ended.
func TestTasksBeyondTheLimitAreRefusedBeforeTheyAreAccepted(t *testing.T) {
	h := newHouse(t)
	m := h.limited(func(l *tenant.Limits) { l.Pending = 3 })
	var ids []task.ID
	for range 3 {
		a, err := m.Tasks.Accept(t.Context(), of("default"), submission())
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, a.TaskID)
	}
	key := mesh.NewKey(of("default"), "k", []string{"POST"}, "{}")
	s := submission()
	s.Key = key
	_, err := m.Tasks.Accept(t.Context(), of("default"), s)
	var e *mesh.Error
	if !errors.Is(err, mesh.ErrTooManyPending) || !errors.As(err, &e) || e.Wait() <= 0 || !strings.Contains(e.Detail, "3 tasks") {
		t.Fatal(err)
	}
	if n, err := h.st.Tasks.Waiting(t.Context(), "default", ""); err != nil || n != 3 {
		t.Errorf("%d wait, %v", n, err)
	}
	if _, err := m.Tasks.Accept(t.Context(), of("other"), submission()); err != nil {
		t.Errorf("another tenant: %v", err)
	}
	if _, err := m.Tasks.Cancel(t.Context(), of("default"), ids[0]); err != nil {
		t.Fatal(err)
	}
	other := submission() // nothing was kept under the key: it may be used for another request
	other.Key = mesh.NewKey(of("default"), "k", []string{"POST"}, "[]")
	natstest.Until(t, "there is room again", func() bool {
		_, err := m.Tasks.Accept(t.Context(), of("default"), other)
		if err != nil && !errors.Is(err, mesh.ErrTooManyPending) {
			t.Fatal(err)
		}
		return err == nil
	})
}

// The limit of one agent leaves room for others.
func TestTheLimitOfAnAgentIsItsOwn(t *testing.T) {
	h := newHouse(t)
	m := h.limited(func(l *tenant.Limits) { l.PendingPerAgent, l.Pending = 2, 3 })
	accept := func(agent string) error {
		s := submission()
		s.Agent = agent
		_, err := m.Tasks.Accept(t.Context(), of("acme"), s)
		return err
	}
	for i, want := range []struct {
		agent, says string
	}{{"echo", ""}, {"echo", ""}, {"echo", "agent echo"}, {"other", ""}, {"other", "The tenant"}} {
		err := accept(want.agent)
		if want.says == "" && err != nil || want.says != "" && (!errors.Is(err, mesh.ErrTooManyPending) || !strings.Contains(err.Error(), want.says)) {
			t.Errorf("%d, %s: %v, want %q", i, want.agent, err, want.says)
		}
	}
}

// A repeat of an accepted request gets its first answer, however full it is.
func TestARepeatIsAnsweredAtTheLimit(t *testing.T) {
	h := newHouse(t)
	m := h.limited(func(l *tenant.Limits) { l.Pending, l.Sessions = 1, 1 })
	key := mesh.NewKey(of("acme"), "k", []string{"POST"}, "{}")
	var ids []task.ID
	for range 3 {
		s := submission()
		s.Key = key
		a, err := m.Tasks.Accept(t.Context(), of("acme"), s)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, a.TaskID)
	}
	if ids[0] != ids[1] || ids[1] != ids[2] {
		t.Errorf("%v", ids)
	}
	key = mesh.NewKey(of("acme"), "k", []string{"POST", "/sessions"}, "{}")
	one, err := m.Sessions.Open(t.Context(), of("acme"), "echo", key)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := m.Sessions.Open(t.Context(), of("acme"), "echo", key); err != nil || again.SessionID != one.SessionID {
		t.Errorf("%+v, %v", again, err)
	}
}

// However many come at once at one gateway, the limit holds.
func TestTheLimitHoldsForThoseWhoComeAtOnce(t *testing.T) {
	h := newHouse(t)
	m := h.limited(func(l *tenant.Limits) { l.Pending = 40 })
	var accepted atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 10 {
				_, err := m.Tasks.Accept(t.Context(), of("acme"), submission())
				switch {
				case err == nil:
					accepted.Add(1)
				case !errors.Is(err, mesh.ErrTooManyPending):
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := accepted.Load(); n > 40 || n < 20 {
		t.Errorf("%d accepted, want 40", n)
	}
	if n, err := h.st.Tasks.Waiting(t.Context(), "acme", ""); err != nil || n > 40 {
		t.Errorf("%d wait, %v", n, err)
	}
}

// Tasks that other gateways accept count, at the latest after a second.
func TestTheLimitHoldsAcrossGateways(t *testing.T) {
	h := newHouse(t)
	few := func(l *tenant.Limits) { l.Pending = 5 }
	one, two := h.limited(few), h.limited(few)
	accept := func(m *mesh.Mesh) error {
		_, err := m.Tasks.Accept(t.Context(), of("acme"), submission())
		return err
	}
	for range 2 {
		if err := errors.Join(accept(one), accept(two)); err != nil {
			t.Fatal(err)
		}
	}
	natstest.Until(t, "both know of each other's", func() bool {
		err := accept(one)
		if err == nil {
			err = accept(two)
		}
		if err != nil && !errors.Is(err, mesh.ErrTooManyPending) {
			t.Fatal(err)
		}
		return err != nil && accept(one) != nil && accept(two) != nil
	})
	if n, err := h.st.Tasks.Waiting(t.Context(), "acme", ""); err != nil || n > 2*5 {
		t.Errorf("%d wait, %v", n, err)
	}
}

// A scheduled task is refused at the limit, and counts only when it is due.
func TestAScheduledTaskCountsWhenItIsDue(t *testing.T) {
	h := newHouse(t)
	m := h.limited(func(l *tenant.Limits) { l.Pending = 1 })
	later := func() error {
		s := submission()
		s.NotBefore = time.Now().Add(time.Hour)
		_, err := m.Tasks.Accept(t.Context(), of("acme"), s)
		return err
	}
	if err := errors.Join(later(), later()); err != nil {
		t.Error(err)
	}
	if _, err := m.Tasks.Accept(t.Context(), of("acme"), submission()); err != nil {
		t.Error(err)
	}
	if err := later(); !errors.Is(err, mesh.ErrTooManyPending) {
		t.Error(err)
	}
}

// A tenant has as many sessions as it may; one that is deleted makes room.
func TestSessionsAreLimited(t *testing.T) {
	h := newHouse(t)
	m := h.limited(func(l *tenant.Limits) { l.Sessions = 2 })
	var last *mesh.Opened
	for range 2 {
		var err error
		if last, err = m.Sessions.Open(t.Context(), of("acme"), "echo", nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Sessions.Open(t.Context(), of("acme"), "echo", nil); !errors.Is(err, mesh.ErrTooManySessions) {
		t.Fatal(err)
	}
	if _, err := m.Sessions.Open(t.Context(), of("other"), "echo", nil); err != nil {
		t.Errorf("another tenant: %v", err)
	}
	if err := m.Sessions.Delete(t.Context(), of("acme"), last.SessionID, nil); err != nil {
		t.Fatal(err)
	}
	natstest.Until(t, "there is room again", func() bool {
		_, err := m.Sessions.Open(t.Context(), of("acme"), "echo", nil)
		if err != nil && !errors.Is(err, mesh.ErrTooManySessions) {
			t.Fatal(err)
		}
		return err == nil
	})
}

func second[T any](_ T, err error) error { return err }

// Counting is not paid for by each task: the store is asked now and then.
func TestTheStoreIsNotAskedForEachTask(t *testing.T) {
	h := newHouse(t)
	m := h.limited(func(l *tenant.Limits) { l.Pending = 1000 })
	asked, err := h.nc.SubscribeSync(topology.StreamInfo(topology.Tasks))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 200 {
		if _, err := m.Tasks.Accept(t.Context(), of("acme"), submission()); err != nil {
			t.Fatal(err)
		}
	}
	if n, _, err := asked.Pending(); err != nil || n < 1 || n > 2+int(time.Since(began)/time.Second) {
		t.Errorf("asked %d times for 200 tasks in %v, %v", n, time.Since(began), err)
	}
}
