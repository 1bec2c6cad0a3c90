// Package telemetry turns the pipeline's outcomes into spans, metrics and log
// lines, and decides which traces are exported. It is the only package
// that imports OpenTelemetry's SDK, and the only one that logs requests.
//
// [Setup] returns [Providers], which instrument each part of the gateway:
//
//   - [Providers.Server] wraps the pipeline. It gives each request its ids,
//     decides whether it is sampled, and makes the server span.
//   - [Providers.NewRecorder] makes the pipeline's observer, which records each
//     outcome as a span, metrics and a log line.
//   - [Providers.Transport] and [Providers.Redis] wrap the calls to the backend
//     and to Redis.
//   - [Providers.Metrics] is the handler of /metrics.
//
// The spans of a sampled request are made while it is served. Any other request
// makes no spans but records plain values. If it is refused, fails or is slow, it
// is kept: its trace is made from those values when it ends. Both kinds of trace
// look the same.
//
// All names are in [tyk_proxy/telemetry/names], from which
// observability/TELEMETRY.md is generated. The labels of metrics are closed sets.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"tyk_proxy/telemetry/names"
	"tyk_proxy/telemetry/otlp"
)

// Config configures the providers.
type Config struct {
	// ServiceName is the attribute service.name. If it is "", OTEL_SERVICE_NAME
	// or OTEL_RESOURCE_ATTRIBUTES set it; the default is "tyk_proxy".
	ServiceName string
	Version     string
	Traces      TracesConfig
}

// TracesConfig configures traces.
type TracesConfig struct {
	// Endpoint is the collector's URL: grpc://host:port or grpcs://host:port for
	// OTLP over gRPC, http:// or https:// for OTLP over HTTP. If it is "",
	// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT set it.
	// Without an endpoint no spans are exported, but requests have trace ids.
	Endpoint      string
	SampleRatio   float64       // share of requests that are sampled, 0 to 1
	SlowThreshold time.Duration // a request that takes this long is kept; 0 disables this
	KeepPerSecond int           // limit of kept requests of each kind; 0 keeps none
}

// Providers are the tracer provider, the meter provider and the handler of
// /metrics.
type Providers struct {
	Tracers trace.TracerProvider
	Meters  metric.MeterProvider
	Metrics http.Handler

	ratio      sdktrace.Sampler // nil if nothing is exported
	keeping    keeping
	active     activeRequests
	traceFates fateCounter
	shutdown   []func(context.Context) error

	// Attributes of the spans of kept traces.
	address         string // server.address and server.port of the public listener
	redisAttributes []attribute.KeyValue
}

// Setup returns new providers. It does not set OpenTelemetry's globals, so a
// process can have several.
func Setup(ctx context.Context, cfg Config) (*Providers, error) {
	exporter, err := otlp.NewExporter(ctx, cfg.Traces.Endpoint)
	if err != nil {
		return nil, err
	}
	return setup(ctx, cfg, exporter)
}

// setup is Setup with a given exporter. If it is nil no spans are exported.
func setup(ctx context.Context, cfg Config, exporter sdktrace.SpanExporter) (*Providers, error) {
	res, err := newResource(ctx, cfg)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reader, err := promexporter.New(promexporter.WithRegisterer(registry), promexporter.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("creating the Prometheus exporter: %w", err)
	}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithResource(res), sdkmetric.WithReader(reader))
	p := &Providers{
		Meters: meters,
		// Only the OpenMetrics format has exemplars.
		Metrics: promhttp.HandlerFor(withEmptyHistograms(registry), promhttp.HandlerOpts{EnableOpenMetrics: true}),
	}
	if p.active, err = p.newActiveRequests(); err != nil {
		return nil, err
	}
	if err := p.startTracing(cfg.Traces, res, exporter); err != nil {
		return nil, err
	}
	p.shutdown = append(p.shutdown, meters.Shutdown)
	return p, nil
}

// startTracing makes the tracer provider and the counters of traces and spans. The
// counters exist without an exporter too, so that their series always exist.
func (p *Providers) startTracing(cfg TracesConfig, res *resource.Resource, exporter sdktrace.SpanExporter) error {
	var err error
	p.traceFates, err = p.newFateCounter(names.MetricTraces, names.FateSampled, names.FateKept, names.FateOverCap, names.FateNotSampled)
	if err != nil {
		return err
	}
	spanFates, err := p.newFateCounter(names.MetricSpans, names.FateExported, names.FateFailed, names.FateDropped)
	if err != nil {
		return err
	}
	options := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(res),
		sdktrace.WithSampler(recordedOnly{}),
		sdktrace.WithIDGenerator(givenIDs{}),
		sdktrace.WithRawSpanLimits(spanLimits()),
	}
	if exporter != nil {
		p.ratio, p.keeping = sdktrace.TraceIDRatioBased(cfg.SampleRatio), newKeeping(cfg)
		options = append(options, sdktrace.WithSpanProcessor(otlp.NewQueue(exporter, spanFates.add)))
	}
	tracers := sdktrace.NewTracerProvider(options...)
	p.Tracers, p.shutdown = tracers, append(p.shutdown, tracers.Shutdown)
	return nil
}

// maxAttributeLength limits the attributes that clients choose, such as the
// user agent, because thousands of spans wait in memory.
const maxAttributeLength = 1024

// spanLimits returns the SDK's limits, which OTEL_SPAN_* can set. The SDK's
// default does not limit the length of attributes.
func spanLimits() sdktrace.SpanLimits {
	limits := sdktrace.NewSpanLimits()
	if limits.AttributeValueLengthLimit < 0 {
		limits.AttributeValueLengthLimit = maxAttributeLength
	}
	return limits
}

// newResource describes the service. The configuration overrides
// OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.
func newResource(ctx context.Context, cfg Config) (*resource.Resource, error) {
	options := []resource.Option{ // a later one overrides the attributes of an earlier one
		resource.WithAttributes(semconv.ServiceName("tyk_proxy"), semconv.ServiceVersion(cfg.Version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv(),
	}
	if cfg.ServiceName != "" {
		options = append(options, resource.WithAttributes(semconv.ServiceName(cfg.ServiceName)))
	}
	res, err := resource.New(ctx, options...)
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("describing the service: %w", err)
	}
	return res, nil
}

// Shutdown exports the queued spans and stops the providers. It returns when
// this is done or ctx ends.
func (p *Providers) Shutdown(ctx context.Context) error {
	errs := make([]error, 0, len(p.shutdown))
	for _, stop := range p.shutdown {
		errs = append(errs, stop(ctx))
	}
	return errors.Join(errs...)
}
