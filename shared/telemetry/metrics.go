package telemetry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Instrument is the name of a metric and the labels that its values have.
type Instrument struct {
	Name, Unit, Help string
	Labels           []string

	sets atomic.Pointer[map[labels]metric.MeasurementOption]
	mu   sync.Mutex // of who adds a set
}

// labels are the values of an instrument's labels, in their order.
type labels [4]string

// maxSets bounds the label sets that are kept ready for an instrument. Later sets
// cost more and count all the same.
const maxSets = 2000

// Counter counts events; Histogram has the distribution of durations in
// seconds, or of numbers; Gauge is read when somebody asks, see Observe. They cost next to
// nothing while nobody has asked for metrics.
type (
	Counter struct {
		Instrument
		now atomic.Pointer[metric.Int64Counter]
	}
	Histogram struct {
		Instrument
		buckets []float64
		now     atomic.Pointer[metric.Float64Histogram]
	}
	Gauge struct{ Instrument }
)

var (
	counters   []*Counter
	histograms []*Histogram
	gauges     []*Gauge
)

// Instruments lists every instrument, in the order of their names.
func Instruments() []*Instrument {
	var all []*Instrument
	for _, c := range counters {
		all = append(all, &c.Instrument)
	}
	for _, h := range histograms {
		all = append(all, &h.Instrument)
	}
	for _, g := range gauges {
		all = append(all, &g.Instrument)
	}
	slices.SortFunc(all, func(a, b *Instrument) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all
}

func counter(name, unit, help string, labels ...string) *Counter {
	c := &Counter{Instrument: Instrument{Name: name, Unit: unit, Help: help, Labels: labels}}
	counters = append(counters, c)
	return c
}

func histogram(name, help string, labels ...string) *Histogram {
	h := &Histogram{Instrument: Instrument{Name: name, Unit: "s", Help: help, Labels: labels}, buckets: buckets}
	histograms = append(histograms, h)
	return h
}

// tokens is the distribution of numbers of tokens.
func tokens(name, help string, labels ...string) *Histogram {
	h := histogram(name, help, labels...)
	h.Unit, h.buckets = "{token}", tokenBuckets
	return h
}

func gauge(name, unit, help string, labels ...string) *Gauge {
	g := &Gauge{Instrument: Instrument{Name: name, Unit: unit, Help: help, Labels: labels}}
	gauges = append(gauges, g)
	return g
}

// set is the attribute set of label values. The sets are few and kept: making
// one costs more than counting.
func (i *Instrument) set(values []string) metric.MeasurementOption {
	if len(values) != len(i.Labels) {
		panic(fmt.Sprintf("metric %s has the labels %v, got %d values", i.Name, i.Labels, len(values)))
	}
	var key labels
	copy(key[:], values)
	known := i.sets.Load()
	if known != nil {
		if o, ok := (*known)[key]; ok {
			return o
		}
	}
	attrs := make([]attribute.KeyValue, 0, len(values))
	for n, v := range values {
		if v != "" { // what went well has no error.type
			attrs = append(attrs, attribute.String(i.Labels[n], v))
		}
	}
	o := metric.WithAttributeSet(attribute.NewSet(attrs...))
	i.mu.Lock()
	defer i.mu.Unlock()
	next := map[labels]metric.MeasurementOption{}
	if known = i.sets.Load(); known != nil {
		if len(*known) >= maxSets {
			return o
		}
		next = maps.Clone(*known)
	}
	next[key] = o
	i.sets.Store(&next)
	return o
}

// Add counts n more, by the values of the counter's labels in their order.
// Adding 0 has a series begin before its first event, so that its first
// increase is seen.
func (c *Counter) Add(n int64, values ...string) {
	if now := c.now.Load(); now != nil {
		(*now).Add(context.Background(), n, c.set(values))
	}
}

// Record takes a duration, by the values of the histogram's labels.
func (h *Histogram) Record(d time.Duration, values ...string) {
	if now := h.now.Load(); now != nil {
		(*now).Record(context.Background(), d.Seconds(), h.set(values))
	}
}

// Number takes a number, by the values of the histogram's labels.
func (h *Histogram) Number(n int64, values ...string) {
	if now := h.now.Load(); now != nil {
		(*now).Record(context.Background(), float64(n), h.set(values))
	}
}

// Observe has f called whenever metrics are read, until stop. f sets the gauges
// that it knows; ctx bounds its time.
func Observe(f func(ctx context.Context, set func(g *Gauge, v float64, values ...string))) (stop func()) {
	observers.mu.Lock()
	defer observers.mu.Unlock()
	observers.next++
	n := observers.next
	observers.all[n] = f
	return func() {
		observers.mu.Lock()
		defer observers.mu.Unlock()
		delete(observers.all, n)
	}
}

type observer = func(ctx context.Context, set func(g *Gauge, v float64, values ...string))

var observers = struct {
	mu   sync.Mutex
	next int
	all  map[int]observer
}{all: map[int]observer{}}

// observeWithin bounds what reading the gauges may take: a store that is away
// must not hold up who asks for metrics.
const observeWithin = 3 * time.Second

// buckets of durations: agents take from a millisecond to hours.
var buckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600}

// tokenBuckets are those of the conventions.
var tokenBuckets = []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}

// useMeter has every instrument count with m.
func useMeter(m metric.Meter) error {
	for _, c := range counters {
		now, err := m.Int64Counter(c.Name, metric.WithUnit(c.Unit), metric.WithDescription(c.Help))
		if err != nil {
			return err
		}
		c.now.Store(&now)
	}
	for _, h := range histograms {
		now, err := m.Float64Histogram(h.Name, metric.WithUnit(h.Unit), metric.WithDescription(h.Help), metric.WithExplicitBucketBoundaries(h.buckets...))
		if err != nil {
			return err
		}
		h.now.Store(&now)
	}
	observed := map[*Gauge]metric.Float64Observable{}
	var all []metric.Observable
	for _, g := range gauges {
		now, err := m.Float64ObservableGauge(g.Name, metric.WithUnit(g.Unit), metric.WithDescription(g.Help))
		if err != nil {
			return err
		}
		observed[g] = now
		all = append(all, now)
	}
	_, err := m.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		ctx, cancel := context.WithTimeout(ctx, observeWithin)
		defer cancel()
		observers.mu.Lock()
		fs := slices.Collect(maps.Values(observers.all))
		observers.mu.Unlock()
		for _, f := range fs {
			f(ctx, func(g *Gauge, v float64, values ...string) { o.ObserveFloat64(observed[g], v, g.set(values)) })
		}
		return nil
	}, all...)
	return err
}

// dropMeter has every instrument count nothing.
func dropMeter() {
	for _, c := range counters {
		c.now.Store(nil)
	}
	for _, h := range histograms {
		h.now.Store(nil)
	}
}
