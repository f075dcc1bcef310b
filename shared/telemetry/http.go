package telemetry

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// HTTPMiddleware traces a request as a server span named after its method and
// route ("POST /tasks"), and measures it. It belongs inside the router, where
// the route is known. It takes the caller's traceparent, and leaves the
// ResponseWriter's optional methods reachable through http.ResponseController.
//
// It is written out because otelhttp wraps each body and writer in more layers,
// recorded or not.
func HTTPMiddleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		ctx, span := startServer(r)
		r = r.WithContext(ctx)
		recorded := span.IsRecording()
		if !recorded && HTTPDuration.now.Load() == nil {
			defer span.End()
			next.ServeHTTP(w, r)
			return
		}
		sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			status := strconv.Itoa(sw.status)
			HTTPDuration.Record(time.Since(began), r.Method, r.Pattern, status)
			if recorded {
				span.SetAttributes(keyHTTPStatus.Int(sw.status))
				if sw.status >= 500 {
					span.SetAttributes(keyErrorType.String(status))
					span.SetStatus(codes.Error, http.StatusText(sw.status))
				}
			}
			span.End()
		}()
		next.ServeHTTP(sw, r)
	})
}

// startServer begins the span of a request, in the trace of its caller if it has one.
func startServer(r *http.Request) (context.Context, trace.Span) {
	ctx := r.Context()
	if len(r.Header["Traceparent"])+len(r.Header["Baggage"]) > 0 {
		ctx = w3c.Extract(ctx, propagation.HeaderCarrier(r.Header))
	}
	return start(ctx, r.Method+" "+r.Pattern, trace.SpanKindServer, []attribute.KeyValue{
		keyHTTPMethod.String(r.Method), keyHTTPRoute.String(r.Pattern), keyURLPath.String(r.URL.Path), keyURLScheme.String("http"),
	})
}

// RequestTraceID is the trace id of a request's span. One that is refused before it has
// a span is of its caller's trace, or gets an id of its own: whoever is refused has
// something to name.
func RequestTraceID(r *http.Request) string {
	if id := TraceID(r.Context()); id != "" {
		return id
	}
	if id := TraceID(w3c.Extract(context.Background(), propagation.HeaderCarrier(r.Header))); id != "" {
		return id
	}
	return NewTraceID()
}

// NewTraceID is an id for what has no trace.
func NewTraceID() string {
	for {
		var id trace.TraceID
		_, _ = rand.Read(id[:]) // it never fails
		if id.IsValid() {
			return id.String()
		}
	}
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap serves http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// StartRequest begins the client span of a request that goes out to to. The span
// names the host and nothing more of the URL: paths and queries of receivers
// hold secrets.
func StartRequest(ctx context.Context, method string, to *url.URL) (context.Context, trace.Span) {
	if above, yes := unseen(ctx); yes {
		return ctx, above
	}
	attrs := append(make([]attribute.KeyValue, 0, 4), keyHTTPMethod.String(method), keyServerAddress.String(to.Hostname()), keyURLScheme.String(to.Scheme))
	if port, err := strconv.Atoi(to.Port()); err == nil {
		attrs = append(attrs, keyServerPort.Int(port))
	}
	return start(ctx, method, trace.SpanKindClient, attrs)
}

// EndRequest ends a client span with the answer's status, or without one with
// the kind of error.
func EndRequest(span trace.Span, status int, kind string) {
	if span.IsRecording() {
		if status > 0 {
			span.SetAttributes(keyHTTPStatus.Int(status))
			if status >= 400 {
				kind = strconv.Itoa(status)
			}
		}
		if kind != "" {
			span.SetAttributes(keyErrorType.String(kind))
			span.SetStatus(codes.Error, kind)
		}
	}
	span.End()
}
