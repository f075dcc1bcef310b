package telemetry

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// Names of the fields by which a log line names its span.
const (
	logTraceID = "trace_id"
	logSpanID  = "span_id"
)

// LogHandler passes records on to next with the trace and span of their
// context, and to the exporter if there is one, which gets them in their trace.
func (e *Exports) LogHandler(next slog.Handler) slog.Handler {
	h := &logHandler{console: next}
	if e.logs != nil {
		h.export = e.logs
	}
	return h
}

type logHandler struct {
	console slog.Handler
	export  slog.Handler // nil: none
	trace   trace.TraceID
	grouped bool
}

func (h *logHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.console.Enabled(ctx, l)
}

func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	sc := trace.SpanContextFromContext(ctx)
	if h.export != nil {
		if err := h.export.Handle(h.inTrace(ctx, sc, r), r); err != nil {
			return err
		}
	}
	if sc.IsValid() && !h.grouped {
		r = r.Clone()
		if !h.trace.IsValid() && !has(r, logTraceID) {
			r.AddAttrs(slog.String(logTraceID, sc.TraceID().String()))
		}
		r.AddAttrs(slog.String(logSpanID, sc.SpanID().String()))
	}
	return h.console.Handle(ctx, r)
}

// inTrace is ctx, or where it has no span one with the trace that the record
// names.
func (h *logHandler) inTrace(ctx context.Context, sc trace.SpanContext, r slog.Record) context.Context {
	if sc.IsValid() {
		return ctx
	}
	id := h.trace
	if !id.IsValid() {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == logTraceID {
				id, _ = trace.TraceIDFromHex(a.Value.String())
			}
			return a.Key != logTraceID
		})
	}
	if !id.IsValid() {
		return ctx
	}
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: id}))
}

func has(r slog.Record, key string) (found bool) {
	r.Attrs(func(a slog.Attr) bool {
		found = found || a.Key == key
		return !found
	})
	return found
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.console = h.console.WithAttrs(attrs)
	if h.export != nil {
		c.export = h.export.WithAttrs(attrs)
	}
	for _, a := range attrs {
		if a.Key == logTraceID && !h.grouped {
			c.trace, _ = trace.TraceIDFromHex(a.Value.String())
		}
	}
	return &c
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	c := *h
	c.console, c.grouped = h.console.WithGroup(name), c.grouped || name != ""
	if h.export != nil {
		c.export = h.export.WithGroup(name)
	}
	return &c
}
