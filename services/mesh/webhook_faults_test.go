package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway"
	"agentmesh/shared/egress"
	"agentmesh/shared/event"
	"agentmesh/shared/signature"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/echo"
)

// subscribe makes a webhook.
func (m *mesh) subscribe(body string) gateway.Webhook {
	m.t.Helper()
	w := m.do("POST", "/webhooks", body)
	if w.Code != http.StatusCreated {
		m.t.Fatalf("POST /webhooks = %d %s", w.Code, w.Body)
	}
	return decode[gateway.Webhook](m.t, w.Body)
}

func (m *mesh) patch(id, body string) gateway.Webhook {
	m.t.Helper()
	w := m.do("PATCH", "/webhooks/"+id, body, "Content-Type", "application/json")
	if w.Code != http.StatusOK {
		m.t.Fatalf("PATCH /webhooks = %d %s", w.Code, w.Body)
	}
	return decode[gateway.Webhook](m.t, w.Body)
}

// list reads deliveries by a query.
func (m *mesh) list(query string) []gateway.Delivery {
	m.t.Helper()
	var all []gateway.Delivery
	for cursor := ""; ; {
		w := m.do("GET", "/deliveries?limit=200&"+query+"&cursor="+cursor, "")
		if w.Code != http.StatusOK {
			m.t.Fatalf("GET /deliveries?%s = %d %s", query, w.Code, w.Body)
		}
		page := decode[gateway.DeliveryList](m.t, w.Body)
		all = append(all, page.Deliveries...)
		if cursor = page.NextCursor; cursor == "" {
			return all
		}
	}
}

func secretOf(t *testing.T, text string) signature.Secret {
	t.Helper()
	s, err := signature.ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// started is a mesh with a worker and a notifier.
func started(t *testing.T) *mesh {
	m := newMesh(t)
	m.stopWorker = m.work(echo.Agent())
	m.notify()
	return m
}

// same checks that requests are repeats of one delivery: the same id and bytes,
// and timestamps that never decrease.
func same(t *testing.T, all []received) {
	t.Helper()
	for i, r := range all {
		if r.id() != all[0].id() || !bytes.Equal(r.body, all[0].body) {
			t.Errorf("request %d is another delivery: %s %s", i, r.id(), r.body)
		}
		if i > 0 && r.header.Get("Webhook-Timestamp") < all[i-1].header.Get("Webhook-Timestamp") {
			t.Errorf("request %d is signed for an earlier time", i)
		}
	}
}

// TestH1_KillAfterTheAnswer has a notifier die after the receiver has answered 200 and before that
// is on record: the delivery comes again, and is recognisable.
func TestH1_KillAfterTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(echo.Agent())
		frozen := &gate{srv: m.srv.Server}
		st := m.storeThrough(frozen)
		stop := m.notifyWith(st)
		var once sync.Once
		r := m.receive(func(http.ResponseWriter, *http.Request) { once.Do(frozen.freeze) })
		m.action(`{"agent":"echo","instruction":"x","callback_url":"` + r.url + `"}`)
		time.Sleep(time.Second)
		m.notify()
		time.Sleep(time.Minute)
		if all := r.all(); len(all) != 2 {
			t.Errorf("%d requests, want 2", len(all))
		} else {
			same(t, all)
		}
		if ds := m.list("status=delivered"); len(ds) != 1 {
			t.Errorf("deliveries = %+v", ds)
		}
		frozen.thaw()
		stop()
		time.Sleep(time.Minute)
		if ds := m.list(""); len(ds) != 1 || ds[0].Status != "delivered" {
			t.Errorf("deliveries after the thaw = %+v", ds)
		}
	})
}

// TestH2_KillBeforeTheSchedule finds a delivery as a notifier leaves it that dies between the record of
// a failure and its schedule.
func TestH2_KillBeforeTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		r := m.receive(nil)
		now := task.Stamp(time.Now())
		d := &webhook.Delivery{
			ID: webhook.DeliveryID("e", webhook.Callback), Tenant: "default", Source: "act_01a20000000000000000000000000001", EventID: "e",
			Type: "action.completed", URL: r.url, Body: []byte(`{}`), Status: webhook.Pending, CreatedAt: now,
		}
		if err := m.st.EnqueueDelivery(t.Context(), d, nil); err != nil {
			t.Fatal(err)
		}
		d.Status, d.Failures, d.NextAt = webhook.Retrying, 1, now.Add(5*time.Second)
		if err := m.st.SaveDelivery(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		// The message goes to a notifier that dies with it.
		c, err := m.st.NewUpkeep(quiet()).Open(t.Context(), store.DeliverDurable(10*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Next(); err != nil {
			t.Fatal(err)
		}
		m.notify()
		time.Sleep(time.Minute)
		if all := r.all(); len(all) != 1 {
			t.Errorf("%d requests, want 1", len(all))
		}
	})
}

// TestH3_FailsThenAnswers has a receiver fail until the ninth attempt: the schedule, its jitter,
// and the same bytes each time.
func TestH3_FailsThenAnswers(t *testing.T) {
	steps := []time.Duration{0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour}
	synctest.Test(t, func(t *testing.T) {
		m := started(t)
		var n atomic.Int32
		r := m.receive(func(w http.ResponseWriter, _ *http.Request) {
			if n.Add(1) < 9 {
				w.WriteHeader(500)
			}
		})
		dead := m.receive(status(503))
		id := m.action(`{"agent":"echo","instruction":"x","callback_url":"` + r.url + `"}`)
		lost := m.action(`{"agent":"echo","instruction":"x","callback_url":"` + dead.url + `"}`)
		time.Sleep(time.Second)
		m.stopWorker()
		time.Sleep(100 * time.Hour)
		for name, want := range map[*receiver]int{r: 9, dead: 10} {
			all := name.all()
			if len(all) != want {
				t.Fatalf("%d requests, want %d", len(all), want)
			}
			same(t, all)
			exact := 0
			for i := 1; i < len(all); i++ {
				wait := all[i].at.Sub(all[i-1].at)
				// The server's schedules have ticks of their own.
				if wait < steps[i]*8/10 || wait > steps[i]*12/10+2*time.Second {
					t.Errorf("attempt %d came after %v, the step is %v", i+1, wait, steps[i])
				}
				if wait == steps[i] {
					exact++
				}
				verify(t, all[i], m.callbackSecret())
			}
			if exact > 2 {
				t.Errorf("%d waits without jitter", exact)
			}
		}
		if ds := m.deliveries(id); len(ds) != 1 || ds[0].Status != "delivered" || len(ds[0].Attempts) != 9 {
			t.Errorf("deliveries = %+v", ds)
		}
		ds := m.deliveries(lost)
		if len(ds) != 1 || ds[0].Status != "dead" || len(ds[0].Attempts) != 10 || ds[0].NextAt != nil {
			t.Fatalf("deliveries = %+v", ds)
		}
		if got := m.list("status=dead"); len(got) != 1 || got[0].DeliveryID != ds[0].DeliveryID {
			t.Errorf("dead = %+v", got)
		}
		// A dead delivery comes again when asked for, with the whole schedule.
		dead.answer(nil)
		if w := m.do("POST", "/deliveries/"+ds[0].DeliveryID+"/redeliver", ""); w.Code != http.StatusAccepted {
			t.Fatalf("redeliver = %d %s", w.Code, w.Body)
		}
		time.Sleep(time.Minute)
		same(t, dead.all())
		if ds := m.deliveries(lost); ds[0].Status != "delivered" || len(ds[0].Attempts) != 11 {
			t.Errorf("deliveries = %+v", ds)
		}
	})
}

// TestH4_RetryAfter asks for another time by Retry-After.
func TestH4_RetryAfter(t *testing.T) {
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
				m := started(t)
				var n atomic.Int32
				r := m.receive(func(w http.ResponseWriter, _ *http.Request) {
					if n.Add(1) == 1 {
						w.Header().Set("Retry-After", tt.header())
						w.WriteHeader(429)
					}
				})
				m.action(`{"agent":"echo","instruction":"x","callback_url":"` + r.url + `"}`)
				time.Sleep(time.Second)
				m.stopWorker()
				time.Sleep(tt.top + time.Second)
				all := r.all()
				if len(all) != 2 {
					t.Fatalf("%d requests, want 2", len(all))
				}
				if wait := all[1].at.Sub(all[0].at); wait < tt.low || wait > tt.top {
					t.Errorf("the second attempt came after %v, want %v to %v", wait, tt.low, tt.top)
				}
			})
		})
	}
}

// TestH5_GoneAndDisable has a receiver ask for an end: by 410, and by a header.
// Later events are parked, and come when somebody asks for them.
func TestH5_GoneAndDisable(t *testing.T) {
	for name, say := range map[string]http.HandlerFunc{
		"410": status(410),
		"header": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Webhook-Delivery", "disable")
			w.WriteHeader(400)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := started(t)
				r := m.receive(say)
				hook := m.subscribe(`{"url":"` + r.url + `"}`)
				m.create(`{"agent":"echo","instruction":"1"}`)
				time.Sleep(time.Minute)
				v := decode[gateway.Webhook](t, m.do("GET", "/webhooks/"+hook.WebhookID, "").Body)
				if v.Enabled || v.DisabledReason == "" {
					t.Fatalf("webhook = %+v", v)
				}
				m.create(`{"agent":"echo","instruction":"2"}`)
				time.Sleep(time.Hour)
				if n := len(r.all()); n != 1 {
					t.Errorf("%d requests, want 1", n)
				}
				if dead, parked := m.list("status=dead"), m.list("status=parked"); len(dead) != 1 || len(parked) != 1 {
					t.Fatalf("dead %+v, parked %+v", dead, parked)
				}
				if w := m.do("POST", "/webhooks/"+hook.WebhookID+"/redeliver", `{}`); w.Code != 409 || problem(t, w).Code != "webhook_disabled" {
					t.Errorf("redeliver to a disabled webhook = %d %s", w.Code, w.Body)
				}
				r.answer(nil)
				m.patch(hook.WebhookID, `{"enabled":true}`)
				w := m.do("POST", "/webhooks/"+hook.WebhookID+"/redeliver", `{"since":"`+time.Now().Add(-24*time.Hour).Format(time.RFC3339)+`"}`)
				if got := decode[gateway.Redelivered](t, w.Body); w.Code != 202 || got.Redelivered != 2 {
					t.Errorf("redeliver = %d %+v", w.Code, got)
				}
				time.Sleep(time.Minute)
				if ds := m.list("status=delivered"); len(ds) != 2 || len(r.all()) != 3 {
					t.Errorf("%d requests, delivered %+v", len(r.all()), ds)
				}
			})
		})
	}
}

// TestAbortMessage gives up one event and goes on with the next.
func TestAbortMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := started(t)
		r := m.receive(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Webhook-Delivery", "abort-message")
			w.WriteHeader(500)
		})
		hook := m.subscribe(`{"url":"` + r.url + `"}`)
		m.create(`{"agent":"echo","instruction":"1"}`)
		time.Sleep(time.Hour)
		if ds := m.list("status=dead"); len(ds) != 1 || ds[0].Attempts[0].Class != webhook.ClassAborted || len(r.all()) != 1 {
			t.Errorf("%d requests, dead %+v", len(r.all()), ds)
		}
		if v := decode[gateway.Webhook](t, m.do("GET", "/webhooks/"+hook.WebhookID, "").Body); !v.Enabled {
			t.Errorf("webhook = %+v", v)
		}
	})
}

// TestH6_Hangs has a receiver hang before and within its answer.
func TestH6_Hangs(t *testing.T) {
	hang := func(r *http.Request) { <-r.Context().Done() }
	for name, tt := range map[string]struct {
		f    http.HandlerFunc
		want webhook.Status
		code int
	}{
		"headers": {func(_ http.ResponseWriter, r *http.Request) { hang(r) }, webhook.Retrying, 0},
		"body": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			_ = http.NewResponseController(w).Flush()
			hang(r)
		}, webhook.Retrying, 500},
		"huge length": {func(w http.ResponseWriter, r *http.Request) { // case 92
			w.Header().Set("Content-Length", "1000000000000")
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
			hang(r)
		}, webhook.Delivered, 200},
		"dripping body": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, "x")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(time.Second)
			}
		}, webhook.Delivered, 200},
		"endless body": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 32<<10)); err != nil {
					return
				}
			}
		}, webhook.Delivered, 200},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := started(t)
				r := m.receive(tt.f)
				id := m.action(`{"agent":"echo","instruction":"x","callback_url":"` + r.url + `"}`)
				time.Sleep(17 * time.Second)
				ds := m.deliveries(id)
				if len(ds) != 1 || ds[0].Status != tt.want || len(ds[0].Attempts) != 1 {
					t.Fatalf("deliveries = %+v", ds)
				}
				if a := ds[0].Attempts[0]; a.StatusCode != tt.code || a.DurationMS > 15_100 || len(a.Answer) > 4<<10 {
					t.Errorf("attempt = %+v", a)
				}
			})
		})
	}
	t.Run("connect", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := started(t)
			l := m.hosts.listen() // nobody accepts
			id := m.action(`{"agent":"echo","instruction":"x","callback_url":"http://` + l.addr.String() + `/"}`)
			time.Sleep(17 * time.Second)
			if ds := m.deliveries(id); len(ds) != 1 || len(ds[0].Attempts) != 1 || ds[0].Attempts[0].Class != webhook.ClassTimeout {
				t.Errorf("deliveries = %+v", ds)
			}
		})
	})
	t.Run("tls", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := started(t)
			l := m.hosts.listen()
			go func() {
				c, err := l.Accept()
				if err == nil {
					_, _ = io.Copy(io.Discard, c) // reads the hello and says nothing
				}
			}()
			id := m.action(`{"agent":"echo","instruction":"x","callback_url":"https://` + l.addr.String() + `/"}`)
			time.Sleep(7 * time.Second)
			if ds := m.deliveries(id); len(ds) != 1 || len(ds[0].Attempts) != 1 || ds[0].Attempts[0].Class != webhook.ClassTimeout {
				t.Errorf("deliveries = %+v", ds)
			}
			_ = l.Close()
			time.Sleep(time.Minute)
		})
	})
}

// TestH7_ResetAfterTheStatusLine breaks the connection after the status line: that decides.
func TestH7_ResetAfterTheStatusLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := started(t)
		r := m.receive(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(200)
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		id := m.action(`{"agent":"echo","instruction":"x","callback_url":"` + r.url + `"}`)
		time.Sleep(time.Hour)
		if ds := m.deliveries(id); len(r.all()) != 1 || len(ds) != 1 || ds[0].Status != "delivered" || ds[0].Attempts[0].Answer != "half" {
			t.Errorf("%d requests, deliveries = %+v", len(r.all()), ds)
		}
	})
}

// TestH8_DeadEndpoints has ten endpoints hang while one is well: it must not feel them. Time
// is fake, so what is measured is who waits for whom.
func TestH8_DeadEndpoints(t *testing.T) {
	const dead = 10
	events := 500
	if *chaos {
		events = 10_000
	}
	quantile := func(t *testing.T, load int) time.Duration {
		var p99 time.Duration
		synctest.Test(t, func(t *testing.T) {
			m := newMesh(t)
			well := m.receive(func(http.ResponseWriter, *http.Request) {
				time.Sleep(10 * time.Millisecond)
			})
			var urls []string
			for range dead {
				urls = append(urls, m.receive(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }).url)
			}
			each := func(url string) time.Time {
				if err := m.st.Save(t.Context(), completed(url)); err != nil {
					t.Fatal(err)
				}
				return time.Now()
			}
			m.notify()
			const healthy = 500
			more := load / healthy / 2 // come while the healthy one is at work, to each
			for range load - more*healthy {
				for _, url := range urls {
					each(url)
				}
			}
			time.Sleep(time.Second) // all are fanned out, and hang or wait
			var late []time.Duration
			for n := range healthy {
				for range more {
					for _, url := range urls {
						each(url)
					}
				}
				sent := each(well.url)
				time.Sleep(50 * time.Millisecond)
				all := well.all()
				if len(all) <= n {
					late = append(late, time.Second) // not even begun
					continue
				}
				late = append(late, all[n].at.Sub(sent)+10*time.Millisecond)
			}
			time.Sleep(time.Minute)
			if n := len(well.all()); n != healthy {
				t.Errorf("%d deliveries at the healthy endpoint, want %d", n, healthy)
			}
			slices.Sort(late)
			p99 = late[len(late)*99/100]
		})
		return p99
	}
	quiet, loaded := quantile(t, 0), quantile(t, events)
	if loaded >= 2*quiet {
		t.Errorf("p99 %v beside dead endpoints, %v without", loaded, quiet)
	}
	t.Logf("p99 %v beside %d dead endpoints with %d events each, %v without", loaded, dead, events, quiet)
}

// TestH9_Breaker follows a breaker through its states: while it is open nothing is
// attempted and no retry used up, and enabling the webhook again does not close
// it.
func TestH9_Breaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := started(t)
		r := m.receive(status(503))
		hook := m.subscribe(`{"url":"` + r.url + `","events":["task.completed"]}`)
		for n := range 30 {
			m.create(fmt.Sprintf(`{"agent":"echo","input":%d}`, n))
		}
		time.Sleep(20 * time.Second)
		opened := len(r.all())
		if opened < 10 || opened > 40 {
			t.Fatalf("%d attempts before the breaker opened", opened)
		}
		m.patch(hook.WebhookID, `{"enabled":false}`)
		m.patch(hook.WebhookID, `{"enabled":true}`)
		m.create(`{"agent":"echo","input":"late"}`)
		time.Sleep(5 * time.Second)
		if n := len(r.all()); n != opened {
			t.Errorf("%d attempts while the breaker was open", n-opened)
		}
		time.Sleep(70 * time.Second) // half-open, and open for longer
		if n := len(r.all()); n <= opened || n > opened+3 {
			t.Errorf("%d probes, want 1 to 3", n-opened)
		}
		r.answer(nil)
		time.Sleep(3 * time.Hour)
		// Events that were parked in the meantime come too: nothing was lost.
		m.do("POST", "/webhooks/"+hook.WebhookID+"/redeliver", `{}`)
		time.Sleep(time.Hour)
		if ds := m.list("status=delivered"); len(ds) != 31 {
			t.Errorf("%d delivered, want 31; others %+v", len(ds), m.list("status=retrying"))
		}
		for _, d := range m.list("status=delivered") {
			if len(d.Attempts) > 5 {
				t.Errorf("%d attempts of one delivery", len(d.Attempts))
			}
		}
	})
}

// TestH10_SecretRotatedInMidRetry rotates a secret between two attempts: both sign, and after the old
// one's end only the new one.
func TestH10_SecretRotatedInMidRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := started(t)
		r := m.receive(status(500))
		hook := m.subscribe(`{"url":"` + r.url + `"}`)
		old := secretOf(t, hook.Secret)
		m.create(`{"agent":"echo","instruction":"x"}`)
		time.Sleep(time.Minute)
		w := m.do("POST", "/webhooks/"+hook.WebhookID+"/rotate-secret", `{"overlap":"1h"}`)
		rotated := decode[gateway.Webhook](t, w.Body)
		fresh := secretOf(t, rotated.Secret)
		if w.Code != 200 || len(rotated.Keys) != 2 || rotated.Keys[1].ExpiresAt.IsZero() {
			t.Fatalf("rotate = %d %+v", w.Code, rotated)
		}
		time.Sleep(5 * time.Hour)
		all := r.all()
		if len(all) < 5 {
			t.Fatalf("%d requests, want at least 5", len(all))
		}
		same(t, all)
		for i, r := range all {
			signatures := len(strings.Fields(r.header.Get("Webhook-Signature")))
			switch {
			case i < 2:
				verify(t, r, old)
			case i < 4: // 5m and 30m after: both
				verify(t, r, old)
				verify(t, r, fresh)
				if signatures != 2 {
					t.Errorf("attempt %d has %d signatures", i+1, signatures)
				}
			default:
				verify(t, r, fresh)
				if signatures != 1 {
					t.Errorf("attempt %d has %d signatures", i+1, signatures)
				}
			}
		}
		if v := decode[gateway.Webhook](t, m.do("GET", "/webhooks/"+hook.WebhookID, "").Body); v.Secret != "" || len(v.Keys) != 1 {
			t.Errorf("webhook = %+v", v)
		}
	})
}

// TestH11_RotationToEd25519 rotates from a shared secret to ed25519: a receiver of either kind
// verifies in between.
func TestH11_RotationToEd25519(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := started(t)
		r := m.receive(nil)
		hook := m.subscribe(`{"url":"` + r.url + `"}`)
		rotated := decode[gateway.Webhook](t, m.do("POST", "/webhooks/"+hook.WebhookID+"/rotate-secret", `{"scheme":"v1a","overlap":"1h"}`).Body)
		if rotated.Secret != "" || rotated.Keys[0].Public == "" {
			t.Fatalf("rotate = %+v", rotated)
		}
		public, err := signature.ParsePublicKey(rotated.Keys[0].Public)
		if err != nil {
			t.Fatal(err)
		}
		m.create(`{"agent":"echo","instruction":"x"}`)
		time.Sleep(2 * time.Hour)
		m.create(`{"agent":"echo","instruction":"y"}`)
		time.Sleep(time.Second)
		all := r.all()
		if len(all) != 2 {
			t.Fatalf("%d requests, want 2", len(all))
		}
		verify(t, all[0], secretOf(t, hook.Secret))
		verify(t, all[0], public)
		verify(t, all[1], public)
		if _, err := (signature.Verifier{Keys: []signature.VerifyingKey{secretOf(t, hook.Secret)}}).Verify(all[1].header, all[1].body, all[1].at); err == nil {
			t.Error("the old secret still verifies after its end")
		}
	})
}

// TestH12_EditedInMidRetry edits the URL between two attempts.
func TestH12_EditedInMidRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := started(t)
		before, after := m.receive(status(500)), m.receive(nil)
		hook := m.subscribe(`{"url":"` + before.url + `"}`)
		m.create(`{"agent":"echo","instruction":"x"}`)
		time.Sleep(time.Minute)
		m.patch(hook.WebhookID, `{"url":"`+after.url+`"}`)
		time.Sleep(time.Hour)
		if len(before.all()) != 2 || len(after.all()) != 1 {
			t.Fatalf("%d and %d requests, want 2 and 1", len(before.all()), len(after.all()))
		}
		same(t, append(before.all(), after.all()...))
	})
}

// TestH13_DeletedInMidRetry deletes the webhook between two attempts.
func TestH13_DeletedInMidRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := started(t)
		r := m.receive(status(500))
		hook := m.subscribe(`{"url":"` + r.url + `"}`)
		m.create(`{"agent":"echo","instruction":"x"}`)
		time.Sleep(time.Minute)
		if w := m.do("DELETE", "/webhooks/"+hook.WebhookID, ""); w.Code != http.StatusNoContent {
			t.Fatalf("DELETE = %d %s", w.Code, w.Body)
		}
		time.Sleep(time.Hour)
		if ds := m.list("status=canceled"); len(ds) != 1 || len(r.all()) != 2 {
			t.Errorf("%d requests, canceled %+v", len(r.all()), ds)
		}
		if w := m.do("GET", "/webhooks/"+hook.WebhookID, ""); w.Code != 404 {
			t.Errorf("GET = %d", w.Code)
		}
	})
}

// TestH14_TwoNotifiers has two notifiers share the work: each delivery goes out once while
// nobody dies.
func TestH14_TwoNotifiers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := started(t)
		st, _ := m.openStore()
		m.notifyWith(st)
		r := m.receive(func(_ http.ResponseWriter, _ *http.Request) { time.Sleep(14 * time.Second) })
		hook := m.subscribe(`{"url":"` + r.url + `"}`)
		const n = 40
		for i := range n {
			m.create(fmt.Sprintf(`{"agent":"echo","input":%d}`, i))
		}
		time.Sleep(time.Hour)
		ids := map[string]int{}
		for _, r := range r.all() {
			ids[r.id()]++
		}
		if len(ids) != n || len(r.all()) != n {
			t.Errorf("%d requests for %d deliveries, want %d of each", len(r.all()), len(ids), n)
		}
		if ds := m.list("status=delivered&webhook_id=" + hook.WebhookID); len(ds) != n {
			t.Errorf("%d on record", len(ds))
		}
	})
}

// TestH15_NamesAndCertificates has the name of a receiver vanish, and then lead
// inside: the first is retried, the second never dialed. A certificate that
// expires during the schedule is retried too, and a person is told.
func TestH15_NamesAndCertificates(t *testing.T) {
	t.Run("certificate", func(t *testing.T) { synctest.Test(t, certificateExpires) })
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(echo.Agent())
		r := m.receive(nil)
		// Only the receivers' own network is allowed, so that another address of
		// this machine is inside.
		m.guard = egress.New(egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.1.0/24")}}, m.hosts).WithDial(m.hosts.dial)
		m.g = m.newGateway(m.st)
		m.notify()
		id := m.action(`{"agent":"echo","instruction":"x","callback_url":"https://flaps.test/hook"}`)
		time.Sleep(time.Minute)
		ds := m.deliveries(id)
		if len(ds) != 1 || ds[0].Status != "retrying" || ds[0].Attempts[0].Class != webhook.ClassConnection {
			t.Fatalf("deliveries = %+v", ds)
		}
		m.hosts.name("flaps.test", r.addr, netip.MustParseAddr("169.254.169.254"))
		time.Sleep(time.Hour)
		ds = m.deliveries(id)
		last := ds[0].Attempts[len(ds[0].Attempts)-1]
		if ds[0].Status != "dead" || last.Class != webhook.ClassBlocked || strings.Contains(last.Error, "169.254") || len(r.all()) != 0 {
			t.Errorf("deliveries = %+v, %d requests", ds, len(r.all()))
		}
	})
}

func certificateExpires(t *testing.T) {
	m := newMesh(t)
	m.work(echo.Agent())
	m.alerts = &transcript{}
	m.notify()
	a := newAuthority(t)
	certificate, key := a.issue(t, net.IPv4(127, 0, 1, 1), time.Now().Add(time.Minute))
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	r := m.receiveTLS(status(500), &tls.Config{Certificates: []tls.Certificate{pair}})
	m.subscribe(encoded(t, map[string]any{"url": r.url, "ca": a.pem}))
	m.create(`{"agent":"echo","instruction":"x"}`)
	time.Sleep(50 * time.Second)
	if m.alerts.String() != "" || len(r.all()) != 2 {
		t.Fatalf("%d requests, alerts %s", len(r.all()), m.alerts)
	}
	time.Sleep(time.Hour)
	ds := m.list("status=retrying")
	if len(ds) != 1 || len(ds[0].Attempts) != 4 || len(r.all()) != 2 {
		t.Fatalf("%d requests, deliveries = %+v", len(r.all()), ds)
	}
	if last := ds[0].Attempts[3]; last.Class != webhook.ClassTLS || !strings.Contains(last.Error, "expired") || !strings.Contains(m.alerts.String(), ds[0].DeliveryID) {
		t.Errorf("attempt = %+v, alerts %s", last, m.alerts)
	}
}

// TestH17_RestartAcrossRetries restarts the mesh across the time at which retries are due: all come.
func TestH17_RestartAcrossRetries(t *testing.T) {
	const n = 500
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		m := newMeshIn(t, dir)
		stopWorker, stopNotifier := m.work(echo.Agent()), m.notify()
		r := m.receive(status(404)) // fails, and opens no breaker
		m.subscribe(`{"url":"` + r.url + `"}`)
		for i := range n {
			m.create(fmt.Sprintf(`{"agent":"echo","input":%d}`, i))
		}
		time.Sleep(time.Minute)
		if got := len(m.list("status=retrying")); got != n {
			t.Fatalf("%d are scheduled, want %d", got, n)
		}
		r.answer(nil)
		stopWorker()
		stopNotifier()
		m.srv.Stop()
		time.Sleep(30 * time.Minute)
		before := len(r.all())
		again := newMeshIn(t, dir)
		again.hosts, again.guard, again.keys = m.hosts, m.guard, m.keys
		again.notify()
		time.Sleep(10 * time.Minute)
		ids := map[string]int{}
		for _, r := range r.all()[before:] {
			ids[r.id()]++
		}
		if len(ids) != n || len(r.all())-before != n {
			t.Errorf("%d requests for %d deliveries, want %d of each", len(r.all())-before, len(ids), n)
		}
	})
}

// TestH18_LargeResult has a result of 10 MB: the callback says where it is.
func TestH18_LargeResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		big := strings.Repeat("x", 10<<20)
		medium := strings.Repeat("y", 100<<10)
		m.work(named("big", func(_ context.Context, job *agent.Job) (any, error) {
			if strings.Contains(job.Instruction, "medium") {
				return medium, nil
			}
			return big, nil
		}))
		m.notify()
		for _, size := range []string{"large", "medium"} {
			r := m.receive(nil)
			id := m.action(`{"agent":"big","instruction":"` + size + `","callback_url":"` + r.url + `"}`)
			time.Sleep(time.Minute)
			all := r.all()
			if len(all) != 1 || len(all[0].body) > 64<<10 {
				t.Fatalf("%d requests", len(all))
			}
			where, _ := all[0].json()["result_url"].(string)
			if all[0].json()["result"] != nil || where != "/actions/"+id+"/result" {
				t.Fatalf("body = %s", all[0].body)
			}
			if w := m.do("GET", where, ""); w.Code != 200 || w.Body.Len() < len(medium) {
				t.Errorf("GET %s = %d, %d bytes", where, w.Code, w.Body.Len())
			}
		}
	})
}

// TestH19_NoOrder: there is no endpoint that keeps an order, so a head that fails holds
// nothing behind it.
func TestH19_NoOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := started(t)
		var first atomic.Value
		r := m.receive(func(w http.ResponseWriter, req *http.Request) {
			first.CompareAndSwap(nil, req.Header.Get("Webhook-Id"))
			if first.Load() == req.Header.Get("Webhook-Id") {
				w.WriteHeader(500)
			}
		})
		m.subscribe(`{"url":"` + r.url + `"}`)
		for i := range 5 {
			m.create(fmt.Sprintf(`{"agent":"echo","input":%d}`, i))
			time.Sleep(time.Second)
		}
		if ds := m.list("status=delivered"); len(ds) != 4 {
			t.Errorf("%d delivered behind the failing head, want 4", len(ds))
		}
	})
}

// TestH20_ClockBack sets the clock back between attempts, as the record of the last one
// tells it: the timestamps do not go back.
func TestH20_ClockBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		r := m.receive(nil)
		now := task.Stamp(time.Now())
		d := &webhook.Delivery{
			ID: webhook.DeliveryID("e", webhook.Callback), Tenant: "default", Source: "act_01a20000000000000000000000000001", EventID: "e",
			Type: event.Type("action.completed"), URL: r.url, Body: []byte(`{}`), Status: webhook.Retrying, CreatedAt: now, Failures: 1,
			Signed: now.Add(time.Hour).Unix(), // by a clock that was an hour ahead
		}
		if err := m.st.SaveDelivery(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if err := m.st.DeliverNow(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		m.notify()
		time.Sleep(time.Second)
		all := r.all()
		if len(all) != 1 || all[0].header.Get("Webhook-Timestamp") != fmt.Sprint(d.Signed) {
			t.Fatalf("requests = %+v, want the timestamp %d", all, d.Signed)
		}
		if _, err := (signature.Verifier{Keys: []signature.VerifyingKey{m.callbackSecret()}}).Verify(all[0].header, all[0].body, now.Add(time.Hour)); err != nil {
			t.Error(err)
		}
	})
}

// TestH21_SlowAnswers has a receiver answer after 14.9 s, again and again: no more than the
// cap at a time, and all arrive.
func TestH21_SlowAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := started(t)
		var now, most atomic.Int32
		r := m.receive(func(_ http.ResponseWriter, _ *http.Request) {
			n := now.Add(1)
			defer now.Add(-1)
			for {
				if old := most.Load(); n <= old || most.CompareAndSwap(old, n) {
					break
				}
			}
			time.Sleep(14900 * time.Millisecond)
		})
		m.subscribe(`{"url":"` + r.url + `"}`)
		const n = 100
		for i := range n {
			m.create(fmt.Sprintf(`{"agent":"echo","input":%d}`, i))
		}
		time.Sleep(time.Hour)
		if got := most.Load(); got != 10 {
			t.Errorf("%d at a time, want 10", got)
		}
		if ds := m.list("status=delivered"); len(ds) != n || len(r.all()) != n {
			t.Errorf("%d delivered by %d requests, want %d", len(ds), len(r.all()), n)
		}
	})
}
