package telemetry

import (
	"context"
	"encoding/hex"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// carrier adapts message headers to propagation. It writes lower-case keys, as
// the W3C spells them, and reads any case: the headers of messages are
// case-sensitive, and foreign publishers may use HTTP's.
type carrier map[string][]string

func (c carrier) Set(key, value string) { c[strings.ToLower(key)] = []string{value} }

func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for key := range c {
		keys = append(keys, key)
	}
	return keys
}

func (c carrier) Get(key string) string {
	for name, values := range c {
		if len(values) > 0 && strings.EqualFold(name, key) {
			return values[0]
		}
	}
	return ""
}

// Inject writes ctx's trace context into message headers.
func Inject(ctx context.Context, hdr map[string][]string) { w3c.Inject(ctx, carrier(hdr)) }

// Extract returns ctx with the trace context of message headers, if any.
func Extract(ctx context.Context, hdr map[string][]string) context.Context {
	return w3c.Extract(ctx, carrier(hdr))
}

// WithTraceParent returns ctx with a remote parent in W3C form. An empty or
// malformed traceparent leaves ctx as it is.
func WithTraceParent(ctx context.Context, traceparent, tracestate string) context.Context {
	if traceparent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, &pair{traceparent, tracestate})
}

// pair is a carrier of one trace context.
type pair struct{ parent, state string }

func (p *pair) Get(key string) string {
	switch key {
	case "traceparent":
		return p.parent
	case "tracestate":
		return p.state
	}
	return ""
}

func (p *pair) Set(string, string) {}
func (p *pair) Keys() []string     { return []string{"traceparent", "tracestate"} }

// TraceParent is ctx's span in W3C form, empty when there is none.
func TraceParent(ctx context.Context) string {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return ""
	}
	id, span, flags := sc.TraceID(), sc.SpanID(), sc.TraceFlags()
	text := append(make([]byte, 0, 55), "00-"...)
	text = append(hex.AppendEncode(text, id[:]), '-')
	text = append(hex.AppendEncode(text, span[:]), '-')
	return string(hex.AppendEncode(text, []byte{byte(flags)}))
}

// TraceState is the vendor part of ctx's span, empty when there is none.
func TraceState(ctx context.Context) string {
	return trace.SpanContextFromContext(ctx).TraceState().String()
}

// TraceID is ctx's trace id in 32 hex digits, empty when there is none.
func TraceID(ctx context.Context) string {
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		return sc.TraceID().String()
	}
	return ""
}

// TraceIDOf is the trace id within a traceparent, empty when it has none.
func TraceIDOf(traceparent string) string {
	if len(traceparent) < 35 || traceparent[2] != '-' || traceparent[35-1] == '-' {
		return ""
	}
	return traceparent[3:35]
}

// InjectHTTP writes ctx's trace context into the headers of a request. Baggage
// stays with us: the request goes to strangers.
func InjectHTTP(ctx context.Context, hdr http.Header) {
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(hdr))
}
