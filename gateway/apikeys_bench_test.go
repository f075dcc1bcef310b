package gateway_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"agentmesh/gateway"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// BenchmarkAuthentication is POST /tasks, from the request to its durable 202, with
// nobody asked and with an API key: the price of knowing who calls.
func BenchmarkAuthentication(b *testing.B) {
	srv := natstest.Start(b)
	st, err := store.Open(b.Context(), srv.Connect(b), store.Options{Replicas: 1})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := st.Registry.Register(b.Context(), task.Definition{Name: "echo"}, "wrk_1"); err != nil {
		b.Fatal(err)
	}
	k := auth.NewKey()
	if err := mesh.FirstKey(b.Context(), st, "bench", func() (auth.Key, error) { return k, nil }); err != nil {
		b.Fatal(err)
	}
	keys := mesh.NewKeyAuthenticator(st, meshtest.Quiet())
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = keys.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	shown := auth.Credentials{Bearer: k.Reveal()}
	natstest.Until(b, "the key is known", func() bool { _, err := keys.Authenticate(ctx, shown); return err == nil })

	for _, mode := range []string{"off", "keys"} {
		cfg := gateway.Default()
		if cfg.HTTP, cfg.Auth = "127.0.0.1:0", mode; mode == "keys" {
			cfg.Authenticator = keys
		}
		g, err := gateway.New(cfg, st, meshtest.Quiet())
		if err != nil {
			b.Fatal(err)
		}
		defer g.Close()
		b.Run("auth="+mode, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest("POST", "/tasks", strings.NewReader(`{"agent":"echo","instruction":"x"}`))
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Authorization", "Bearer "+k.Reveal())
				w := httptest.NewRecorder()
				if g.Handler().ServeHTTP(w, r); w.Code != http.StatusAccepted {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
			}
		})
	}
	b.Run("key alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := keys.Authenticate(ctx, shown); err != nil {
				b.Fatal(err)
			}
		}
	})
}
