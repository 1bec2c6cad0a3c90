package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Config configures where telemetry goes.
type Config struct {
	ServiceName string
	Version     string
	// TracesEndpoint is where spans go: grpc://host:port or grpcs://host:port for
	// OTLP over gRPC, http:// or https:// for OTLP over HTTP. "" exports none;
	// requests have trace ids all the same.
	TracesEndpoint string
	SampleRatio    float64 // share of requests that are traced, 0 to 1
}

// Providers are the sources of tracers and meters and the page on which the
// metrics are scraped.
type Providers struct {
	Tracers trace.TracerProvider
	Meters  metric.MeterProvider
	Metrics http.Handler

	shutdown []func(context.Context) error
}

// Setup returns providers of their own: nothing global is touched, so tests
// and embedders can have several.
func Setup(ctx context.Context, cfg Config) (*Providers, error) {
	res, err := resource.Merge(resource.Default(), resource.NewSchemaless(
		semconv.ServiceName(cfg.ServiceName),
		semconv.ServiceVersion(cfg.Version),
	))
	if err != nil {
		return nil, fmt.Errorf("describing the service: %w", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := promexporter.New(promexporter.WithRegisterer(registry), promexporter.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("creating the Prometheus exporter: %w", err)
	}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithResource(res), sdkmetric.WithReader(exporter))
	tracers, err := newTracers(ctx, cfg, res)
	if err != nil {
		return nil, err
	}
	return &Providers{
		Tracers:  tracers,
		Meters:   meters,
		Metrics:  promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}),
		shutdown: []func(context.Context) error{tracers.Shutdown, meters.Shutdown},
	}, nil
}

func newTracers(ctx context.Context, cfg Config, res *resource.Resource) (*sdktrace.TracerProvider, error) {
	if cfg.TracesEndpoint == "" {
		// Spans that are never sampled still have ids, for answers and log lines.
		return sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithSampler(sdktrace.NeverSample())), nil
	}
	exporter, err := newSpanExporter(ctx, cfg.TracesEndpoint)
	if err != nil {
		return nil, err
	}
	return sdktrace.NewTracerProvider(
		sdktrace.WithResource(res),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.SampleRatio))),
		sdktrace.WithBatcher(exporter),
	), nil
}

func newSpanExporter(ctx context.Context, endpoint string) (sdktrace.SpanExporter, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return nil, errors.New("telemetry.traces.endpoint is not a URL such as grpc://jaeger:4317")
	}
	switch u.Scheme {
	case "grpc":
		return otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(u.Host), otlptracegrpc.WithInsecure())
	case "grpcs":
		return otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(u.Host))
	case "http", "https":
		return otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint))
	}
	return nil, fmt.Errorf("telemetry.traces.endpoint has scheme %q: use grpc, grpcs, http or https", u.Scheme)
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
