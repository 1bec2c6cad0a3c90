package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"tyk_proxy/telemetry/names"
)

func newHistogram(meter metric.Meter, name string) (metric.Float64Histogram, error) {
	m := names.MetricNamed(name)
	histogram, err := meter.Float64Histogram(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Meaning),
		metric.WithExplicitBucketBoundaries(m.Buckets...))
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", m.Name, err)
	}
	return histogram, nil
}

func newCounter(meter metric.Meter, name string) (metric.Int64Counter, error) {
	m := names.MetricNamed(name)
	counter, err := meter.Int64Counter(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Meaning))
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", m.Name, err)
	}
	return counter, nil
}

// observation reports one value of an instrument that is read at each scrape.
type observation func(value int64, labels ...attribute.KeyValue)

// observe has a metric of the catalogue read at each scrape.
func (p *Providers) observe(name string, read func(observation)) error {
	m, meter := names.MetricNamed(name), p.Meters.Meter(names.Scope)
	var instrument metric.Int64Observable
	var err error
	switch m.Kind { //nolint:exhaustive // a histogram is recorded, not read
	case names.KindCounter:
		instrument, err = meter.Int64ObservableCounter(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Meaning))
	case names.KindGauge:
		instrument, err = meter.Int64ObservableGauge(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Meaning))
	default:
		instrument, err = meter.Int64ObservableUpDownCounter(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Meaning))
	}
	if err == nil {
		_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
			read(func(value int64, labels ...attribute.KeyValue) {
				o.ObserveInt64(instrument, value, metric.WithAttributes(labels...))
			})
			return nil
		}, instrument)
	}
	if err != nil {
		return fmt.Errorf("creating %s: %w", m.Name, err)
	}
	return nil
}

// readyOptions are ready-made options of one histogram, by label values. The first
// measurement of a series makes them; later ones only look them up. It is safe
// for concurrent use.
type readyOptions[K comparable] struct {
	mu      sync.RWMutex
	options map[K][]metric.RecordOption
	labels  func(K) []attribute.KeyValue
}

func newReadyOptions[K comparable](labels func(K) []attribute.KeyValue) *readyOptions[K] {
	return &readyOptions[K]{options: make(map[K][]metric.RecordOption), labels: labels}
}

func (s *readyOptions[K]) of(key K) []metric.RecordOption {
	s.mu.RLock()
	options, ok := s.options[key]
	s.mu.RUnlock()
	if ok {
		return options
	}
	options = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(s.labels(key)...))}
	s.mu.Lock()
	s.options[key] = options
	s.mu.Unlock()
	return options
}

// serverLabels are the labels of http.server.request.duration.
func serverLabels(s routeSeries) []attribute.KeyValue {
	labels := []attribute.KeyValue{names.AttrMethod.String(s.method), names.AttrStatus.Int(s.status)}
	if s.route != "" {
		labels = append(labels, names.AttrRoute.String(s.route))
	}
	return labels
}

// clientSeries are the label values of http.client.request.duration.
type clientSeries struct {
	method    string
	status    int    // 0 without a response
	errorType string // "" with a response
}

func clientLabels(s clientSeries) []attribute.KeyValue {
	labels := []attribute.KeyValue{names.AttrMethod.String(s.method)}
	if s.status > 0 {
		labels = append(labels, names.AttrStatus.Int(s.status))
	}
	if s.errorType != "" {
		labels = append(labels, names.AttrErrorType.String(s.errorType))
	}
	return labels
}

// errorTypeOf names the type of the transport's error as otelhttp v0.72 does on
// its metrics: without the star of a pointer, and without looking into it.
func errorTypeOf(err error) string {
	if err == nil {
		return ""
	}
	t := reflect.TypeOf(err)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.PkgPath() == "" || t.Name() == "" {
		return t.String()
	}
	return t.PkgPath() + "." + t.Name()
}

// activeRequests counts the requests that are being served, by method and
// scheme. Counting costs one atomic addition; a scrape reads the sums.
type activeRequests struct{ counts map[activeKey]*activeCount }

type activeKey struct {
	method string
	tls    bool
}

type activeCount struct {
	now  atomic.Int64
	seen atomic.Bool // there was one: the series exists
}

func (p *Providers) newActiveRequests() (*activeRequests, error) {
	a := &activeRequests{counts: make(map[activeKey]*activeCount)}
	for _, method := range []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace, names.Other,
	} {
		a.counts[activeKey{method, false}], a.counts[activeKey{method, true}] = &activeCount{}, &activeCount{}
	}
	return a, p.observe(names.MetricServerActive, func(o observation) {
		for key, count := range a.counts {
			if count.seen.Load() {
				o(count.now.Load(), names.AttrMethod.String(key.method), names.AttrScheme.String(scheme(key.tls)))
			}
		}
	})
}

// begin counts a request in; the caller counts it out of what is returned.
func (a *activeRequests) begin(r *http.Request) *activeCount {
	count := a.counts[activeKey{metricMethod(r.Method), r.TLS != nil}]
	if !count.seen.Load() {
		count.seen.Store(true)
	}
	count.now.Add(1)
	return count
}

func scheme(tls bool) string {
	if tls {
		return "https"
	}
	return "http"
}

// fateCounter counts what became of traces or spans. Every fate is reported
// from the start: a rate over a counter that is not there yet misses its first
// increase.
type fateCounter struct{ counts map[string]*atomic.Int64 }

func (p *Providers) newFateCounter(name string, fates ...string) (*fateCounter, error) {
	c := &fateCounter{counts: make(map[string]*atomic.Int64)}
	for _, fate := range fates {
		c.counts[fate] = &atomic.Int64{}
	}
	return c, p.observe(name, func(o observation) {
		for fate, count := range c.counts {
			o(count.Load(), names.AttrFate.String(fate))
		}
	})
}

func (c *fateCounter) add(fate string, n int) { c.counts[fate].Add(int64(n)) }
