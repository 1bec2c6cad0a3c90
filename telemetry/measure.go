package telemetry

import (
	"context"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"tyk_proxy/middleware"
	"tyk_proxy/telemetry/logging"
	"tyk_proxy/telemetry/names"
)

// newHistogram makes a histogram of the catalogue. The SDK's default boundaries
// are for milliseconds.
func newHistogram(meter metric.Meter, name string) (metric.Float64Histogram, error) {
	m := names.MetricNamed(name)
	return meter.Float64Histogram(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Meaning),
		metric.WithExplicitBucketBoundaries(m.Buckets...))
}

func newCounter(meter metric.Meter, name string) (metric.Int64Counter, error) {
	m := names.MetricNamed(name)
	return meter.Int64Counter(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Meaning))
}

// observation reports one value of an instrument that is read at each scrape.
type observation func(value float64, labels ...attribute.KeyValue)

// observe calls read at each scrape for a metric of the catalogue.
func (p *Providers) observe(name string, read func(observation)) error {
	m, meter := names.MetricNamed(name), p.Meters.Meter(names.Scope)
	unit, description := metric.WithUnit(m.Unit), metric.WithDescription(m.Meaning)
	var instrument metric.Float64Observable
	var err error
	switch m.Kind { //nolint:exhaustive // a histogram is recorded, not read
	case names.KindCounter:
		instrument, err = meter.Float64ObservableCounter(m.Name, unit, description)
	case names.KindGauge:
		instrument, err = meter.Float64ObservableGauge(m.Name, unit, description)
	default:
		instrument, err = meter.Float64ObservableUpDownCounter(m.Name, unit, description)
	}
	if err != nil {
		return err
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		read(func(value float64, labels ...attribute.KeyValue) {
			o.ObserveFloat64(instrument, value, metric.WithAttributes(labels...))
		})
		return nil
	}, instrument)
	return err
}

// readyOptions caches the options of a histogram by label values, because
// building an attribute set for each measurement allocates. It is safe for
// concurrent use.
type readyOptions[K comparable] struct {
	mu      sync.RWMutex
	options map[K][]metric.RecordOption
	labels  func(K) []attribute.KeyValue
}

func newReadyOptions[K comparable](labels func(K) []attribute.KeyValue) *readyOptions[K] {
	return &readyOptions[K]{options: make(map[K][]metric.RecordOption), labels: labels}
}

// of returns the options for the label values. Concurrent calls may build the same
// options twice, which is harmless.
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

// clientLabels omits the labels without a value.
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

// errorTypeOf returns the type of the transport's error, in the form that
// otelhttp v0.72 uses on its metrics: without the star of a pointer and without
// unwrapping.
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

// activeRequests counts the requests that are being served, by method. Counting
// costs one atomic addition.
type activeRequests map[string]*activeCount

type activeCount struct {
	now  atomic.Int64
	seen atomic.Bool // the series exists
}

func (p *Providers) newActiveRequests() (activeRequests, error) {
	a := activeRequests{names.Other: {}}
	for _, method := range knownMethods() {
		a[method] = &activeCount{}
	}
	return a, p.observe(names.MetricServerActive, func(o observation) {
		for method, count := range a {
			if count.seen.Load() {
				o(float64(count.now.Load()), names.AttrMethod.String(method), names.AttrScheme.String(scheme))
			}
		}
	})
}

// begin increments the count of the request's method. The caller decrements it.
func (a activeRequests) begin(r *http.Request) *activeCount {
	count := a[metricMethod(r.Method)]
	if !count.seen.Load() { // a store for each request would contend for the cache line
		count.seen.Store(true)
	}
	count.now.Add(1)
	return count
}

// scheme is url.scheme of all requests: the public listener has no TLS.
const scheme = "http"

// fateCounter counts traces or spans by fate. Every fate is reported from the
// start, because rate() misses the first increase of a counter that appears
// with it.
type fateCounter map[string]*atomic.Int64

// newFateCounter registers the counter with the given fates, which add accepts.
func (p *Providers) newFateCounter(name string, fates ...string) (fateCounter, error) {
	c := fateCounter{}
	for _, fate := range fates {
		c[fate] = &atomic.Int64{}
	}
	return c, p.observe(name, func(o observation) {
		for fate, count := range c {
			o(float64(count.Load()), names.AttrFate.String(fate))
		}
	})
}

func (c fateCounter) add(fate string, n int) { c[fate].Add(int64(n)) }

// degradedFor is how long a stage counts as degraded after a failure. It is the
// usual scrape interval of Prometheus, so that no failure is missed.
const degradedFor = 15 * time.Second

// degraded records when each stage last failed or was bypassed. It is safe for
// concurrent use.
type degraded struct {
	last map[string]*atomic.Int64 // Unix nanoseconds
	now  func() time.Time
}

func newDegraded() *degraded {
	d := &degraded{last: make(map[string]*atomic.Int64), now: time.Now}
	for _, stage := range middleware.StageNames() {
		d.last[stage] = &atomic.Int64{}
	}
	return d
}

// mark records a failure or a bypass of the stage.
func (d *degraded) mark(stage string) {
	if last, ok := d.last[stage]; ok {
		last.Store(d.now().UnixNano())
	}
}

func (d *degraded) observe(o observation) {
	now := d.now()
	for stage, last := range d.last {
		at := last.Load()
		o(oneIf(at != 0 && now.Sub(time.Unix(0, at)) < degradedFor), names.AttrStage.String(stage))
	}
}

// ClockOffset reports how far the limiter's clock is ahead of this process's.
func (p *Providers) ClockOffset(offset func() time.Duration) error {
	return p.observe(names.MetricClockOffset, func(o observation) { o(offset().Seconds()) })
}

// observeLog reports how many log lines were dropped.
func (p *Providers) observeLog(log *logrus.Logger) error {
	dropped := func() int64 { return 0 }
	if writer, ok := log.Out.(*logging.Writer); ok {
		dropped = writer.Dropped
	}
	return p.observe(names.MetricLogDropped, func(o observation) { o(float64(dropped())) })
}
