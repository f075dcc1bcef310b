package notifier_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/webhook"
)

// TestAReceiverThatHangsIsGivenUpInTime has a receiver hang before and within its answer.
func TestAReceiverThatHangsIsGivenUpInTime(t *testing.T) {
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
				m := meshtest.Started(t)
				r := m.Receive(tt.f)
				id := m.Action(`{"agent":"echo","instruction":"x","callback_url":"` + r.URL + `"}`)
				time.Sleep(17 * time.Second)
				ds := m.Deliveries(id)
				if len(ds) != 1 || ds[0].Status != string(tt.want) || len(ds[0].Attempts) != 1 {
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
			m := meshtest.Started(t)
			l := m.Hosts.Listen() // nobody accepts
			id := m.Action(`{"agent":"echo","instruction":"x","callback_url":"http://` + l.IP.String() + `/"}`)
			time.Sleep(17 * time.Second)
			if ds := m.Deliveries(id); len(ds) != 1 || len(ds[0].Attempts) != 1 || ds[0].Attempts[0].Class != string(webhook.ClassTimeout) {
				t.Errorf("deliveries = %+v", ds)
			}
		})
	})
	t.Run("tls", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := meshtest.Started(t)
			l := m.Hosts.Listen()
			go func() {
				c, err := l.Accept()
				if err == nil {
					_, _ = io.Copy(io.Discard, c) // reads the hello and says nothing
				}
			}()
			id := m.Action(`{"agent":"echo","instruction":"x","callback_url":"https://` + l.IP.String() + `/"}`)
			time.Sleep(7 * time.Second)
			if ds := m.Deliveries(id); len(ds) != 1 || len(ds[0].Attempts) != 1 || ds[0].Attempts[0].Class != string(webhook.ClassTimeout) {
				t.Errorf("deliveries = %+v", ds)
			}
			_ = l.Close()
			time.Sleep(time.Minute)
		})
	})
}

// TestTheStatusLineDecidesWhenTheConnectionBreaks breaks the connection after the status line: that decides.
func TestTheStatusLineDecidesWhenTheConnectionBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		r := m.Receive(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(200)
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		id := m.Action(`{"agent":"echo","instruction":"x","callback_url":"` + r.URL + `"}`)
		time.Sleep(time.Hour)
		if ds := m.Deliveries(id); len(r.All()) != 1 || len(ds) != 1 || ds[0].Status != "delivered" || ds[0].Attempts[0].Answer != "half" {
			t.Errorf("%d requests, deliveries = %+v", len(r.All()), ds)
		}
	})
}

// TestDeadEndpointsHoldUpNoOther has ten endpoints hang while one is well: it must not feel them. Time
// is fake, so what is measured is who waits for whom.
func TestDeadEndpointsHoldUpNoOther(t *testing.T) {
	natstest.Long(t)
	const dead = 10
	events := natstest.Fewer(500)
	if *meshtest.Chaos {
		events = 10_000
	}
	quantile := func(t *testing.T, load int) time.Duration {
		var p99 time.Duration
		synctest.Test(t, func(t *testing.T) {
			m := meshtest.New(t)
			well := m.Receive(func(http.ResponseWriter, *http.Request) {
				time.Sleep(10 * time.Millisecond)
			})
			var urls []string
			for range dead {
				urls = append(urls, m.Receive(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }).URL)
			}
			each := func(url string) time.Time {
				if err := m.Store.Tasks.Save(t.Context(), meshtest.CompletedAction(url)); err != nil {
					t.Fatal(err)
				}
				return time.Now()
			}
			m.Notify()
			healthy := natstest.Fewer(500)
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
				sent := each(well.URL)
				time.Sleep(50 * time.Millisecond)
				all := well.All()
				if len(all) <= n {
					late = append(late, time.Second) // not even begun
					continue
				}
				late = append(late, all[n].At.Sub(sent)+10*time.Millisecond)
			}
			time.Sleep(time.Minute)
			if n := len(well.All()); n != healthy {
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

// TestSlowAnswersAllArriveWithinTheCap has a receiver answer after 14.9 s, again and again: no more than the
// cap at a time, and all arrive.
func TestSlowAnswersAllArriveWithinTheCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		var now, most atomic.Int32
		r := m.Receive(func(_ http.ResponseWriter, _ *http.Request) {
			n := now.Add(1)
			defer now.Add(-1)
			for {
				if old := most.Load(); n <= old || most.CompareAndSwap(old, n) {
					break
				}
			}
			time.Sleep(14900 * time.Millisecond)
		})
		m.Subscribe(`{"url":"` + r.URL + `"}`)
		const n = 100
		for i := range n {
			m.Create(fmt.Sprintf(`{"agent":"echo","input":%d}`, i))
		}
		time.Sleep(time.Hour)
		if got := most.Load(); got != 10 {
			t.Errorf("%d at a time, want 10", got)
		}
		if ds := m.DeliveriesBy("status=delivered"); len(ds) != n || len(r.All()) != n {
			t.Errorf("%d delivered by %d requests, want %d", len(ds), len(r.All()), n)
		}
	})
}
