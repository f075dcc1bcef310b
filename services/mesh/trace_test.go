package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/telemetry"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// A request is one trace: the HTTP call, the publish, each attempt and the
// agent's run, under the caller's own span.
func TestARequestIsOneTrace(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	before := otel.GetTracerProvider()
	telemetry.Use(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)), true)
	defer telemetry.Use(before, false)

	const caller = "4bf92f3577b34da6a3ce929d0e0e4736"
	var seen []string // the traceparents that the attempts would pass on
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("flaky", func(_ context.Context, job *agent.Job) (any, error) {
			if seen = append(seen, job.TraceParent); job.Attempt == 1 {
				return nil, errors.New("not yet")
			}
			return "done", nil
		}))
		id := m.Create(`{"agent":"flaky","instruction":"x"}`, "Traceparent", "00-"+caller+"-00f067aa0ba902b7-01")
		if end := m.End(id); end.TraceID != caller || end.Status != "completed" {
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

// In link mode each attempt is a trace of its own that is linked to the
// request's; the children of an attempt stay in its trace.
func TestAttemptsInLinkModeAreLinkedTraces(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	before := otel.GetTracerProvider()
	if _, err := telemetry.Start(t.Context(), telemetry.Config{Mode: telemetry.ModeLink}, "test", "test", false); err != nil {
		t.Fatal(err)
	}
	telemetry.Use(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)), true)
	defer func() {
		restart(t)
		telemetry.Use(before, false)
	}()
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("caller", func(ctx context.Context, job *agent.Job) (any, error) {
			if job.Attempt == 1 {
				return nil, errors.New("not yet")
			}
			return job.Call(ctx, "called", nil)
		}), meshtest.Named("called", func(context.Context, *agent.Job) (any, error) { return 1, nil }))
		m.End(m.Create(`{"agent":"caller","instruction":"x"}`))
	})
	var process []tracetest.SpanStub
	var post trace.SpanContext
	for _, s := range spans.GetSpans() {
		switch s.Name {
		case "process mesh.tasks.ready":
			process = append(process, s)
		case "POST /tasks":
			post = s.SpanContext
		}
	}
	if len(process) != 3 {
		t.Fatalf("%d attempts", len(process))
	}
	first, child, second := process[0], process[1], process[2]
	if second.Parent.IsValid() { // the child's result reached its caller before its own attempt was over
		child, second = second, child
	}
	linksTo := func(s tracetest.SpanStub, to trace.SpanContext) bool {
		return slices.ContainsFunc(s.Links, func(l sdktrace.Link) bool { return l.SpanContext.SpanID() == to.SpanID() })
	}
	for i, p := range []tracetest.SpanStub{first, second} {
		if p.Parent.IsValid() || p.SpanContext.TraceID() == post.TraceID() || !linksTo(p, post) {
			t.Errorf("attempt %d is no linked root: parent %v, links %v", i+1, p.Parent.SpanID(), p.Links)
		}
	}
	if !linksTo(second, first.SpanContext) || second.SpanContext.TraceID() == first.SpanContext.TraceID() {
		t.Error("the second attempt is not linked to the first")
	}
	if child.SpanContext.TraceID() != second.SpanContext.TraceID() {
		t.Error("the child is not in the trace of the attempt that called it")
	}
}

// An attempt that takes over a lapsed lease is linked to the one that had it.
func TestAnAttemptThatTakesOverIsLinkedToTheOneBefore(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	before := otel.GetTracerProvider()
	telemetry.Use(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)), true)
	defer telemetry.Use(before, false)
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		frozen := &meshtest.Gate{Server: m.Server.Server}
		st, _ := m.OpenStore(nats.InProcessServer(frozen))
		slow := meshtest.Named("slow", func(ctx context.Context, _ *agent.Job) (any, error) {
			select {
			case <-time.After(5 * time.Second):
			case <-ctx.Done():
			}
			return 1, nil
		})
		m.WorkWith(worker.Default(), st, slow)
		id := m.Create(`{"agent":"slow","instruction":"x"}`)
		time.Sleep(time.Second)
		frozen.Freeze()
		m.Work(slow)
		if v := m.End(id); v.Attempt != 2 || len(v.Attempts) != 2 || v.Attempts[0].Outcome != "lost" || v.Attempts[0].WorkerID == v.Attempts[1].WorkerID {
			t.Errorf("%+v", v)
		}
		frozen.Thaw()
		time.Sleep(time.Minute)
	})
	var process []tracetest.SpanStub
	for _, s := range spans.GetSpans() {
		if s.Name == "process mesh.tasks.ready" {
			process = append(process, s)
		}
	}
	slices.SortFunc(process, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	if len(process) != 2 || !slices.ContainsFunc(process[1].Links, func(l sdktrace.Link) bool { return l.SpanContext.SpanID() == process[0].SpanContext.SpanID() }) {
		t.Errorf("%d attempts, the second links to %v", len(process), process[len(process)-1].Links)
	}
}
