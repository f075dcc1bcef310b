package notifier_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/echo"
)

// same checks that requests are repeats of one delivery: the same id and bytes,
// and timestamps that never decrease.
func same(t *testing.T, all []meshtest.Received) {
	t.Helper()
	for i, r := range all {
		if r.ID() != all[0].ID() || !bytes.Equal(r.Body, all[0].Body) {
			t.Errorf("request %d is another delivery: %s %s", i, r.ID(), r.Body)
		}
		if i > 0 && r.Header.Get("Webhook-Timestamp") < all[i-1].Header.Get("Webhook-Timestamp") {
			t.Errorf("request %d is signed for an earlier time", i)
		}
	}
}

// TestAKillAfterTheAnswerSendsTheSameDeliveryAgain has a notifier die after the receiver has answered 200 and before that
// is on record: the delivery comes again, and is recognisable.
func TestAKillAfterTheAnswerSendsTheSameDeliveryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(echo.Agent())
		frozen := &meshtest.Gate{Server: m.Server.Server}
		st := m.StoreThrough(frozen)
		stop := m.NotifyWith(st)
		var once sync.Once
		r := m.Receive(func(http.ResponseWriter, *http.Request) { once.Do(frozen.Freeze) })
		m.Action(`{"agent":"echo","instruction":"x","callback_url":"` + r.URL + `"}`)
		time.Sleep(time.Second)
		m.Notify()
		time.Sleep(time.Minute)
		if all := r.All(); len(all) != 2 {
			t.Errorf("%d requests, want 2", len(all))
		} else {
			same(t, all)
		}
		if ds := m.DeliveriesBy("status=delivered"); len(ds) != 1 {
			t.Errorf("deliveries = %+v", ds)
		}
		frozen.Thaw()
		stop()
		time.Sleep(time.Minute)
		if ds := m.DeliveriesBy(""); len(ds) != 1 || ds[0].Status != "delivered" {
			t.Errorf("deliveries after the thaw = %+v", ds)
		}
	})
}

// takeDelivery takes the next delivery that is due, as a notifier would.
func takeDelivery(t *testing.T, st *store.Store) (taken *store.Delivered) {
	t.Helper()
	c, err := st.Consumers.Upkeep(meshtest.Quiet()).Open(t.Context(), store.DeliverDurable(10*time.Second))
	if err == nil {
		ctx, enough := context.WithCancel(t.Context())
		defer enough()
		one := store.Prefetch{Messages: 1, Bytes: 8 << 20, Expires: 30 * time.Second, Heartbeat: 15 * time.Second}
		err = c.Each(ctx, one, func(error) bool { return true }, func(d *store.Delivered) { taken = d; enough() })
	}
	if err != nil || taken == nil {
		t.Fatalf("no delivery is due: %v", err)
	}
	return taken
}

// TestAKillBeforeTheScheduleLosesNoRetry finds a delivery as a notifier leaves it that dies between the record of
// a failure and its schedule.
func TestAKillBeforeTheScheduleLosesNoRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		r := m.Receive(nil)
		now := task.Stamp(time.Now())
		d := &webhook.Delivery{
			ID: webhook.NewDeliveryID("e", webhook.Callback), Tenant: "default", Source: "act_01a20000000000000000000000000001", EventID: "e",
			Type: "action.completed", URL: r.URL, Body: []byte(`{}`), Status: webhook.Pending, CreatedAt: now,
		}
		if err := m.Store.Deliveries.Enqueue(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		d.Status, d.Failures, d.NextAt = webhook.Retrying, 1, now.Add(5*time.Second)
		if err := m.Store.Deliveries.Save(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		// The message goes to a notifier that dies with it.
		takeDelivery(t, m.Store)
		m.Notify()
		time.Sleep(time.Minute)
		if all := r.All(); len(all) != 1 {
			t.Errorf("%d requests, want 1", len(all))
		}
	})
}

// TestTwoNotifiersSendEachDeliveryOnce has two notifiers share the work: each delivery goes out once while
// nobody dies.
func TestTwoNotifiersSendEachDeliveryOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		st, _ := m.OpenStore()
		m.NotifyWith(st)
		r := m.Receive(func(_ http.ResponseWriter, _ *http.Request) { time.Sleep(14 * time.Second) })
		hook := m.Subscribe(`{"url":"` + r.URL + `"}`)
		const n = 40
		for i := range n {
			m.Create(fmt.Sprintf(`{"agent":"echo","input":%d}`, i))
		}
		time.Sleep(time.Hour)
		ids := map[string]int{}
		for _, r := range r.All() {
			ids[r.ID()]++
		}
		if len(ids) != n || len(r.All()) != n {
			t.Errorf("%d requests for %d deliveries, want %d of each", len(r.All()), len(ids), n)
		}
		if ds := m.DeliveriesBy("status=delivered&webhook_id=" + hook.WebhookID); len(ds) != n {
			t.Errorf("%d on record", len(ds))
		}
	})
}

// TestRetriesThatAreDueWhileTheMeshIsDownCome restarts the mesh across the time at which retries are due: all come.
func TestRetriesThatAreDueWhileTheMeshIsDownCome(t *testing.T) {
	natstest.Long(t)
	const n = 500
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		m := meshtest.NewIn(t, dir)
		stopWorker, stopNotifier := m.Work(echo.Agent()), m.Notify()
		r := m.Receive(meshtest.Answer(404)) // fails, and opens no breaker
		m.Subscribe(`{"url":"` + r.URL + `"}`)
		for i := range n {
			m.Create(fmt.Sprintf(`{"agent":"echo","input":%d}`, i))
		}
		time.Sleep(time.Minute)
		if got := len(m.DeliveriesBy("status=retrying")); got != n {
			t.Fatalf("%d are scheduled, want %d", got, n)
		}
		r.Answer(nil)
		stopWorker()
		stopNotifier()
		m.Server.Stop()
		time.Sleep(30 * time.Minute)
		before := len(r.All())
		again := meshtest.NewIn(t, dir)
		again.Hosts, again.Guard, again.Keys = m.Hosts, m.Guard, m.Keys
		again.Notify()
		time.Sleep(10 * time.Minute)
		ids := map[string]int{}
		for _, r := range r.All()[before:] {
			ids[r.ID()]++
		}
		if len(ids) != n || len(r.All())-before != n {
			t.Errorf("%d requests for %d deliveries, want %d of each", len(r.All())-before, len(ids), n)
		}
	})
}

// Milestones and outcomes reach the callback although the notifier was away for
// longer than the bucket remembers revisions.
func TestNothingIsLostWhileTheNotifierIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const steps = 200
		m := meshtest.New(t)
		m.Work(meshtest.Named("steps", func(ctx context.Context, job *agent.Job) (any, error) {
			for n := range steps {
				if err := job.Milestone(ctx, fmt.Sprintf("step-%d", n), "", nil); err != nil {
					return nil, err
				}
				time.Sleep(time.Second)
			}
			return "done", nil
		}))
		stop := m.Notify()
		r := m.Receive(nil)
		m.Action(`{"agent":"steps","instruction":"x","callback_url":"` + r.URL + `"}`)
		time.Sleep(3500 * time.Millisecond)
		stop()
		early := len(r.All())
		if early == 0 || early > 5 {
			t.Fatalf("%d events before the notifier went away", early)
		}
		time.Sleep(time.Hour)
		m.Notify()
		time.Sleep(time.Minute)
		ids := map[string]int{}
		for _, got := range r.All() {
			ids[got.ID()]++
		}
		if len(ids) != steps+1 || len(r.All()) != steps+1 {
			t.Errorf("%d requests with %d ids, want %d of each", len(r.All()), len(ids), steps+1)
		}
	})
}

// Two notifiers share the changes of one task; each event is told once, also
// while earlier ones are still on their way.
func TestTwoNotifiersTellOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("steps", func(ctx context.Context, job *agent.Job) (any, error) {
			for n := range 60 {
				if err := job.Milestone(ctx, fmt.Sprintf("step-%d", n), "", nil); err != nil {
					return nil, err
				}
				time.Sleep(3 * time.Second)
			}
			return "done", nil
		}))
		m.Notify()
		st, _ := m.OpenStore()
		m.NotifyWith(st)
		var n atomic.Int32
		r := m.Receive(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(7 * time.Second)
			if n.Add(1)%10 == 0 {
				w.WriteHeader(404) // comes again by the schedule, and only by it
			}
		})
		hook := m.Receive(nil)
		m.Subscribe(`{"url":"` + hook.URL + `"}`)
		m.Action(`{"agent":"steps","instruction":"x","callback_url":"` + r.URL + `"}`)
		time.Sleep(time.Hour)
		ids, requests := map[string]int{}, len(r.All())
		for _, got := range r.All() {
			ids[got.ID()]++
		}
		refused := int(n.Load()) / 10
		if len(ids) != 61 || requests != 61+refused {
			t.Errorf("%d requests with %d ids, %d refused; want 61 ids, each once more than it was refused", requests, len(ids), refused)
		}
		if len(hook.All()) != 61 {
			t.Errorf("%d requests at the webhook, want 61", len(hook.All()))
		}
	})
}
