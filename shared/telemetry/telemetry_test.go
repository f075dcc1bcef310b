package telemetry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"agentmesh/shared/telemetry"
)

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// record collects the spans of a test.
func record(t *testing.T) *tracetest.InMemoryExporter {
	t.Helper()
	spans, before := tracetest.NewInMemoryExporter(), otel.GetTracerProvider()
	telemetry.Use(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)), true)
	t.Cleanup(func() { telemetry.Use(before, false) })
	return spans
}

func TestContextTravelsInHeaders(t *testing.T) {
	ctx := telemetry.WithTraceParent(t.Context(), parent, "vendor=1")
	hdr := nats.Header{}
	telemetry.Inject(ctx, hdr)
	if got := hdr["traceparent"]; len(got) != 1 || got[0] != parent {
		t.Errorf("header %v", hdr)
	}
	back := telemetry.Extract(t.Context(), hdr)
	if telemetry.TraceParent(back) != parent || telemetry.TraceState(back) != "vendor=1" || telemetry.TraceID(back) != parent[3:35] {
		t.Errorf("came back as %s %s", telemetry.TraceParent(back), telemetry.TraceState(back))
	}
	if telemetry.TraceID(telemetry.Extract(t.Context(), nats.Header{})) != "" || telemetry.TraceParent(t.Context()) != "" {
		t.Error("a context from nowhere")
	}
}

func TestMalformedParents(t *testing.T) {
	for _, bad := range []string{"", "x", "00-0-0-01", strings.Replace(parent, "4bf92f3577b34da6a3ce929d0e0e4736", strings.Repeat("0", 32), 1), strings.ToUpper(parent), parent[:54]} {
		if ctx := telemetry.WithTraceParent(t.Context(), bad, ""); trace.SpanContextFromContext(ctx).IsValid() {
			t.Errorf("%q is a parent", bad)
		}
	}
	for in, want := range map[string]string{parent: parent[3:35], "": "", "00": "", strings.Repeat("x", 35): ""} {
		if got := telemetry.TraceIDOf(in); got != want {
			t.Errorf("TraceIDOf(%q) = %q", in, got)
		}
	}
}

func TestSpans(t *testing.T) {
	spans := record(t)
	ctx, send := telemetry.StartPublish(t.Context(), "mesh.tasks.ready", telemetry.TaskID("tsk_1"))
	hdr := nats.Header{}
	telemetry.Inject(ctx, hdr)
	telemetry.End(send, nil)
	ctx, process := telemetry.StartProcess(t.Context(), "mesh.tasks.ready", hdr, telemetry.Origin{})
	_, run := telemetry.StartAgent(ctx, "echo", "1", false, telemetry.Attempt(2))
	telemetry.End(run, errors.New("broken"))
	telemetry.End(process, nil)

	got := spans.GetSpans()
	if len(got) != 3 {
		t.Fatalf("%d spans", len(got))
	}
	for i, want := range []struct {
		name string
		kind trace.SpanKind
		attr attribute.KeyValue
	}{
		{"send mesh.tasks.ready", trace.SpanKindProducer, attribute.String("mesh.task.id", "tsk_1")},
		{"invoke_agent echo", trace.SpanKindInternal, attribute.Int("mesh.attempt", 2)},
		{"process mesh.tasks.ready", trace.SpanKindConsumer, attribute.String("messaging.system", "nats")},
	} {
		if got[i].Name != want.name || got[i].SpanKind != want.kind || !has(got[i], want.attr) {
			t.Errorf("span %+v, want %+v", got[i], want)
		}
	}
	if got[1].Status.Code != codes.Error || got[1].Status.Description != "broken" || got[0].Status.Code == codes.Error {
		t.Errorf("status %+v", got[1].Status)
	}
	if len(got[2].Links) != 1 || got[2].Links[0].SpanContext.SpanID() != got[0].SpanContext.SpanID() {
		t.Errorf("links %+v", got[2].Links)
	}
}

// Below a trace that this process has not sampled no span is made. One that is sampled
// has its spans also where its request has ended before.
func TestOnlyTracesThatAreSampledHaveSpans(t *testing.T) {
	spans := record(t)
	ctx, request := telemetry.StartSchedule(t.Context(), "sch_1")
	telemetry.End(request, nil)
	_, late := telemetry.StartPublish(ctx, "mesh.tasks.ready", telemetry.TaskID("tsk_1"))
	telemetry.End(late, nil)
	if n := len(spans.GetSpans()); n != 2 {
		t.Errorf("%d spans of a trace that is sampled", n)
	}
	telemetry.Use(sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample()))), true)
	ctx, request = telemetry.StartSchedule(t.Context(), "sch_1")
	made := testing.AllocsPerRun(10, func() {
		below, span := telemetry.StartPublish(ctx, "mesh.tasks.ready", telemetry.TaskID("tsk_1"), telemetry.MessageID("tsk_1"))
		telemetry.Annotate(below, telemetry.TaskID("tsk_1"))
		telemetry.End(span, nil)
	})
	if made > 0 || telemetry.TraceID(ctx) == "" {
		t.Errorf("%v allocations for spans that nobody sees, in the trace %q", made, telemetry.TraceID(ctx))
	}
	telemetry.End(request, nil)
}

func has(s tracetest.SpanStub, want attribute.KeyValue) bool {
	for _, a := range s.Attributes {
		if a == want {
			return true
		}
	}
	return false
}

func TestHTTPMiddleware(t *testing.T) {
	spans := record(t)
	router := chi.NewRouter()
	router.With(telemetry.HTTPMiddleware).Get("/tasks/{id}", func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("streaming is lost: %v", err)
		}
	})
	router.With(telemetry.HTTPMiddleware).Get("/broken", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	for _, path := range []string{"/tasks/tsk_1", "/broken"} {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Traceparent", parent)
		router.ServeHTTP(httptest.NewRecorder(), r)
	}
	got := spans.GetSpans()
	if len(got) != 2 {
		t.Fatalf("%d spans", len(got))
	}
	if s := got[0]; s.Name != "GET /tasks/{id}" || s.SpanKind != trace.SpanKindServer || s.Parent.TraceID().String() != parent[3:35] ||
		!has(s, attribute.String("http.route", "/tasks/{id}")) || !has(s, attribute.Int("http.response.status_code", 200)) || s.Status.Code == codes.Error {
		t.Errorf("span %+v", s)
	}
	if s := got[1]; s.Status.Code != codes.Error || !has(s, attribute.Int("http.response.status_code", 503)) {
		t.Errorf("span %+v", s)
	}
}

// Export follows the standard environment, and without it there are trace ids
// and nothing else.
func TestStart(t *testing.T) {
	var requests atomic.Int32
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil && r.URL.Path == "/v1/traces" && strings.Contains(string(body), "invoke_agent echo") &&
			strings.Contains(string(body), "a-service") {
			requests.Add(1)
		}
	}))
	defer collector.Close()
	before := otel.GetTracerProvider()
	defer telemetry.Use(before, false)
	for _, tt := range []struct {
		name     string
		env      map[string]string
		exported int32
	}{
		{"no environment", nil, 0},
		{"endpoint", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL}, 1},
		{"endpoint of traces", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.URL + "/v1/traces"}, 1},
		{"disabled", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL, "OTEL_SDK_DISABLED": "true"}, 0},
		{"no traces", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL, "OTEL_TRACES_EXPORTER": "none"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			requests.Store(0)
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			exports, err := telemetry.Start(t.Context(), telemetry.DefaultConfig(), "a-service", "1", false)
			if err != nil {
				t.Fatal(err)
			}
			var request context.Context
			telemetry.HTTPMiddleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { request = r.Context() })).
				ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
			ctx, span := telemetry.StartAgent(request, "echo", "", false)
			if telemetry.TraceID(ctx) == "" || span.IsRecording() != (tt.exported > 0) {
				t.Errorf("trace id %q, recording %v", telemetry.TraceID(ctx), span.IsRecording())
			}
			telemetry.End(span, nil)
			if err := exports.Shutdown(context.WithoutCancel(t.Context())); err != nil {
				t.Fatal(err)
			}
			if n := requests.Load(); n != tt.exported {
				t.Errorf("%d requests at the collector, want %d", n, tt.exported)
			}
		})
	}
}
