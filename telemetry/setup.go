// Package telemetry turns the pipeline's outcomes into spans, metrics and log
// lines, and decides what of them leaves the process. It is the only package
// that imports OpenTelemetry's SDK, and the only one that logs requests.
//
// [Setup] returns [Providers], which instrument each part of the gateway:
//
//   - [Providers.Server] wraps the pipeline. It gives each request its ids,
//     decides whether it is sampled, and makes the server span.
//   - [Providers.NewRecorder] makes the pipeline's observer, the one place where
//     an outcome becomes a span, metrics and a log line.
//   - [Providers.Transport] and [Providers.Redis] wrap the calls to the backend
//     and to Redis.
//   - [Providers.Metrics] is the handler of /metrics.
//
// A sampled request has spans as it goes, and they are exported. Any other
// request makes no spans: what happened is noted as plain values, and if the
// request is refused, fails or is slow, its trace is written from those values
// when it ends. Both kinds of trace look the same.
//
// All names are in [tyk_proxy/telemetry/names], from which
// observability/TELEMETRY.md is generated. The labels of metrics are closed sets.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
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

// defaultServiceName is service.name where neither the configuration nor
// OTEL_SERVICE_NAME has one.
const defaultServiceName = "tyk_proxy"

// Config configures where telemetry goes.
type Config struct {
	// ServiceName is service.name; "" leaves it to OTEL_SERVICE_NAME and
	// OTEL_RESOURCE_ATTRIBUTES, else it is "tyk_proxy".
	ServiceName string
	Version     string
	Traces      TracesConfig
}

// TracesConfig configures traces.
type TracesConfig struct {
	// Endpoint is where spans go: grpc://host:port or grpcs://host:port for OTLP
	// over gRPC, http:// or https:// for OTLP over HTTP. "" leaves it to
	// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and OTEL_EXPORTER_OTLP_ENDPOINT; without
	// any of them nothing is exported. Requests have trace ids all the same.
	Endpoint      string
	SampleRatio   float64       // share of allowed, quick requests that are exported, 0 to 1
	SlowThreshold time.Duration // a request that takes this long is kept at any ratio; 0 keeps none for that
	KeepPerSecond int           // most requests that are kept for what happened; 0 keeps none
}

// Providers are the sources of tracers and meters and the page on which the
// metrics are scraped.
type Providers struct {
	Tracers trace.TracerProvider
	Meters  metric.MeterProvider
	Metrics http.Handler

	ratio      sdktrace.Sampler // nil if nothing is exported
	keeping    keeping
	traceFates *fateCounter
	shutdown   []func(context.Context) error

	// What written traces say of the gateway and of its Redis.
	address         string // host:port of the public listener
	trusted         []netip.Prefix
	redisAttributes []attribute.KeyValue
}

// Setup returns providers of their own: nothing global is touched, so tests
// and embedders can have several.
func Setup(ctx context.Context, cfg Config) (*Providers, error) {
	exporter, err := otlp.NewExporter(ctx, cfg.Traces.Endpoint)
	if err != nil {
		return nil, err
	}
	return setup(ctx, cfg, exporter)
}

// setup is Setup with the exporter given; nil exports nothing.
func setup(ctx context.Context, cfg Config, exporter sdktrace.SpanExporter) (*Providers, error) {
	res, err := newResource(ctx, cfg)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reader, err := promexporter.New(promexporter.WithRegisterer(registry), promexporter.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("creating the Prometheus exporter: %w", err)
	}
	meters := sdkmetric.NewMeterProvider(
		sdkmetric.WithResource(res),
		sdkmetric.WithReader(reader),
	)
	p := &Providers{
		Meters: meters,
		// OpenMetrics is the format that carries exemplars.
		Metrics: promhttp.HandlerFor(newZeroes(registry), promhttp.HandlerOpts{EnableOpenMetrics: true}),
	}
	if err := p.startTracing(cfg.Traces, res, exporter); err != nil {
		return nil, err
	}
	p.shutdown = append(p.shutdown, meters.Shutdown)
	return p, nil
}

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

// maxAttributeLength bounds a text that a client may have sent, such as its
// User-Agent, in characters: the spans of thousands of requests are held in
// memory.
const maxAttributeLength = 1024

// spanLimits are the SDK's, which OTEL_SPAN_* variables can set, with a bound
// where it has none.
func spanLimits() sdktrace.SpanLimits {
	limits := sdktrace.NewSpanLimits()
	if limits.AttributeValueLengthLimit < 0 {
		limits.AttributeValueLengthLimit = maxAttributeLength
	}
	return limits
}

// newResource describes the service. What the configuration says wins over
// OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.
func newResource(ctx context.Context, cfg Config) (*resource.Resource, error) {
	base := resource.NewSchemaless(semconv.ServiceName(defaultServiceName), semconv.ServiceVersion(cfg.Version))
	options := []resource.Option{resource.WithTelemetrySDK(), resource.WithFromEnv()}
	if cfg.ServiceName != "" {
		options = append(options, resource.WithAttributes(semconv.ServiceName(cfg.ServiceName)))
	}
	res, err := resource.New(ctx, options...)
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("describing the service: %w", err)
	}
	merged, err := resource.Merge(base, res)
	if err != nil {
		return nil, fmt.Errorf("describing the service: %w", err)
	}
	return merged, nil
}

// Shutdown sends what is still queued and stops. It returns when that is done
// or ctx ends.
func (p *Providers) Shutdown(ctx context.Context) error {
	errs := make([]error, 0, len(p.shutdown))
	for _, stop := range p.shutdown {
		errs = append(errs, stop(ctx))
	}
	return errors.Join(errs...)
}
