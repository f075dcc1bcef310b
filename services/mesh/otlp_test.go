package main

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// collector is an OTLP receiver, over HTTP and over gRPC.
type collector struct {
	http, grpc string // endpoints

	mu      sync.Mutex
	spans   []span
	metrics map[string]bool
	logs    []*logs.LogRecord
	raw     []byte // everything, as it came by HTTP
}

// span is a span as it came over the wire.
type span struct {
	*tracepb.Span
	service string
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{metrics: map[string]bool{}}
	srv := httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(srv.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	collectortrace.RegisterTraceServiceServer(g, traceService{collector: c})
	collectormetrics.RegisterMetricsServiceServer(g, metricsService{collector: c})
	collectorlogs.RegisterLogsServiceServer(g, logsService{collector: c})
	go func() { _ = g.Serve(l) }()
	t.Cleanup(g.Stop)
	c.http, c.grpc = srv.URL, "http://"+l.Addr().String()
	return c
}

// serve takes protobuf over HTTP.
func (c *collector) serve(w http.ResponseWriter, r *http.Request) {
	var body io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzip, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = unzip
	}
	raw, err := io.ReadAll(body)
	traces, metrics, records := &collectortrace.ExportTraceServiceRequest{}, &collectormetrics.ExportMetricsServiceRequest{}, &collectorlogs.ExportLogsServiceRequest{}
	if err == nil {
		switch r.URL.Path {
		case "/v1/traces":
			err = proto.Unmarshal(raw, traces)
		case "/v1/metrics":
			err = proto.Unmarshal(raw, metrics)
		case "/v1/logs":
			err = proto.Unmarshal(raw, records)
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	c.raw = append(append(c.raw, raw...), '\n')
	c.mu.Unlock()
	c.take(traces, metrics, records)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (c *collector) take(traces *collectortrace.ExportTraceServiceRequest, metrics *collectormetrics.ExportMetricsServiceRequest, records *collectorlogs.ExportLogsServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range traces.GetResourceSpans() {
		for _, s := range r.ScopeSpans {
			for _, one := range s.Spans {
				c.spans = append(c.spans, span{one, service(r.Resource)})
			}
		}
	}
	for _, r := range metrics.GetResourceMetrics() {
		for _, s := range r.ScopeMetrics {
			for _, m := range s.Metrics {
				c.metrics[m.Name] = true
			}
		}
	}
	for _, r := range records.GetResourceLogs() {
		for _, s := range r.ScopeLogs {
			c.logs = append(c.logs, s.LogRecords...)
		}
	}
}

type traceService struct {
	collectortrace.UnimplementedTraceServiceServer
	*collector
}

func (s traceService) Export(_ context.Context, r *collectortrace.ExportTraceServiceRequest) (*collectortrace.ExportTraceServiceResponse, error) {
	s.take(r, nil, nil)
	return &collectortrace.ExportTraceServiceResponse{}, nil
}

type metricsService struct {
	collectormetrics.UnimplementedMetricsServiceServer
	*collector
}

func (s metricsService) Export(_ context.Context, r *collectormetrics.ExportMetricsServiceRequest) (*collectormetrics.ExportMetricsServiceResponse, error) {
	s.take(nil, r, nil)
	return &collectormetrics.ExportMetricsServiceResponse{}, nil
}

type logsService struct {
	collectorlogs.UnimplementedLogsServiceServer
	*collector
}

func (s logsService) Export(_ context.Context, r *collectorlogs.ExportLogsServiceRequest) (*collectorlogs.ExportLogsServiceResponse, error) {
	s.take(nil, nil, r)
	return &collectorlogs.ExportLogsServiceResponse{}, nil
}

func service(r *resource.Resource) string { return attr(r.GetAttributes(), "service.name") }

func attr(all []*common.KeyValue, key string) string {
	for _, kv := range all {
		if kv.Key == key {
			if n, ok := kv.Value.Value.(*common.AnyValue_IntValue); ok {
				return fmt.Sprint(n.IntValue)
			}
			return kv.Value.GetStringValue()
		}
	}
	return ""
}

// trace are the spans of a trace, in the order of their beginning.
func (c *collector) trace(id string) []span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []span
	for _, s := range c.spans {
		if hex.EncodeToString(s.TraceId) == id {
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b span) int { return int(int64(a.StartTimeUnixNano) - int64(b.StartTimeUnixNano)) })
	return all
}

// tree writes a trace as text: each span below its parent, with its kind, the
// process it is from, its error, and after an arrow what it links to.
func (c *collector) tree(id string) string {
	all := c.trace(id)
	names := map[string]string{}
	for _, s := range all {
		names[string(s.SpanId)] = s.Name
	}
	var b strings.Builder
	var below func(parent string, depth int)
	below = func(parent string, depth int) {
		for _, s := range all {
			known := names[string(s.ParentSpanId)] != ""
			if string(s.ParentSpanId) != parent && (depth > 0 || known) {
				continue
			}
			fmt.Fprintf(&b, "%s%s [%s %s]", strings.Repeat("  ", depth), s.Name, strings.ToLower(strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_")), s.service)
			if s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR {
				b.WriteString(" failed")
			}
			for i, l := range s.Links {
				arrow := " <- "
				if i > 0 {
					arrow = ", "
				}
				name := names[string(l.SpanId)]
				if name == "" {
					name = "elsewhere"
				}
				b.WriteString(arrow + name)
			}
			b.WriteString("\n")
			below(string(s.SpanId), depth+1)
		}
	}
	below("", 0)
	return b.String()
}
