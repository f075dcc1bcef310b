package notifier_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/event"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/signature"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// TestAReceiverThatFailsIsRetriedByTheSchedule has a receiver fail until the ninth attempt: the schedule, its jitter,
// and the same bytes each time.
func TestAReceiverThatFailsIsRetriedByTheSchedule(t *testing.T) {
	natstest.LongUnderRace(t)
	steps := []time.Duration{0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour}
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		var n atomic.Int32
		r := m.Receive(func(w http.ResponseWriter, _ *http.Request) {
			if n.Add(1) < 9 {
				w.WriteHeader(500)
			}
		})
		dead := m.Receive(meshtest.Answer(503))
		id := m.Action(`{"agent":"echo","instruction":"x","callback_url":"` + r.URL + `"}`)
		lost := m.Action(`{"agent":"echo","instruction":"x","callback_url":"` + dead.URL + `"}`)
		time.Sleep(time.Second)
		m.StopWorker()
		time.Sleep(100 * time.Hour)
		for name, want := range map[*meshtest.Receiver]int{r: 9, dead: 10} {
			all := name.All()
			if len(all) != want {
				t.Fatalf("%d requests, want %d", len(all), want)
			}
			same(t, all)
			exact := 0
			for i := 1; i < len(all); i++ {
				wait := all[i].At.Sub(all[i-1].At)
				// The server's schedules have ticks of their own.
				if wait < steps[i]*8/10 || wait > steps[i]*12/10+2*time.Second {
					t.Errorf("attempt %d came after %v, the step is %v", i+1, wait, steps[i])
				}
				if wait == steps[i] {
					exact++
				}
				meshtest.Verify(t, all[i], m.CallbackSecret())
			}
			if exact > 2 {
				t.Errorf("%d waits without jitter", exact)
			}
		}
		if ds := m.Deliveries(id); len(ds) != 1 || ds[0].Status != "delivered" || len(ds[0].Attempts) != 9 {
			t.Errorf("deliveries = %+v", ds)
		}
		ds := m.Deliveries(lost)
		if len(ds) != 1 || ds[0].Status != "dead" || len(ds[0].Attempts) != 10 || !ds[0].NextAt.IsZero() {
			t.Fatalf("deliveries = %+v", ds)
		}
		if got := m.DeliveriesBy("status=dead"); len(got) != 1 || got[0].DeliveryID != ds[0].DeliveryID {
			t.Errorf("dead = %+v", got)
		}
		// A dead delivery comes again when asked for, with the whole schedule.
		dead.Answer(nil)
		if w := m.Do("POST", "/deliveries/"+ds[0].DeliveryID+"/redeliver", ""); w.Code != http.StatusAccepted {
			t.Fatalf("redeliver = %d %s", w.Code, w.Body)
		}
		time.Sleep(time.Minute)
		same(t, dead.All())
		if ds := m.Deliveries(lost); ds[0].Status != "delivered" || len(ds[0].Attempts) != 11 {
			t.Errorf("deliveries = %+v", ds)
		}
	})
}

// TestRetryAfterIsHonoured asks for another time by Retry-After.
func TestRetryAfterIsHonoured(t *testing.T) {
	natstest.LongUnderRace(t)
	for name, tt := range map[string]struct {
		header   func() string
		low, top time.Duration
	}{
		"seconds":       {func() string { return "600" }, 600 * time.Second, 602 * time.Second},
		"date":          {func() string { return time.Now().Add(time.Hour).UTC().Format(http.TimeFormat) }, 59 * time.Minute, 61 * time.Minute},
		"garbage":       {func() string { return "soon" }, 4 * time.Second, 8 * time.Second},
		"ten years":     {func() string { return "315360000" }, 24 * time.Hour, 24*time.Hour + 2*time.Second},
		"no number":     {func() string { return strings.Repeat("9", 40) }, 24 * time.Hour, 24*time.Hour + 2*time.Second},
		"negative":      {func() string { return "-5" }, 4 * time.Second, 8 * time.Second},
		"less than due": {func() string { return "1" }, 4 * time.Second, 8 * time.Second},
		"past":          {func() string { return time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat) }, 4 * time.Second, 8 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := meshtest.Started(t)
				var n atomic.Int32
				r := m.Receive(func(w http.ResponseWriter, _ *http.Request) {
					if n.Add(1) == 1 {
						w.Header().Set("Retry-After", tt.header())
						w.WriteHeader(429)
					}
				})
				m.Action(`{"agent":"echo","instruction":"x","callback_url":"` + r.URL + `"}`)
				time.Sleep(time.Second)
				m.StopWorker()
				time.Sleep(tt.top + time.Second)
				all := r.All()
				if len(all) != 2 {
					t.Fatalf("%d requests, want 2", len(all))
				}
				if wait := all[1].At.Sub(all[0].At); wait < tt.low || wait > tt.top {
					t.Errorf("the second attempt came after %v, want %v to %v", wait, tt.low, tt.top)
				}
			})
		})
	}
}

// TestAReceiverMayAskForAnEnd has a receiver ask for an end: by 410, and by a header.
// Later events are parked, and come when somebody asks for them.
func TestAReceiverMayAskForAnEnd(t *testing.T) {
	for name, say := range map[string]http.HandlerFunc{
		"410": meshtest.Answer(410),
		"header": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Webhook-Delivery", "disable")
			w.WriteHeader(400)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := meshtest.Started(t)
				r := m.Receive(say)
				hook := m.Subscribe(`{"url":"` + r.URL + `"}`)
				m.Create(`{"agent":"echo","instruction":"1"}`)
				time.Sleep(time.Minute)
				v := meshtest.Decode[api.Webhook](t, m.Do("GET", "/webhooks/"+hook.WebhookID, "").Body)
				if v.Enabled || v.DisabledReason == "" {
					t.Fatalf("webhook = %+v", v)
				}
				m.Create(`{"agent":"echo","instruction":"2"}`)
				time.Sleep(time.Hour)
				if n := len(r.All()); n != 1 {
					t.Errorf("%d requests, want 1", n)
				}
				if dead, parked := m.DeliveriesBy("status=dead"), m.DeliveriesBy("status=parked"); len(dead) != 1 || len(parked) != 1 {
					t.Fatalf("dead %+v, parked %+v", dead, parked)
				}
				if w := m.Do("POST", "/webhooks/"+hook.WebhookID+"/redeliver", `{}`); w.Code != 409 || meshtest.Problem(t, w).Code != "webhook_disabled" {
					t.Errorf("redeliver to a disabled webhook = %d %s", w.Code, w.Body)
				}
				r.Answer(nil)
				m.PatchWebhook(hook.WebhookID, `{"enabled":true}`)
				w := m.Do("POST", "/webhooks/"+hook.WebhookID+"/redeliver", `{"since":"`+time.Now().Add(-24*time.Hour).Format(time.RFC3339)+`"}`)
				if got := meshtest.Decode[api.Redelivered](t, w.Body); w.Code != 202 || got.Redelivered != 2 {
					t.Errorf("redeliver = %d %+v", w.Code, got)
				}
				time.Sleep(time.Minute)
				if ds := m.DeliveriesBy("status=delivered"); len(ds) != 2 || len(r.All()) != 3 {
					t.Errorf("%d requests, delivered %+v", len(r.All()), ds)
				}
			})
		})
	}
}

// TestAnAbortGivesUpOneEventAndGoesOnWithTheNext gives up one event and goes on with the next.
func TestAnAbortGivesUpOneEventAndGoesOnWithTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		r := m.Receive(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Webhook-Delivery", "abort-message")
			w.WriteHeader(500)
		})
		hook := m.Subscribe(`{"url":"` + r.URL + `"}`)
		m.Create(`{"agent":"echo","instruction":"1"}`)
		time.Sleep(time.Hour)
		if ds := m.DeliveriesBy("status=dead"); len(ds) != 1 || ds[0].Attempts[0].Class != string(webhook.ClassAborted) || len(r.All()) != 1 {
			t.Errorf("%d requests, dead %+v", len(r.All()), ds)
		}
		if v := meshtest.Decode[api.Webhook](t, m.Do("GET", "/webhooks/"+hook.WebhookID, "").Body); !v.Enabled {
			t.Errorf("webhook = %+v", v)
		}
	})
}

// TestNothingIsAttemptedWhileTheBreakerIsOpen follows a breaker through its states: while it is open nothing is
// attempted and no retry used up, and enabling the webhook again does not close
// it.
func TestNothingIsAttemptedWhileTheBreakerIsOpen(t *testing.T) {
	natstest.Long(t)
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		r := m.Receive(meshtest.Answer(503))
		hook := m.Subscribe(`{"url":"` + r.URL + `","events":["task.completed"]}`)
		for n := range 30 {
			m.Create(fmt.Sprintf(`{"agent":"echo","input":%d}`, n))
		}
		time.Sleep(20 * time.Second)
		opened := len(r.All())
		if opened < 10 || opened > 40 {
			t.Fatalf("%d attempts before the breaker opened", opened)
		}
		m.PatchWebhook(hook.WebhookID, `{"enabled":false}`)
		m.PatchWebhook(hook.WebhookID, `{"enabled":true}`)
		m.Create(`{"agent":"echo","input":"late"}`)
		time.Sleep(5 * time.Second)
		if n := len(r.All()); n != opened {
			t.Errorf("%d attempts while the breaker was open", n-opened)
		}
		time.Sleep(70 * time.Second)                                 // half-open, and open for longer
		for late := 0; len(r.All()) == opened && late < 10; late++ { // a probe is a delivery that is due, and waits vary
			time.Sleep(30 * time.Second)
		}
		if n := len(r.All()); n <= opened || n > opened+3 {
			t.Errorf("%d probes, want 1 to 3", n-opened)
		}
		r.Answer(nil)
		time.Sleep(3 * time.Hour)
		// Events that were parked in the meantime come too: nothing was lost.
		m.Do("POST", "/webhooks/"+hook.WebhookID+"/redeliver", `{}`)
		time.Sleep(time.Hour)
		if ds := m.DeliveriesBy("status=delivered"); len(ds) != 31 {
			t.Errorf("%d delivered, want 31; others %+v", len(ds), m.DeliveriesBy("status=retrying"))
		}
		for _, d := range m.DeliveriesBy("status=delivered") {
			if len(d.Attempts) > 5 {
				t.Errorf("%d attempts of one delivery", len(d.Attempts))
			}
		}
	})
}

// TestADeliveryThatFailsHoldsNothingBehindIt: there is no endpoint that keeps an order, so a head that fails holds
// nothing behind it.
func TestADeliveryThatFailsHoldsNothingBehindIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		var first atomic.Value
		r := m.Receive(func(w http.ResponseWriter, req *http.Request) {
			first.CompareAndSwap(nil, req.Header.Get("Webhook-Id"))
			if first.Load() == req.Header.Get("Webhook-Id") {
				w.WriteHeader(500)
			}
		})
		m.Subscribe(`{"url":"` + r.URL + `"}`)
		for i := range 5 {
			m.Create(fmt.Sprintf(`{"agent":"echo","input":%d}`, i))
			time.Sleep(time.Second)
		}
		if ds := m.DeliveriesBy("status=delivered"); len(ds) != 4 {
			t.Errorf("%d delivered behind the failing head, want 4", len(ds))
		}
	})
}

// TestTimestampsDoNotGoBackWithTheClock sets the clock back between attempts, as the record of the last one
// tells it: the timestamps do not go back.
func TestTimestampsDoNotGoBackWithTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		r := m.Receive(nil)
		now := task.Stamp(time.Now())
		d := &webhook.Delivery{
			ID: webhook.NewDeliveryID("e", webhook.Callback), Tenant: "default", Source: "act_01a20000000000000000000000000001", EventID: "e",
			Type: event.Type("action.completed"), URL: r.URL, Body: []byte(`{}`), Status: webhook.Retrying, CreatedAt: now, Failures: 1,
			Signed: now.Add(time.Hour).Unix(), // by a clock that was an hour ahead
		}
		if err := m.Store.Deliveries.Save(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if err := m.Store.Deliveries.Now(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		m.Notify()
		time.Sleep(time.Second)
		all := r.All()
		if len(all) != 1 || all[0].Header.Get("Webhook-Timestamp") != fmt.Sprint(d.Signed) {
			t.Fatalf("requests = %+v, want the timestamp %d", all, d.Signed)
		}
		if _, err := (signature.Verifier{Keys: []signature.VerifyingKey{m.CallbackSecret()}}).Verify(all[0].Header, all[0].Body, now.Add(time.Hour)); err != nil {
			t.Error(err)
		}
	})
}

// A receiver's status means what the table of notifier/README.md says.
func TestAReceiversStatusMeansWhatTheManualSays(t *testing.T) {
	natstest.LongUnderRace(t)
	for code, want := range map[int]struct {
		class  webhook.Class
		status webhook.Status
	}{
		200: {webhook.ClassDelivered, webhook.Delivered}, 202: {webhook.ClassDelivered, webhook.Delivered}, 204: {webhook.ClassDelivered, webhook.Delivered},
		301: {webhook.ClassRedirect, webhook.Retrying}, 302: {webhook.ClassRedirect, webhook.Retrying}, 303: {webhook.ClassRedirect, webhook.Retrying}, 304: {webhook.ClassRedirect, webhook.Retrying},
		307: {webhook.ClassRedirect, webhook.Retrying}, 308: {webhook.ClassRedirect, webhook.Retrying},
		400: {webhook.ClassConfig, webhook.Retrying}, 401: {webhook.ClassConfig, webhook.Retrying}, 403: {webhook.ClassConfig, webhook.Retrying}, 404: {webhook.ClassConfig, webhook.Retrying},
		405: {webhook.ClassConfig, webhook.Retrying}, 413: {webhook.ClassConfig, webhook.Retrying}, 415: {webhook.ClassConfig, webhook.Retrying}, 422: {webhook.ClassConfig, webhook.Retrying},
		408: {webhook.ClassThrottled, webhook.Retrying}, 425: {webhook.ClassThrottled, webhook.Retrying}, 429: {webhook.ClassThrottled, webhook.Retrying},
		410: {webhook.ClassGone, webhook.Dead},
		500: {webhook.ClassServer, webhook.Retrying}, 502: {webhook.ClassServer, webhook.Retrying}, 504: {webhook.ClassServer, webhook.Retrying},
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := meshtest.Started(t)
				elsewhere := m.Receive(nil)
				r := m.Receive(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Location", elsewhere.URL)
					w.WriteHeader(code)
				})
				id := m.Action(`{"agent":"echo","instruction":"x","callback_url":"` + r.URL + `"}`)
				time.Sleep(time.Second)
				ds := m.Deliveries(id)
				if len(ds) != 1 || ds[0].Status != string(want.status) || ds[0].Attempts[0].Class != string(want.class) || ds[0].Attempts[0].StatusCode != code {
					t.Fatalf("deliveries = %+v, want %+v", ds, want)
				}
				if len(elsewhere.All()) != 0 {
					t.Error("the redirect was followed")
				}
				if where := ds[0].Attempts[0].Location; (want.class == webhook.ClassRedirect) != (where == elsewhere.URL) {
					t.Errorf("location %q", where)
				}
			})
		})
	}
}

// A webhook that is disabled between two attempts gets no second one: the
// delivery is parked, and comes when it is asked for.
func TestADisabledWebhookParksTheNextAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		r := m.Receive(meshtest.Answer(500))
		hook := m.Subscribe(`{"url":"` + r.URL + `"}`)
		m.Create(`{"agent":"echo","instruction":"x"}`)
		time.Sleep(time.Second)
		m.PatchWebhook(hook.WebhookID, `{"enabled":false}`)
		time.Sleep(time.Hour)
		parked := m.DeliveriesBy("status=parked")
		if len(parked) != 1 || len(r.All()) != 1 {
			t.Fatalf("%d requests, parked %+v", len(r.All()), parked)
		}
		if w := m.Do("POST", "/deliveries/"+parked[0].DeliveryID+"/redeliver", ""); w.Code != 409 || meshtest.Problem(t, w).Code != "webhook_disabled" {
			t.Errorf("redeliver = %d %s", w.Code, w.Body)
		}
		r.Answer(nil)
		m.PatchWebhook(hook.WebhookID, `{"enabled":true}`)
		if w := m.Do("POST", "/deliveries/"+parked[0].DeliveryID+"/redeliver", ""); w.Code != 202 {
			t.Errorf("redeliver = %d %s", w.Code, w.Body)
		}
		time.Sleep(time.Second)
		if ds := m.DeliveriesBy("status=delivered"); len(ds) != 1 || len(r.All()) != 2 {
			t.Errorf("%d requests, delivered %+v", len(r.All()), ds)
		}
	})
}
