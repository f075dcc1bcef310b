package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sync/errgroup"

	"agentmesh/notifier"
	"agentmesh/shared/egress"
	"agentmesh/shared/keyring"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/signature"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// benchReceivers allows loopback.
func benchReceivers(b *testing.B) (*egress.Guard, *keyring.Ring) {
	b.Helper()
	return egress.New(egress.Policy{Allow: egress.Loopback()}, nil), meshtest.RingOf(b, meshtest.TestKey)
}

func benchStore(b *testing.B, always bool) *store.Store {
	b.Helper()
	srv := natstest.StartWith(b, server.Options{StoreDir: b.TempDir(), SyncAlways: always})
	st, err := store.Open(b.Context(), srv.Connect(b), store.Options{Replicas: 1})
	if err != nil {
		b.Fatal(err)
	}
	return st
}

// benchNotifier runs a notifier until the benchmark ends, or stop.
func benchNotifier(b *testing.B, st *store.Store) (stop func()) {
	b.Helper()
	guard, keys := benchReceivers(b)
	ctx, cancel := context.WithCancel(context.Background())
	n, err := notifier.New(ctx, notifier.Default(), st, guard, keys, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = n.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	b.Cleanup(stop)
	return stop
}

// each does n things, some at a time.
func each(b *testing.B, n, atOnce int, f func(i int) error) {
	b.Helper()
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i := range n {
		g.Go(func() error { return f(i) })
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkDeliver turns completions into deliveries that are answered with 200,
// with one notifier and four receivers on loopback: as they are written (mesh,
// which counts their writes too, and mesh-sync), and those that a notifier finds
// when it starts, which it may have sent before (backlog). The floor is a bare
// client that signs and sends the same requests, as many at a time.
func BenchmarkDeliver(b *testing.B) {
	for _, impl := range []string{"floor", "mesh", "mesh-sync", "backlog"} {
		b.Run("impl="+impl, func(b *testing.B) {
			var got atomic.Int64
			all := make(chan struct{})
			var want int64
			handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if got.Add(1) == want {
					close(all)
				}
			})
			var urls []string
			for range 4 {
				r := httptest.NewServer(handler)
				b.Cleanup(r.Close)
				urls = append(urls, r.URL+"/hook")
			}
			want = int64(b.N)
			if impl == "floor" {
				key, body := signature.NewSecret(), []byte(fmt.Sprintf(`{"type":"action.completed","result":{"text":"%0280d"}}`, 7))
				c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 10}}
				b.Cleanup(c.CloseIdleConnections)
				private := signature.NewPrivateKey()
				b.ResetTimer()
				each(b, b.N, 40, func(i int) error {
					req, err := http.NewRequest(http.MethodPost, urls[i%4], bytes.NewReader(body))
					if err != nil {
						return err
					}
					req.Header.Set("Content-Type", "application/json")
					if err := signature.Sign(req.Header, fmt.Sprintf("dlv_%d", i), time.Now(), body, key, private); err != nil {
						return err
					}
					resp, err := c.Do(req)
					if err != nil {
						return err
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					return resp.Body.Close()
				})
			} else {
				st := benchStore(b, impl == "mesh-sync")
				complete := func() {
					each(b, b.N, 64, func(i int) error { return st.Tasks.Save(b.Context(), meshtest.CompletedAction(urls[i%4])) })
				}
				if impl == "backlog" {
					complete()
					b.ResetTimer()
					benchNotifier(b, st)
				} else {
					benchNotifier(b, st)
					time.Sleep(1100 * time.Millisecond) // later events are new to it
					b.ResetTimer()
					complete()
				}
				select {
				case <-all:
				case <-time.After(time.Minute):
					b.Fatalf("%d of %d deliveries within a minute", got.Load(), b.N)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}

// BenchmarkDeliveryLatency measures from the terminal record to the first byte
// at the receiver, one at a time, on a mesh that does nothing else.
func BenchmarkDeliveryLatency(b *testing.B) {
	for _, sync := range []string{"always", "2m"} {
		b.Run("sync="+sync, func(b *testing.B) {
			arrived := make(chan time.Time, 1)
			r := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived <- time.Now() }))
			defer r.Close()
			st := benchStore(b, sync == "always")
			benchNotifier(b, st)
			var took []time.Duration
			for b.Loop() {
				if err := st.Tasks.Save(b.Context(), meshtest.CompletedAction(r.URL)); err != nil {
					b.Fatal(err)
				}
				saved := time.Now()
				took = append(took, (<-arrived).Sub(saved))
				time.Sleep(25 * time.Millisecond) // the record of this one, and a rest
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

var scheduled = flag.Int("scheduled", 5_000, "retries in BenchmarkScheduledRetries")

// BenchmarkScheduledRetries has many deliveries wait for their next attempt, and
// weighs the process: server, store and notifier.
func BenchmarkScheduledRetries(b *testing.B) {
	for b.Loop() {
		st := benchStore(b, false)
		stop := benchNotifier(b, st)
		heap := func() float64 {
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return float64(m.HeapAlloc)
		}
		before := heap()
		now := task.Stamp(time.Now())
		each(b, *scheduled, 128, func(i int) error {
			d := &webhook.Delivery{
				ID: webhook.NewDeliveryID(fmt.Sprint(i), webhook.Callback), Tenant: "default", Source: webhook.Source(fmt.Sprintf("act_%032x", i)), EventID: fmt.Sprint(i),
				Type: "action.completed", URL: "http://127.0.0.1:9/hook", Body: bytes.Repeat([]byte("x"), 300), Status: webhook.Retrying, CreatedAt: now,
				Failures: 3, NextAt: now.Add(time.Hour + time.Duration(i)*time.Millisecond),
			}
			if err := st.Deliveries.Save(b.Context(), d); err != nil {
				return err
			}
			return st.Deliveries.Schedule(b.Context(), d)
		})
		b.ReportMetric((heap()-before)/float64(*scheduled), "heap-B/retry")
		b.ReportMetric(heap()/(1<<20), "heap-MB")
		stop()
	}
}
