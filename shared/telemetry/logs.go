package telemetry

import (
	"context"
	"encoding"
	"fmt"
	"log/slog"
	"reflect"
	"slices"

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
		if err := h.export.Handle(h.inTrace(ctx, sc, r), plainRecord(r)); err != nil {
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
		c.export = h.export.WithAttrs(plainAttrs(attrs))
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

// plainRecord is r with values that the exporter can say. It knows the types of
// the language and no others: of a string that has a type of its own it would
// say "unhandled".
func plainRecord(r slog.Record) slog.Record {
	attrs := make([]slog.Attr, 0, r.NumAttrs())
	r.Attrs(func(a slog.Attr) bool { attrs = append(attrs, a); return true })
	c := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	c.AddAttrs(plainAttrs(attrs)...)
	return c
}

func plainAttrs(attrs []slog.Attr) []slog.Attr {
	attrs = slices.Clone(attrs)
	for i, a := range attrs {
		v := a.Value.Resolve()
		switch v.Kind() {
		case slog.KindAny:
			v = slog.AnyValue(plain(v.Any()))
		case slog.KindGroup:
			v = slog.GroupValue(plainAttrs(v.Group())...)
		}
		attrs[i].Value = v
	}
	return attrs
}

// plain is v in types of the language.
func plain(v any) any {
	switch v := v.(type) {
	case nil, error, []byte:
		return v
	case encoding.TextMarshaler: // as the console has it
		if text, err := v.MarshalText(); err == nil {
			return string(text)
		}
	case fmt.Stringer:
		return v.String()
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.String:
		return r.String()
	case reflect.Bool:
		return r.Bool()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return r.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return r.Uint()
	case reflect.Float32, reflect.Float64:
		return r.Float()
	case reflect.Slice, reflect.Array:
		all := make([]any, r.Len())
		for i := range all {
			all[i] = plain(r.Index(i).Interface())
		}
		return all
	default:
		return fmt.Sprintf("%+v", v)
	}
}
