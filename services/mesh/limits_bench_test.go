package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"

	"agentmesh/gateway"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/worker/agents/echo"
)

// BenchmarkLimited is POST /tasks to its 202 without limits, and of a tenant with all
// of them, which may cost 3 % more.
func BenchmarkLimited(b *testing.B) {
	for _, clients := range []int{1, 32} {
		for _, limits := range []string{"off", "on"} {
			b.Run(fmt.Sprintf("clients=%d/limits=%s", clients, limits), func(b *testing.B) {
				_, st := benchParts(b, false, echo.Agent())
				benchPost(b, benchLimited(b, st, limits == "on").URL, clients, "", http.StatusAccepted)
			})
		}
	}
}

// benchLimited is a gateway, with limits that nobody comes to.
func benchLimited(b *testing.B, st *store.Store, limits bool) *httptest.Server {
	b.Helper()
	cfg := gateway.Default()
	cfg.HTTP = "127.0.0.1:0"
	if limits {
		cfg.TenantRate, cfg.TenantPending, cfg.TenantPendingPerAgent, cfg.TenantWaits, cfg.TenantStreams, cfg.TenantSessions = 1e6, 1e9, 1e9, 1e6, 1e6, 1e9
	}
	g, err := gateway.New(cfg, st, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	front := httptest.NewServer(g.Handler())
	b.Cleanup(func() { front.Close(); g.Close() })
	return front
}

// BenchmarkCountWaiting is counting a tenant's tasks, beside as many of another.
func BenchmarkCountWaiting(b *testing.B) {
	st, err := store.Open(b.Context(), natstest.Start(b).Connect(b), store.Options{Replicas: 1})
	if err != nil {
		b.Fatal(err)
	}
	queued := 0
	for _, depth := range []int{100, 1000, 10_000, 50_000} {
		for ; queued < depth; queued++ {
			for _, of := range []string{"one", "other"} {
				t := &task.Task{ID: task.NewID(task.KindTask, uuid.Must(uuid.NewV7())), Tenant: of, Kind: task.KindTask, Agent: "echo", Status: task.Pending, Instruction: "x", CreatedAt: time.Now()}
				if _, err := st.Tasks.Enqueue(b.Context(), t); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.Run(fmt.Sprintf("waiting=%d", depth), func(b *testing.B) {
			for b.Loop() {
				if n, err := st.Tasks.Waiting(b.Context(), "one", ""); err != nil || n != depth {
					b.Fatal(n, err)
				}
			}
		})
	}
}
