package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"agentmesh/shared/telemetry"
)

// A line has the trace and the span of its context, whether it goes to the
// console or to a collector; where there is no context, the trace that it names.
func TestLogsJoinTheirTrace(t *testing.T) {
	var got []*logs.LogRecord
	sink := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		var req collector.ExportLogsServiceRequest
		if err == nil && r.URL.Path == "/v1/logs" && proto.Unmarshal(raw, &req) == nil {
			for _, r := range req.ResourceLogs {
				for _, s := range r.ScopeLogs {
					got = append(got, s.LogRecords...)
				}
			}
		}
	}))
	defer sink.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", sink.URL+"/v1/logs")
	exports, err := telemetry.Start(t.Context(), telemetry.DefaultConfig(), "test", "1", false)
	if err != nil {
		t.Fatal(err)
	}
	var console bytes.Buffer
	log := slog.New(exports.LogHandler(slog.NewJSONHandler(&console, nil)))
	ctx := telemetry.WithTraceParent(t.Context(), parent, "")
	traceID, spanID := parent[3:35], parent[36:52]
	log.InfoContext(ctx, "one")
	log.With("trace_id", traceID).InfoContext(ctx, "two")
	log.With("trace_id", traceID).Info("three")
	log.Info("four", "trace_id", traceID)
	log.Info("five")
	log.Debug("left out")
	if err := exports.Shutdown(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	wantTrace := []bool{true, true, true, true, false}
	wantSpan := []bool{true, true, false, false, false}
	lines := bytes.Split(bytes.TrimSpace(console.Bytes()), []byte("\n"))
	if len(lines) != 5 || len(got) != 5 {
		t.Fatalf("%d lines and %d records:\n%s", len(lines), len(got), console.Bytes())
	}
	for i, raw := range lines {
		var line map[string]any
		if err := json.Unmarshal(raw, &line); err != nil {
			t.Fatal(err)
		}
		if (line["trace_id"] == traceID) != wantTrace[i] || (line["span_id"] == spanID) != wantSpan[i] || bytes.Count(raw, []byte("trace_id")) > 1 {
			t.Errorf("line %s", raw)
		}
		if (len(got[i].TraceId) == 16) != wantTrace[i] || (len(got[i].SpanId) == 8) != wantSpan[i] {
			t.Errorf("record %v", got[i])
		}
	}
}

type outcome string

type seconds int

func (s seconds) String() string { return strconv.Itoa(int(s)) + "s" }

// A collector gets what the console shows, also of values that have types of
// their own.
func TestExportedLogsSayWhatTheConsoleSays(t *testing.T) {
	var got []*logs.LogRecord
	sink := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		var req collector.ExportLogsServiceRequest
		if err == nil && proto.Unmarshal(raw, &req) == nil {
			got = append(got, req.ResourceLogs[0].ScopeLogs[0].LogRecords...)
		}
	}))
	defer sink.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", sink.URL+"/v1/logs")
	exports, err := telemetry.Start(t.Context(), telemetry.DefaultConfig(), "test", "1", false)
	if err != nil {
		t.Fatal(err)
	}
	var console bytes.Buffer
	log := slog.New(exports.LogHandler(slog.NewTextHandler(&console, nil))).With("with", outcome("completed")) // the console decides what is logged
	log.Info("one", "outcome", outcome("failed"), "took", seconds(3), "kinds", []outcome{"a", "b"}, slog.Group("in", "it", outcome("lost")), "n", 7, "func", func() {}, "error", io.EOF)
	if err := exports.Shutdown(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 {
		t.Fatalf("%d records", len(got))
	}
	all := ""
	for _, a := range got[0].Attributes {
		all += a.String() + "\n"
	}
	if strings.Contains(all, "unhandled") {
		t.Errorf("the exporter has no word for a value:\n%s", all)
	}
	for _, want := range []string{"completed", "failed", "3s", `"a"`, `"b"`, "lost", "7", "EOF"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %s in\n%s", want, all)
		}
	}
}
