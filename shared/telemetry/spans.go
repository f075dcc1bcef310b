package telemetry

import (
	"context"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

func start(ctx context.Context, name string, kind trace.SpanKind, attrs []attribute.KeyValue, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	if !recording.Load() {
		return ctx, trace.SpanFromContext(ctx) // not recording either: ending it twice does nothing
	}
	ctx, span := otel.Tracer(scope).Start(ctx, name, append(opts, trace.WithSpanKind(kind))...)
	if span.IsRecording() { // attributes cost nothing when nobody sees them
		span.SetAttributes(attrs...)
	}
	return ctx, span
}

// StartPublish begins the span of a publish to the subjects of template, such
// as "mesh.tasks.ready".
func StartPublish(ctx context.Context, template string, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	ctx, span := start(ctx, "send "+template, trace.SpanKindProducer, attrs)
	messaging(span, template, "send")
	return ctx, span
}

// StartProcess begins the span of working on a message: a child of ctx's span,
// linked to the send span whose context hdr carries.
func StartProcess(ctx context.Context, template string, hdr nats.Header, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	if !recording.Load() {
		return ctx, trace.SpanFromContext(ctx)
	}
	var opts []trace.SpanStartOption
	if sent := trace.SpanContextFromContext(Extract(context.Background(), hdr)); sent.IsValid() {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: sent}))
	}
	ctx, span := start(ctx, "process "+template, trace.SpanKindConsumer, attrs, opts...)
	messaging(span, template, "process")
	return ctx, span
}

func messaging(span trace.Span, template, operation string) {
	if span.IsRecording() {
		span.SetAttributes(keyMessagingSystem.String(systemNATS), keyMessagingOperation.String(operation),
			keyMessagingType.String(operation), keyMessagingTemplate.String(template))
	}
}

// StartAgent begins the span of one run of an agent.
func StartAgent(ctx context.Context, name string, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	ctx, span := start(ctx, "invoke_agent "+name, trace.SpanKindInternal, attrs)
	if span.IsRecording() {
		span.SetAttributes(keyGenAIOperation.String("invoke_agent"), keyGenAIAgent.String(name))
	}
	return ctx, span
}

// End ends a span, as failed when err is not nil.
func End(span trace.Span, err error) {
	if err != nil && span.IsRecording() {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}
