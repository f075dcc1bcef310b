package telemetry

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// start begins a span. Its attributes are copied, and only where somebody will see
// them: callers keep theirs on their stacks.
func start(ctx context.Context, name string, kind trace.SpanKind, attrs []attribute.KeyValue, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	if len(opts) == 0 {
		opts = kinds[kind]
	} else {
		opts = append(opts, kinds[kind]...)
	}
	ctx, span := tracer().Start(ctx, name, opts...)
	if span.IsRecording() {
		span.SetAttributes(slices.Clone(attrs)...)
	}
	return ctx, span
}

// kinds are made once.
var kinds = [...][]trace.SpanStartOption{
	trace.SpanKindInternal: {trace.WithSpanKind(trace.SpanKindInternal)},
	trace.SpanKindServer:   {trace.WithSpanKind(trace.SpanKindServer)},
	trace.SpanKindClient:   {trace.WithSpanKind(trace.SpanKindClient)},
	trace.SpanKindProducer: {trace.WithSpanKind(trace.SpanKindProducer)},
	trace.SpanKindConsumer: {trace.WithSpanKind(trace.SpanKindConsumer)},
}

// unseen reports that no span below ctx's is recorded: nothing is, or its trace was not
// sampled in this process. The samplers that OTEL_TRACES_SAMPLER can name decide by the
// parent or by the trace's id, so that they would say the same again.
func unseen(ctx context.Context) (trace.Span, bool) {
	above := trace.SpanFromContext(ctx) // not recording either: ending it twice does nothing
	sc := above.SpanContext()
	return above, !recording.Load() || sc.IsValid() && !sc.IsRemote() && !sc.IsSampled()
}

// StartPublish begins the span of a publish to the subjects of template, such
// as "mesh.tasks.ready".
func StartPublish(ctx context.Context, template string, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	if above, yes := unseen(ctx); yes {
		return ctx, above
	}
	return start(ctx, spanSend+template, trace.SpanKindProducer, messaging(attrs, template, "send"))
}

// Origin is where the work on a message comes from.
type Origin struct {
	Request      string   // traceparent of the request that caused it
	RequestState string   // and its tracestate
	Before       []string // traceparents of what came before: earlier attempts; empty ones do not count
	Always       bool     // under the request also in ModeLink: the caller waits for it
}

// StartProcess begins the span of working on a message. It is a child of the
// request's, or in ModeLink the root of a trace of its own, and is linked to the
// send span whose context hdr carries and to what came before.
func StartProcess(ctx context.Context, template string, hdr map[string][]string, from Origin, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	if !recording.Load() {
		return from.request(ctx)
	}
	return from.start(ctx, spanProcess+template, trace.SpanKindConsumer, hdr, messaging(attrs, template, "process"))
}

// StartFanout begins the span of turning a change into deliveries, where the
// change comes from.
func StartFanout(ctx context.Context, from Origin, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	if !recording.Load() {
		return from.request(ctx)
	}
	return from.start(ctx, SpanFanout, trace.SpanKindInternal, nil, attrs)
}

// request is ctx in the request's trace, without a span of its own.
func (from Origin) request(ctx context.Context) (context.Context, trace.Span) {
	ctx = WithTraceParent(ctx, from.Request, from.RequestState)
	return ctx, trace.SpanFromContext(ctx)
}

// start begins the span of work that comes from somewhere.
func (from Origin) start(ctx context.Context, name string, kind trace.SpanKind, hdr map[string][]string, attrs []attribute.KeyValue) (context.Context, trace.Span) {
	ctx, _ = from.request(ctx)
	var opts []trace.SpanStartOption
	linked := make([]trace.Link, 0, 3)
	link := func(sc trace.SpanContext) {
		for _, l := range linked {
			if l.SpanContext.SpanID() == sc.SpanID() {
				return
			}
		}
		if sc.IsValid() {
			linked = append(linked, trace.Link{SpanContext: sc})
		}
	}
	if links.Load() && !from.Always {
		link(trace.SpanContextFromContext(ctx))
		opts = append(opts, trace.WithNewRoot())
	}
	link(trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier(hdr))))
	for _, before := range from.Before {
		link(trace.SpanContextFromContext(WithTraceParent(context.Background(), before, "")))
	}
	if len(linked) > 0 {
		opts = append(opts, trace.WithLinks(linked...))
	}
	return start(ctx, name, kind, attrs, opts...)
}

func messaging(attrs []attribute.KeyValue, template, operation string) []attribute.KeyValue {
	return append(slices.Clone(attrs), keyMessagingSystem.String(systemNATS), keyMessagingOperation.String(operation),
		keyMessagingType.String(operation), keyMessagingTemplate.String(template))
}

// StartAgent begins the span of one run of an agent. A remote one is called by
// this process and runs in another.
func StartAgent(ctx context.Context, name, version string, remote bool, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	if above, yes := unseen(ctx); yes {
		return ctx, above
	}
	kind := trace.SpanKindInternal
	if remote {
		kind = trace.SpanKindClient
	}
	attrs = append(slices.Clone(attrs), keyGenAIOperation.String(opAgent), keyGenAIAgent.String(name))
	if version != "" {
		attrs = append(attrs, keyGenAIVersion.String(version))
	}
	return start(ctx, spanAgent+name, kind, attrs)
}

// StartInternal begins the span of a step of ours: SpanClaim, SpanCommit or
// SpanFinish.
func StartInternal(ctx context.Context, name string, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	if above, yes := unseen(ctx); yes {
		return ctx, above
	}
	return start(ctx, name, trace.SpanKindInternal, attrs)
}

// StartSchedule begins the root of a trace: of a task that a schedule starts.
func StartSchedule(ctx context.Context, id string) (context.Context, trace.Span) {
	return start(ctx, SpanSchedule, trace.SpanKindInternal, []attribute.KeyValue{keyScheduleID.String(id)}, trace.WithNewRoot())
}

// Link links ctx's span to the one of a traceparent, if both exist.
func Link(ctx context.Context, traceparent string) {
	span := trace.SpanFromContext(ctx)
	if traceparent == "" || !span.IsRecording() {
		return
	}
	if sc := trace.SpanContextFromContext(WithTraceParent(context.Background(), traceparent, "")); sc.IsValid() {
		span.AddLink(trace.Link{SpanContext: sc})
	}
}

// Annotate adds attributes to ctx's span, if it is recorded.
func Annotate(ctx context.Context, attrs ...attribute.KeyValue) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(slices.Clone(attrs)...)
	}
}

// Recorded is ctx's span in W3C form if it is recorded, for who links to it
// later; empty otherwise.
func Recorded(ctx context.Context) string {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return ""
	}
	return TraceParent(ctx)
}

// End ends a span, as failed when err is not nil.
func End(span trace.Span, err error) {
	if err != nil && span.IsRecording() {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}
