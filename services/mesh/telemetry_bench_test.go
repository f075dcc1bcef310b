package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/telemetry"
	"agentmesh/worker/agent"
)

// BenchmarkTracing is the whole path, one POST until its outcome is seen, with
// metrics alone and with every span exported as well. The time that the
// processor worked tells more than that of the clock where others share it.
func BenchmarkTracing(b *testing.B) {
	for _, sync := range []string{"always", "2m"} {
		for _, sampled := range []string{"off", "0", "0.1", "1"} {
			b.Run("sync="+sync+"/sampled="+sampled, func(b *testing.B) {
				benchTraced(b, sampled)
				benchPost(b, benchMesh(b, sync == "always").URL, 32, "wait=30", http.StatusOK)
			})
		}
	}
}

// benchTraced has this share of the traces exported, to a collector that takes all;
// off: none, and metrics alone.
func benchTraced(b *testing.B, sampled string) {
	b.Helper()
	if sampled != "off" {
		collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
		b.Cleanup(collector.Close)
		b.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.URL+"/v1/traces")
		b.Setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
		b.Setenv("OTEL_TRACES_SAMPLER_ARG", sampled)
	}
	exports, err := telemetry.Start(b.Context(), telemetry.DefaultConfig(), "bench", "1", true)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		exports.Flush()
		restart(b)
	})
}

// BenchmarkGetPending is one poll of a task that waits in a line of 1,000.
func BenchmarkGetPending(b *testing.B) {
	release := make(chan struct{})
	defer close(release)
	a := meshtest.Named("held", func(ctx context.Context, _ *agent.Job) (any, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return nil, nil
	})
	a.Concurrency = 1
	front := benchAgent(b, false, a)
	var last struct {
		ID string `json:"task_id"`
	}
	for range 1000 {
		resp, err := http.Post(front.URL+"/tasks", "application/json", strings.NewReader(`{"agent":"held","instruction":"x"}`))
		if err != nil {
			b.Fatal(err)
		}
		err = json.NewDecoder(resp.Body).Decode(&last)
		_ = resp.Body.Close()
		if err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		resp, err := http.Get(front.URL + "/tasks/" + last.ID)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}

// restart gives the process the telemetry of the tests again.
func restart(tb testing.TB) {
	tb.Helper()
	// The test's own environment still asks for its collector.
	defer func(was string) { _ = os.Setenv("OTEL_SDK_DISABLED", was) }(os.Getenv("OTEL_SDK_DISABLED"))
	_ = os.Setenv("OTEL_SDK_DISABLED", "true")
	if _, err := telemetry.Start(context.Background(), telemetry.DefaultConfig(), "test", "test", false); err != nil {
		tb.Fatal(err)
	}
}
