package main

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/telemetry"
	"agentmesh/worker/agents/echo"
)

// TestNothingWaitsForACollectorThatIsAway: a collector that refuses, or takes and never answers,
// changes neither how long a task takes nor how much memory is used. Spans that
// find no room are dropped, and the drops are counted.
func TestNothingWaitsForACollectorThatIsAway(t *testing.T) {
	natstest.Long(t)
	hang := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer hangs.Close()
	defer close(hang)
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	defer restart(t)
	took := map[string]time.Duration{}
	for name, endpoint := range map[string]string{"none": "", "refuses": "http://" + address, "hangs": hangs.URL} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
			t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
			exports, err := telemetry.Start(t.Context(), telemetry.DefaultConfig(), "test", "test", true)
			if err != nil {
				t.Fatal(err)
			}
			telemetry.ReportTo(meshtest.Quiet())
			m := meshtest.New(t)
			m.Work(echo.Agent())
			var each []time.Duration
			for range 200 {
				began := time.Now()
				m.Create(`{"agent":"echo","input":1}`, "Prefer", "wait=10")
				each = append(each, time.Since(began))
			}
			slices.Sort(each)
			took[name] = each[len(each)/2]
			before := heap()
			for range 100_000 {
				_, span := telemetry.StartPublish(t.Context(), "mesh.tasks.ready", telemetry.TaskID("tsk_1"))
				telemetry.End(span, nil)
			}
			if grown := int64(heap()) - int64(before); grown > 32<<20 {
				t.Errorf("100,000 spans have left %d MB", grown>>20)
			}
			w := httptest.NewRecorder()
			for range 2 { // a count that changes during the read is seen the next time
				w = httptest.NewRecorder()
				exports.Metrics.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
			}
			if endpoint != "" && (spansBy(w.Body.String(), "recorded") < 100_000 || spansBy(w.Body.String(), "exported") > 0) {
				t.Errorf("%v spans are recorded and %v exported", spansBy(w.Body.String(), "recorded"), spansBy(w.Body.String(), "exported"))
			}
			began := time.Now()
			exports.Flush()
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("the end waited %v for the collector", d)
			}
		})
	}
	for name, d := range took {
		t.Logf("collector %s: median %v", name, d)
		if d > 3*took["none"]+5*time.Millisecond {
			t.Errorf("with a collector that %s a task takes %v, without one %v", name, d, took["none"])
		}
	}
}

// spansBy reads how many spans have had a result.
func spansBy(metrics, result string) (n float64) {
	for line := range strings.Lines(metrics) {
		if value, ok := strings.CutPrefix(line, `mesh_telemetry_spans_total{result="`+result+`"} `); ok {
			n, _ = strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return n
}

func heap() uint64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
