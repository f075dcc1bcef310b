// Package telemetry joins what one request causes into one OpenTelemetry
// trace: HTTP call, queue, attempt, agent, callback. It carries the W3C trace
// context through message headers, counts and measures, and exports traces,
// metrics and logs where the standard OTEL_* environment says so. Without such a
// setting it is silent and nearly free, yet every request still has a valid
// trace id.
//
// It has the names of every span, attribute and metric of the mesh (names.go),
// but imports none of its types: it knows tasks, sessions and deliveries by name
// only. It never blocks a request: the exporters have bounded queues that drop.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	otelruntime "go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	promexport "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config of a process's telemetry. Where it goes and what is sampled, the
// standard OTEL_* environment says.
type Config struct {
	Mode    Mode `flag:"trace-mode" env:"MESH_TRACE_MODE" help:"parent: a request is one trace, to its last callback; link: each attempt and each delivery begins a trace of its own, linked to the request's"`
	Content bool `flag:"trace-content" env:"MESH_TRACE_CONTENT" help:"put what is said to models and tools, and what they answer, on spans; secrets and what redact names are masked there, too"`
}

// Mode says how attempts and deliveries join the trace of their request.
type Mode string

// The modes.
const (
	ModeParent Mode = "parent"
	ModeLink   Mode = "link"
)

// DefaultConfig is one trace for each request.
func DefaultConfig() Config { return Config{Mode: ModeParent} }

func (c Config) validate() error {
	if c.Mode != ModeParent && c.Mode != ModeLink {
		return fmt.Errorf("trace-mode is %q, allowed are parent and link", c.Mode)
	}
	return nil
}

// Exports is where a process's telemetry goes.
type Exports struct {
	// Metrics is the Prometheus text of the metrics; nil: nobody asked for it.
	Metrics http.Handler

	logs      *otelslog.Handler             // nil: logs are not exported
	shutdowns []func(context.Context) error // of traces, metrics and logs
}

// Shutdown sends what is still queued, as long as ctx lasts. Traces, metrics and
// logs are sent at once: a collector of one that hangs keeps none of the others.
func (e *Exports) Shutdown(ctx context.Context) error {
	errs := make([]error, len(e.shutdowns))
	var all sync.WaitGroup
	for i, f := range e.shutdowns {
		all.Go(func() { errs[i] = f(ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// Flush sends what is still queued, for a little while.
func (e *Exports) Flush() {
	ctx, cancel := context.WithTimeout(context.Background(), flushWithin)
	defer cancel()
	_ = e.Shutdown(ctx) // a collector that is away was reported already
}

const flushWithin = 3 * time.Second

// Start sets up the process's telemetry. scraped asks for Exports.Metrics.
func Start(ctx context.Context, cfg Config, service, version string, scraped bool) (*Exports, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	links.Store(cfg.Mode == ModeLink)
	content.Store(cfg.Content)
	otel.SetTextMapPropagator(w3c)
	res, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(), resource.WithProcessPID(),
		resource.WithAttributes(attribute.String("service.name", service), attribute.String("service.version", version)),
		resource.WithFromEnv()) // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win
	if err != nil {
		return nil, fmt.Errorf("describe this process for telemetry: %w", err)
	}
	e := &Exports{}
	if err := e.startMetrics(ctx, res, version, scraped); err != nil {
		return nil, fmt.Errorf("start metrics: %w", err)
	}
	if err := e.startTraces(ctx, res); err != nil {
		return nil, fmt.Errorf("start trace export: %w", err)
	}
	if err := e.startLogs(ctx, res); err != nil {
		return nil, fmt.Errorf("start log export: %w", err)
	}
	return e, nil
}

func (e *Exports) startTraces(ctx context.Context, res *resource.Resource) error {
	if !exporting("TRACES") {
		// Ids without spans: nothing is sampled, nothing is kept.
		Use(sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())), false)
		return nil
	}
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return err
	}
	batcher, stop := newBatcher(exporter)
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(batcher), sdktrace.WithResource(res))
	Use(provider, true)
	e.shutdowns = append(e.shutdowns, func(ctx context.Context) error { defer stop(); return provider.Shutdown(ctx) })
	return nil
}

func (e *Exports) startMetrics(ctx context.Context, res *resource.Resource, version string, scraped bool) error {
	dropMeter()
	opts := []sdkmetric.Option{sdkmetric.WithResource(res)}
	if scraped {
		registry := prometheus.NewRegistry()
		reader, err := promexport.New(promexport.WithRegisterer(registry), promexport.WithoutScopeInfo(), promexport.WithoutTargetInfo(),
			promexport.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes))
		if err != nil {
			return err
		}
		opts = append(opts, sdkmetric.WithReader(reader))
		e.Metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	}
	if exporting("METRICS") {
		reader, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return err
		}
		opts = append(opts, sdkmetric.WithReader(reader))
	}
	if len(opts) == 1 {
		return nil
	}
	provider := sdkmetric.NewMeterProvider(opts...)
	if err := useMeter(provider.Meter(scope)); err != nil {
		return err
	}
	stop := Observe(func(_ context.Context, set func(*Gauge, float64, ...string)) {
		set(BuildInfo, 1, version, runtime.Version())
	})
	e.shutdowns = append(e.shutdowns, func(ctx context.Context) error { defer stop(); return provider.Shutdown(ctx) })
	return otelruntime.Start(otelruntime.WithMeterProvider(provider))
}

func (e *Exports) startLogs(ctx context.Context, res *resource.Resource) error {
	if !exporting("LOGS") {
		return nil
	}
	exporter, err := autoexport.NewLogExporter(ctx)
	if err != nil {
		return err
	}
	provider := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter)), sdklog.WithResource(res))
	e.logs = otelslog.NewHandler(scope, otelslog.WithLoggerProvider(provider))
	e.shutdowns = append(e.shutdowns, provider.Shutdown)
	return nil
}

// ReportTo has the trouble of exporters said in log, at most once a minute: a
// collector that is away is away for every batch.
func ReportTo(log *slog.Logger) {
	var last atomic.Int64
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		now, before := time.Now().Unix(), last.Load()
		if now-before >= 60 && last.CompareAndSwap(before, now) {
			log.Warn("telemetry is not exported, what finds no room is dropped", "error", err)
		}
	}))
}

// Use makes provider the process's own. Where nothing is recorded, only the
// span of a request exists, for its trace id: three spans less for each task
// are 4 % of the CPU that the mesh spends on one.
func Use(provider trace.TracerProvider, records bool) {
	otel.SetTracerProvider(provider)
	own := provider.Tracer(scope)
	current.Store(&own)
	recording.Store(records)
}

// current is the process's tracer: asking the provider for it takes a lock and a
// look-up for each span.
var current atomic.Pointer[trace.Tracer]

func tracer() trace.Tracer {
	if t := current.Load(); t != nil {
		return *t
	}
	return otel.Tracer(scope) // before Start
}

var recording, links atomic.Bool

// Recording reports whether spans may be recorded: without, attributes are for nobody.
func Recording() bool { return recording.Load() }

// exporting reports whether the environment asks for the export of a signal.
func exporting(signal string) bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_"+signal+"_EXPORTER") == "none" {
		return false
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_" + signal + "_ENDPOINT", "OTEL_" + signal + "_EXPORTER"} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
}

var w3c = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
