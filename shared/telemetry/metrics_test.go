package telemetry_test

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/telemetry"
)

// bounded are the labels that a metric may have, each with a closed or a
// configured set of values.
var bounded = []string{
	"agent", "kind", "outcome", "code", "class", "status", "state", "stream", "consumer", "result", "version", "go_version",
	"tenant", "period", "currency", // those that a file names
	"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.token.modality", "gen_ai.token.type", "gen_ai.agent.name", "gen_ai.tool.name", "error.type",
	"http.request.method", "http.route", "http.response.status_code",
}

// No label takes an id, a tenant or an address, and names are as they should be.
func TestCardinality(t *testing.T) {
	name := regexp.MustCompile(`^(mesh|http|gen_ai)(\.[a-z_]+)+$`)
	seen := map[string]bool{}
	for _, i := range telemetry.Instruments() {
		for _, l := range i.Labels {
			if !slices.Contains(bounded, l) {
				t.Errorf("%s has the label %s: is it bounded?", i.Name, l)
			}
		}
		if !name.MatchString(i.Name) || seen[i.Name] || i.Unit == "" || !strings.HasSuffix(i.Help, ".") {
			t.Errorf("%s %q %q", i.Name, i.Unit, i.Help)
		}
		seen[i.Name] = true
	}
	if len(seen) < 30 {
		t.Errorf("%d instruments", len(seen))
	}
}

// metrics starts telemetry that is scraped, and returns how.
func metrics(t *testing.T) func() string {
	t.Helper()
	exports, err := telemetry.Start(t.Context(), telemetry.DefaultConfig(), "test", "9", true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		exports.Flush()
		if _, err := telemetry.Start(context.Background(), telemetry.DefaultConfig(), "test", "9", false); err != nil {
			t.Error(err)
		}
	})
	return func() string {
		w := httptest.NewRecorder()
		exports.Metrics.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		body, err := io.ReadAll(w.Body)
		if err != nil || w.Code != 200 {
			t.Fatalf("%d %v", w.Code, err)
		}
		return string(body)
	}
}

func TestMetrics(t *testing.T) {
	read := metrics(t)
	telemetry.TasksStarted.Add(0, "idle")
	telemetry.TasksFinished.Add(2, "echo", "completed")
	telemetry.TaskQueueWait.Record(1500*time.Millisecond, "echo")
	stop := telemetry.Observe(func(_ context.Context, set func(*telemetry.Gauge, float64, ...string)) {
		set(telemetry.QueueDepth, 7, "echo")
	})
	got := read()
	for _, want := range []string{
		`mesh_tasks_started_total{agent="idle"} 0`,
		`mesh_tasks_finished_total{agent="echo",outcome="completed"} 2`,
		`mesh_task_queue_wait_seconds_bucket{agent="echo",le="2.5"} 1`,
		`mesh_task_queue_wait_seconds_sum{agent="echo"} 1.5`,
		`mesh_queue_depth{agent="echo"} 7`,
		`mesh_build_info{go_version="go1.`,
		"go_goroutine_count",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	stop()
	if got := read(); strings.Contains(got, "mesh_queue_depth{") {
		t.Error("a gauge is read that nobody observes")
	}
	// A store that is away does not hold up who asks.
	defer telemetry.Observe(func(ctx context.Context, _ func(*telemetry.Gauge, float64, ...string)) { <-ctx.Done() })()
	began := time.Now()
	if read(); time.Since(began) > 10*time.Second {
		t.Errorf("metrics took %v", time.Since(began))
	}
}

// More label values than are expected are counted all the same.
func TestManyLabelSets(t *testing.T) {
	read := metrics(t)
	for n := range 3000 {
		telemetry.TaskRetries.Add(1, fmt.Sprint("agent-", n))
	}
	if got := read(); strings.Count(got, "\nmesh_task_retries_total{") > 2100 || !strings.Contains(got, `mesh_task_retries_total{agent="agent-0"} 1`) {
		t.Errorf("%d series", strings.Count(got, "\nmesh_task_retries_total{"))
	}
}

func TestWrongLabelsPanic(t *testing.T) {
	metrics(t)
	defer func() {
		if recover() == nil {
			t.Error("a value too few is counted")
		}
	}()
	telemetry.TasksFinished.Add(1, "echo")
}

func BenchmarkCounter(b *testing.B) {
	for _, scraped := range []bool{false, true} {
		b.Run(fmt.Sprint("on=", scraped), func(b *testing.B) {
			if _, err := telemetry.Start(b.Context(), telemetry.DefaultConfig(), "bench", "1", scraped); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				telemetry.TasksFinished.Add(1, "echo", "completed")
			}
		})
	}
}

func BenchmarkSpanOff(b *testing.B) {
	if _, err := telemetry.Start(b.Context(), telemetry.DefaultConfig(), "bench", "1", false); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, span := telemetry.StartPublish(b.Context(), "mesh.tasks.ready", telemetry.TaskID("tsk_1"))
		telemetry.End(span, nil)
	}
}
