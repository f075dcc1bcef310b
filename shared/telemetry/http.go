package telemetry

import (
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// HTTPMiddleware traces a request as a server span named after its method and
// route ("POST /tasks"). It belongs inside the router, where the route is
// known. It takes the caller's traceparent, and leaves the ResponseWriter's
// optional methods reachable through http.ResponseController.
//
// It is written out because only the span is wanted: otelhttp adds metrics and
// a wrapped body to each request, recorded or not.
func HTTPMiddleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := w3c.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := otel.Tracer(scope).Start(ctx, r.Method+" "+r.Pattern, trace.WithSpanKind(trace.SpanKindServer))
		r = r.WithContext(ctx)
		if !span.IsRecording() {
			defer span.End()
			next.ServeHTTP(w, r)
			return
		}
		span.SetAttributes(keyHTTPMethod.String(r.Method), keyHTTPRoute.String(r.Pattern), keyURLPath.String(r.URL.Path), keyURLScheme.String("http"))
		sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			span.SetAttributes(keyHTTPStatus.Int(sw.status))
			if sw.status >= 500 {
				span.SetAttributes(keyErrorType.String(strconv.Itoa(sw.status)))
				span.SetStatus(codes.Error, http.StatusText(sw.status))
			}
			span.End()
		}()
		next.ServeHTTP(sw, r)
	})
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
