package telemetry_test

import (
	"context"
	"errors"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"agentmesh/shared/telemetry"
)

// sent is an OTLP client that keeps what it is to send.
type sent struct{ spans []*tracepb.ResourceSpans }

func (s *sent) Start(context.Context) error { return nil }
func (s *sent) Stop(context.Context) error  { return nil }
func (s *sent) UploadTraces(_ context.Context, spans []*tracepb.ResourceSpans) error {
	s.spans = spans
	_, err := proto.Marshal(spans[0]) // as a client does
	return err
}

// someSpans are spans with all that a span may have, of two scopes.
func someSpans(tb testing.TB) []sdktrace.ReadOnlySpan {
	tb.Helper()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder),
		sdktrace.WithResource(resource.NewWithAttributes("https://example.com/schema", attribute.String("service.name", "a"), attribute.Int("pid", 7))))
	a := provider.Tracer("a", trace.WithInstrumentationVersion("1"), trace.WithSchemaURL("https://example.com/scope"))
	ctx := telemetry.WithTraceParent(context.Background(), parent, "vendor=1")
	ctx, one := a.Start(ctx, "one", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("text", "é"), attribute.String("empty", ""), attribute.Bool("yes", true), attribute.Bool("no", false),
		attribute.Int64("n", -3), attribute.Int64("zero", 0), attribute.Float64("f", 1.5)))
	_, two := a.Start(ctx, "two", trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithLinks(trace.Link{SpanContext: one.SpanContext(), Attributes: []attribute.KeyValue{attribute.String("why", "x")}},
			trace.Link{SpanContext: trace.SpanContextFromContext(telemetry.WithTraceParent(context.Background(), parent, ""))}))
	two.RecordError(errors.New("broken"))
	two.SetStatus(codes.Error, "broken")
	two.End()
	one.SetStatus(codes.Ok, "")
	one.End()
	_, three := provider.Tracer("b").Start(context.Background(), "three")
	three.End()
	return recorder.Ended()
}

// What is encoded here is what OpenTelemetry's own encoder would send.
func TestEncoderIsOTLP(t *testing.T) {
	spans := someSpans(t)
	ours, theirs := &sent{}, &sent{}
	if err := (telemetry.Encoder{Client: ours}).ExportSpans(t.Context(), spans); err != nil {
		t.Fatal(err)
	}
	exporter, err := otlptrace.New(t.Context(), theirs)
	if err == nil {
		err = exporter.ExportSpans(t.Context(), spans)
	}
	if err != nil {
		t.Fatal(err)
	}
	byName := func(all []*tracepb.ResourceSpans) (*tracepb.ResourceSpans, map[string]*tracepb.Span, map[string]*tracepb.ScopeSpans) {
		if len(all) != 1 {
			t.Fatalf("%d resources", len(all))
		}
		raw, err := proto.Marshal(all[0])
		decoded := &tracepb.ResourceSpans{}
		if err == nil {
			err = proto.Unmarshal(raw, decoded)
		}
		if err != nil || len(decoded.ProtoReflect().GetUnknown()) > 0 {
			t.Fatalf("not a ResourceSpans: %v", err)
		}
		spans, scopes := map[string]*tracepb.Span{}, map[string]*tracepb.ScopeSpans{}
		for _, s := range decoded.ScopeSpans {
			for _, one := range s.Spans {
				spans[one.Name] = one
			}
			s.Spans = nil
			scopes[s.Scope.Name] = s
		}
		decoded.ScopeSpans = nil
		return decoded, spans, scopes
	}
	gotAll, got, gotScopes := byName(ours.spans)
	wantAll, want, wantScopes := byName(theirs.spans)
	if !proto.Equal(gotAll, wantAll) {
		t.Errorf("resource %v, want %v", gotAll, wantAll)
	}
	if len(got) != 3 || len(gotScopes) != 2 {
		t.Errorf("%d spans of %d scopes", len(got), len(gotScopes))
	}
	for name, w := range want {
		if !proto.Equal(got[name], w) {
			t.Errorf("span\n%v\nwant\n%v", got[name], w)
		}
	}
	for name, w := range wantScopes {
		if !proto.Equal(gotScopes[name], w) {
			t.Errorf("scope\n%v\nwant\n%v", gotScopes[name], w)
		}
	}
}

// BenchmarkEncode is 300 spans on their way to a client.
func BenchmarkEncode(b *testing.B) {
	var spans []sdktrace.ReadOnlySpan
	for range 100 {
		spans = append(spans, someSpans(b)...)
	}
	theirs, err := otlptrace.New(b.Context(), &sent{})
	if err != nil {
		b.Fatal(err)
	}
	for name, exporter := range map[string]sdktrace.SpanExporter{"otel": theirs, "mesh": telemetry.Encoder{Client: &sent{}}} {
		b.Run("impl="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := exporter.ExportSpans(b.Context(), spans); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
