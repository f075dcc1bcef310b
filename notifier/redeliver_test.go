package notifier_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/gateway/api"
	"agentmesh/notifier"
	"agentmesh/shared/egress"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/secret"
	"agentmesh/shared/signature"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
	"agentmesh/shared/webhook"
	"agentmesh/worker/agents/echo"
)

// Somebody asks for a delivery again in the moment between the record of its
// last attempt and the end of its message: it comes.
func TestRedeliverWhileTheLastAttemptEndsComes(t *testing.T) {
	for name, d := range map[string]webhook.Delivery{
		"dead":     {Status: webhook.Dead, Failures: 10},
		"retrying": {Status: webhook.Retrying, Failures: 9, NextAt: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := meshtest.New(t)
				r := m.Receive(nil)
				d.ID, d.Tenant, d.Source = webhook.NewDeliveryID("e", webhook.Callback), "default", "act_01a20000000000000000000000000001"
				d.EventID, d.Type, d.URL, d.Body, d.CreatedAt = "e", "action.completed", r.URL, []byte(`{}`), task.Stamp(time.Now())
				if err := m.Store.Deliveries.Enqueue(t.Context(), &d); err != nil {
					t.Fatal(err)
				}
				msg := takeDelivery(t, m.Store)
				if err := m.Store.Deliveries.Save(t.Context(), &d); err != nil {
					t.Fatal(err)
				}
				if w := m.Do("POST", "/deliveries/"+string(d.ID)+"/redeliver", ""); w.Code != http.StatusAccepted {
					t.Fatalf("redeliver = %d %s", w.Code, w.Body)
				}
				if err := msg.Ack(); err != nil {
					t.Fatal(err)
				}
				m.Notify()
				time.Sleep(time.Minute)
				if n := len(r.All()); n != 1 {
					t.Errorf("%d requests, want 1", n)
				}
			})
		})
	}
}

// A request to deliver again has a limit, and the next one goes on where it
// ended, also where the same deliveries match once more.
func TestARequestToRedeliverGoesOnWhereTheLastEnded(t *testing.T) {
	natstest.LongUnderRace(t)
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		r := m.Receive(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Webhook-Delivery", "abort-message")
			w.WriteHeader(400)
		})
		hook := m.Subscribe(`{"url":"` + r.URL + `"}`)
		const n = 2500
		for i := range n {
			d := &webhook.Delivery{
				ID: webhook.NewDeliveryID(fmt.Sprint(i), hook.WebhookID), Tenant: "default", Source: webhook.Source(fmt.Sprintf("tsk_%032x", i)), EventID: fmt.Sprint(i),
				Type: "task.completed", Webhook: webhook.ID(hook.WebhookID), Body: []byte(`{}`), Status: webhook.Dead, CreatedAt: task.Stamp(time.Now()),
			}
			if err := m.Store.Deliveries.Save(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
		m.Notify()
		sum, body, requests := 0, `{}`, 0
		for ; requests < 5; requests++ {
			got := meshtest.Decode[api.Redelivered](t, m.Do("POST", "/webhooks/"+hook.WebhookID+"/redeliver", body).Body)
			sum += got.Redelivered
			time.Sleep(time.Hour) // all are dead again
			if got.More != (got.NextCursor != "") {
				t.Errorf("redelivered = %+v", got)
			}
			if !got.More {
				break
			}
			body = `{"cursor":"` + got.NextCursor + `"}`
		}
		ids := map[string]int{}
		for _, got := range r.All() {
			ids[got.ID()]++
		}
		if sum != n || len(ids) != n || requests < 2 {
			t.Errorf("%d redelivered by %d requests, %d arrived; want %d", sum, requests+1, len(ids), n)
		}
		if w := m.Do("POST", "/webhooks/"+hook.WebhookID+"/redeliver", `{"cursor":"x"}`); w.Code != 400 || meshtest.Problem(t, w).Code != "bad_cursor" {
			t.Errorf("a bad cursor = %d %s", w.Code, w.Body)
		}
	})
}

// While the mesh's own key is replaced callbacks carry signatures by the new and
// the old one, and the key set has both.
func TestCallbacksCarryBothKeysWhileOneIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(echo.Agent())
		old := m.CallbackSecret()
		m.Keys = meshtest.RingOf(t, secret.NewKey()+","+meshtest.TestKey)
		m.Gateway = m.NewGateway(m.Store)
		m.Notify()
		r := m.Receive(nil)
		m.Action(`{"agent":"echo","instruction":"x","callback_url":"` + r.URL + `"}`)
		time.Sleep(time.Second)
		all := r.All()
		if len(all) != 1 {
			t.Fatalf("%d requests, want 1", len(all))
		}
		meshtest.Verify(t, all[0], old)
		meshtest.Verify(t, all[0], m.CallbackSecret())
		if set := meshtest.Decode[api.KeySet](t, m.Do("GET", "/.well-known/webhooks/jwks.json", "").Body); len(set.Keys) != 2 {
			t.Errorf("key set = %+v", set)
		}
		if _, err := (signature.Verifier{Keys: []signature.VerifyingKey{signature.NewSecret()}}).Verify(all[0].Header, all[0].Body, all[0].At); err == nil {
			t.Error("any key verifies")
		}
	})
}

// A webhook whose address the policy has come to forbid is not tested: the same
// answer as when it is made.
func TestAWebhookThatThePolicyForbidsIsNotTested(t *testing.T) {
	m := meshtest.New(t)
	r := m.Receive(nil)
	hook := m.Subscribe(`{"url":"` + r.URL + `"}`)
	m.Guard = egress.New(egress.Policy{}, m.Hosts).WithDial(m.Hosts.Dial)
	m.Gateway = m.NewGateway(m.Store)
	if w := m.Do("POST", "/webhooks/"+hook.WebhookID+"/test", ""); w.Code != 422 || meshtest.Problem(t, w).Code != "callback_blocked" {
		t.Errorf("test = %d %s", w.Code, w.Body)
	}
	if n := len(m.DeliveriesBy("")); n != 0 {
		t.Errorf("%d deliveries were made", n)
	}
}

// A record or message that nobody can read holds up nothing behind it.
func TestAnUnreadableRecordHoldsUpNothingBehindIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		r := m.Receive(nil)
		for _, subject := range []string{topology.TaskRecord("default", "tsk_poison"), topology.DeliveryDue("default", "dlv_poison")} {
			for _, data := range []string{"{", `{"callback":[]}`, `{"task_id":"*","callback":{}}`} {
				if err := m.NC.Publish(subject, []byte(data)); err != nil {
					t.Fatal(err)
				}
			}
		}
		m.Action(`{"agent":"echo","instruction":"x","callback_url":"` + r.URL + `"}`)
		time.Sleep(time.Second)
		if n := len(r.All()); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}

// A delivery is asked for again in the moment between the record of a failure
// and the schedule of the next attempt: that must not put it off.
func TestRedeliverBeforeTheScheduleIsNotPutOff(t *testing.T) {
	const n = 40
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var attempts atomic.Int32
		r := m.Receive(func(w http.ResponseWriter, _ *http.Request) {
			if attempts.Add(1) <= n {
				w.WriteHeader(http.StatusNotFound)
			}
		})
		// A watcher of the records asks as soon as one is written.
		asked := map[string]bool{}
		_, err := m.NC.Subscribe(topology.DeliveriesOf("default"), func(msg *nats.Msg) {
			heard := meshtest.Decode[webhook.Delivery](t, bytes.NewReader(msg.Data))
			rec := &heard
			if rec.Status == webhook.Retrying && len(rec.Attempts) == 1 && !asked[string(rec.ID)] {
				asked[string(rec.ID)] = true
				// As POST /deliveries/{id}/redeliver does where the message stays
				// for long. A record that we hear of may not be stored yet, so it
				// may change under us.
				err := task.ErrConflict
				for errors.Is(err, task.ErrConflict) {
					if rec, err = m.Store.Deliveries.Get(t.Context(), rec.Tenant, rec.Source, rec.ID); err == nil {
						rec.Status, rec.NextAt = webhook.Pending, time.Time{}
						err = m.Store.Deliveries.Save(t.Context(), rec)
					}
				}
				if err == nil {
					soon := *rec
					soon.NextAt = time.Now().Add(20 * time.Second)
					err = m.Store.Deliveries.Schedule(t.Context(), &soon)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			d := &webhook.Delivery{
				ID: webhook.NewDeliveryID(fmt.Sprint(i), webhook.Callback), Tenant: "default", Source: "act_01a20000000000000000000000000001", EventID: "e",
				Type: "action.completed", URL: r.URL, Body: []byte(`{}`), Status: webhook.Retrying, Failures: 7, CreatedAt: task.Stamp(time.Now()),
			}
			if err := m.Store.Deliveries.Save(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			if err := m.Store.Deliveries.Now(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
		m.Notify()
		time.Sleep(time.Minute)
		if ds := m.DeliveriesBy("status=delivered"); len(ds) != n {
			t.Errorf("%d delivered within a minute, want %d; %d requests", len(ds), n, len(r.All()))
		}
	})
}

// Asking ten times while an attempt is under way costs no ten attempts.
func TestTenRequestsToRedeliverCostNoTenAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		r := m.Receive(func(http.ResponseWriter, *http.Request) { time.Sleep(5 * time.Second) })
		id := m.Action(`{"agent":"echo","instruction":"x","callback_url":"` + r.URL + `"}`)
		time.Sleep(time.Minute)
		for range 10 {
			if w := m.Do("POST", "/actions/"+id+"/redeliver", ""); w.Code != http.StatusAccepted {
				t.Fatalf("redeliver = %d %s", w.Code, w.Body)
			}
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Hour)
		if n := len(r.All()); n < 2 || n > 3 {
			t.Errorf("%d requests, want the first, the one asked for and at most one more", n)
		}
		same(t, r.All())
		if ds := m.DeliveriesBy("status=delivered"); len(ds) != 1 {
			t.Errorf("delivered = %+v", ds)
		}
	})
}

// A notifier that is full of attempts at endpoints that hang ends within its
// drain, as an idle one does.
func TestAFullNotifierEndsWithinItsDrain(t *testing.T) {
	const hosts, each = 110, 10 // more than one process holds
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		now := task.Stamp(time.Now())
		for h := range hosts {
			r := m.Receive(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			for i := range each {
				id := fmt.Sprintf("%d-%d", h, i)
				d := &webhook.Delivery{
					ID: webhook.NewDeliveryID(id, webhook.Callback), Tenant: "default", Source: "act_01a20000000000000000000000000001", EventID: id,
					Type: "action.completed", URL: r.URL, Body: []byte(`{}`), Status: webhook.Pending, CreatedAt: now,
				}
				if err := m.Store.Deliveries.Enqueue(t.Context(), d); err != nil {
					t.Fatal(err)
				}
			}
		}
		n, err := notifier.New(t.Context(), notifier.Config{Drain: time.Second}, m.Store, m.Guard, m.Keys, meshtest.Quiet())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- n.Run(ctx) }()
		time.Sleep(3 * time.Second)
		began := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("ended after %v, the drain is 1s", took)
		}
	})
}

// A delivery that is asked for at once is not scheduled any more: /stats counts no
// phantom, its time passes without a request, and the schedules of others hold.
func TestADeliverySentAtOnceIsScheduledNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(echo.Agent())
		m.Notify()
		var down atomic.Bool
		down.Store(true)
		r := m.Receive(func(w http.ResponseWriter, _ *http.Request) {
			if down.Load() {
				w.WriteHeader(500)
			}
		})
		var ids []string
		for range 4 {
			ids = append(ids, m.Action(`{"agent":"echo","instruction":"x","callback_url":"`+r.URL+`"}`))
		}
		time.Sleep(20 * time.Second) // the next attempts are minutes away
		down.Store(false)
		scheduled := func() int {
			time.Sleep(3 * time.Second)
			return meshtest.Decode[api.Stats](t, m.Do("GET", "/stats", "").Body).Deliveries.Scheduled
		}
		if n := scheduled(); n != len(ids) {
			t.Fatalf("%d scheduled, want %d", n, len(ids))
		}
		for _, id := range ids[1:3] {
			if w := m.Do("POST", "/actions/"+id+"/redeliver", ""); w.Code != http.StatusAccepted {
				t.Fatalf("redeliver = %d %s", w.Code, w.Body)
			}
		}
		if n := scheduled(); n != 2 {
			t.Errorf("%d scheduled after two were delivered, want 2", n)
		}
		before := len(r.All())
		time.Sleep(time.Hour)
		if n, after := scheduled(), len(r.All()); n != 0 || after != before+2 {
			t.Errorf("%d scheduled, %d requests; want 0 and %d", n, after, before+2)
		}
	})
}
