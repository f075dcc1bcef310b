package telemetry

import (
	"context"
	"os"
	"sync/atomic"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Sizes of the queue to the exporter, unless OTEL_BSP_* says otherwise. The
// mesh makes tens of thousands of spans a second at its fastest; 8192 of them
// take some 10 MB.
const (
	spanQueue = 8192
	spanBatch = 2048
)

// newBatcher sends spans on in batches, and counts them. A span that finds the
// queue full is dropped.
func newBatcher(e sdktrace.SpanExporter) (batcher sdktrace.SpanProcessor, stop func()) {
	var opts []sdktrace.BatchSpanProcessorOption
	if os.Getenv("OTEL_BSP_MAX_QUEUE_SIZE") == "" && os.Getenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE") == "" {
		opts = append(opts, sdktrace.WithMaxQueueSize(spanQueue), sdktrace.WithMaxExportBatchSize(spanBatch))
	}
	recorded := new(atomic.Int64)
	stop = Observe(func(context.Context, func(*Gauge, float64, ...string)) {
		SpansExported.Add(recorded.Swap(0), "recorded")
	})
	return countedProcessor{sdktrace.NewBatchSpanProcessor(countedExporter{e}, opts...), recorded}, stop
}

// countedProcessor counts the spans that are recorded.
type countedProcessor struct {
	sdktrace.SpanProcessor
	recorded *atomic.Int64 // since somebody asked
}

func (p countedProcessor) OnEnd(s sdktrace.ReadOnlySpan) {
	p.recorded.Add(1)
	p.SpanProcessor.OnEnd(s)
}

// countedExporter counts what becomes of spans.
type countedExporter struct{ sdktrace.SpanExporter }

func (e countedExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	result := "exported"
	if err != nil {
		result = "failed"
	}
	SpansExported.Add(int64(len(spans)), result)
	return err
}
