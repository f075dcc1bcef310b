package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"agentmesh/shared/telemetry"
	"agentmesh/worker/agent"
)

// A request is one trace: the HTTP call, the publish, each attempt and the
// agent's run, under the caller's own span.
func TestOneTrace(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	before := otel.GetTracerProvider()
	telemetry.Use(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)), true)
	defer telemetry.Use(before, false)

	const caller = "4bf92f3577b34da6a3ce929d0e0e4736"
	var seen []string // what the agent would pass on
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(named("flaky", func(_ context.Context, job *agent.Job) (any, error) {
			if seen = append(seen, job.TraceParent); job.Attempt == 1 {
				return nil, errors.New("not yet")
			}
			return "done", nil
		}))
		id := m.create(`{"agent":"flaky","instruction":"x"}`, "Traceparent", "00-"+caller+"-00f067aa0ba902b7-01")
		if end := m.end(id); end.TraceID != caller || end.Status != "completed" {
			t.Errorf("task %+v, want it completed in trace %s", end, caller)
		}
	})

	byName := map[string][]tracetest.SpanStub{}
	for _, s := range spans.GetSpans() {
		if s.SpanContext.TraceID().String() == caller {
			byName[s.Name] = append(byName[s.Name], s)
		}
	}
	post, send := byName["POST /tasks"], byName["send mesh.tasks.ready"]
	process, invoke := byName["process mesh.tasks.ready"], byName["invoke_agent flaky"]
	if len(post) != 1 || len(send) != 1 || len(process) != 2 || len(invoke) != 2 {
		t.Fatalf("%d POST, %d send, %d process, %d invoke_agent spans in the trace, want 1, 1, 2, 2", len(post), len(send), len(process), len(invoke))
	}
	if !post[0].Parent.IsRemote() || post[0].Parent.SpanID().String() != "00f067aa0ba902b7" {
		t.Errorf("the request's parent is %v, not the caller's span", post[0].Parent.SpanID())
	}
	if send[0].Parent.SpanID() != post[0].SpanContext.SpanID() || send[0].SpanKind != trace.SpanKindProducer {
		t.Error("the publish is no producer span under the request")
	}
	for i, p := range process {
		if p.Parent.SpanID() != post[0].SpanContext.SpanID() || p.SpanKind != trace.SpanKindConsumer {
			t.Errorf("attempt %d is no consumer span under the request", i+1)
		}
		if len(p.Links) != 1 || i == 0 && p.Links[0].SpanContext.SpanID() != send[0].SpanContext.SpanID() {
			t.Errorf("attempt %d links to %v, want the send span", i+1, p.Links)
		}
		if invoke[i].Parent.SpanID() != p.SpanContext.SpanID() {
			t.Errorf("run %d is not under its attempt", i+1)
		}
		if want := "00-" + caller + "-" + invoke[i].SpanContext.SpanID().String() + "-01"; !slices.Contains(seen, want) {
			t.Errorf("the agent was given %s, want %s", strings.Join(seen, " "), want)
		}
	}
}
