package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"agentmesh/gateway"
	"agentmesh/shared/auth"
	core "agentmesh/shared/mesh"
	"agentmesh/shared/store"
	"agentmesh/worker/agents/echo"
)

// BenchmarkAuthenticated is POST /tasks to its 202 by a caller that nobody asks,
// and by one with an API key. The second may cost a tenth more.
func BenchmarkAuthenticated(b *testing.B) {
	for _, clients := range []int{1, 32} {
		for _, mode := range []string{"off", "keys"} {
			b.Run(fmt.Sprintf("clients=%d/auth=%s", clients, mode), func(b *testing.B) {
				front, st := benchParts(b, false, echo.Agent())
				if mode == "off" {
					benchPost(b, front.URL, clients, "", http.StatusAccepted)
					return
				}
				asking, key := benchAsking(b, st)
				benchPost(b, asking.URL, clients, "", http.StatusAccepted, "Authorization", "Bearer "+key)
			})
		}
	}
}

// BenchmarkAdmission is GET /whoami without a socket: what finding the caller costs
// by itself, which BenchmarkAuthenticated cannot tell on a busy machine.
func BenchmarkAdmission(b *testing.B) {
	for _, mode := range []string{"off", "keys"} {
		b.Run("auth="+mode, func(b *testing.B) {
			front, st := benchParts(b, false, echo.Agent())
			key := ""
			if mode == "keys" {
				front, key = benchAsking(b, st)
			}
			r := httptest.NewRequest("GET", "/whoami", nil)
			r.Header.Set("Authorization", "Bearer "+key)
			front.Config.Handler.ServeHTTP(httptest.NewRecorder(), r)
			b.ReportAllocs()
			before := processorTime()
			for b.Loop() {
				w := httptest.NewRecorder()
				if front.Config.Handler.ServeHTTP(w, r); w.Code != http.StatusOK {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
			}
			b.ReportMetric(float64(processorTime()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// benchAsking is a gateway that asks for API keys, and one of those.
func benchAsking(b *testing.B, st *store.Store) (*httptest.Server, string) {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	_, key, err := core.New(st, core.Options{Log: log}).Keys.Create(b.Context(), auth.Local(), core.KeyRequest{Tenant: auth.DefaultTenant, Scopes: []string{string(auth.TasksWrite)}})
	if err != nil {
		b.Fatal(err)
	}
	keys := core.NewKeyAuthenticator(st, log)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = keys.Run(ctx) }()
	cfg := gateway.Default()
	cfg.HTTP, cfg.Auth, cfg.Authenticator = "127.0.0.1:0", "keys", keys
	g, err := gateway.New(cfg, st, log)
	if err != nil {
		b.Fatal(err)
	}
	front := httptest.NewServer(g.Handler())
	b.Cleanup(func() {
		front.Close()
		g.Close()
		cancel()
		<-ended
	})
	return front, key.Reveal()
}
