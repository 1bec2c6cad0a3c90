// Package otlp exports spans with OTLP, the OpenTelemetry protocol, over gRPC or
// HTTP.
//
// [NewExporter] selects the protocol by the scheme of the endpoint and encodes
// spans with fewer allocations than the SDK. The SDK's clients send them. [Queue]
// is the SDK's batch processor with a limit of waiting spans and a count of
// exported and lost ones. A slow or missing collector never delays a request.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// reconnectDelay is the longest delay between attempts to connect. The default of
// gRPC is two minutes.
const reconnectDelay = 5 * time.Second

// NewExporter returns an OTLP exporter. It returns nil if neither endpoint nor the
// environment has one. The exporters read all other OTEL_EXPORTER_OTLP_*
// variables.
func NewExporter(ctx context.Context, endpoint string) (sdktrace.SpanExporter, error) {
	if endpoint == "" {
		return exporterFromEnv(ctx)
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return nil, errors.New("telemetry.traces.endpoint is not a URL such as grpc://jaeger:4317")
	}
	switch u.Scheme {
	case "grpc":
		// A dial option overrides OTEL_EXPORTER_OTLP_CERTIFICATE. WithInsecure of
		// otlptracegrpc v1.47 does not.
		return grpcExporter(ctx, otlptracegrpc.WithEndpoint(u.Host), grpc.WithTransportCredentials(insecure.NewCredentials()))
	case "grpcs":
		// WithEndpointURL enables TLS even if OTEL_EXPORTER_OTLP_INSECURE disables it.
		return grpcExporter(ctx, otlptracegrpc.WithEndpointURL("https://"+u.Host))
	case "http":
		// otlptracehttp v1.47 refuses certificates of the environment for http.
		return newEncodedExporter(ctx, otlptracehttp.NewClient(
			otlptracehttp.WithEndpointURL(tracesURL(*u)), otlptracehttp.WithTLSClientConfig(nil)))
	case "https":
		return newEncodedExporter(ctx, otlptracehttp.NewClient(otlptracehttp.WithEndpointURL(tracesURL(*u))))
	}
	return nil, fmt.Errorf("telemetry.traces.endpoint has scheme %q: use grpc, grpcs, http or https", u.Scheme)
}

// tracesURL adds the default path to an OTLP/HTTP endpoint without a path, as
// OTEL_EXPORTER_OTLP_ENDPOINT does. WithEndpointURL does not add it.
func tracesURL(u url.URL) string {
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	return u.String()
}

// exporterFromEnv follows the OpenTelemetry specification: the variables for
// traces override the general ones, and the default protocol is OTLP over HTTP.
func exporterFromEnv(ctx context.Context) (sdktrace.SpanExporter, error) {
	name, endpoint := firstEnv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
	if endpoint == "" {
		return nil, nil // no spans are exported
	}
	protocolName, protocol := firstEnv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
	switch protocol {
	case "grpc", "", "http/protobuf", "http/json":
	default:
		return nil, fmt.Errorf("%s is %q: use grpc, http/protobuf or http/json", protocolName, protocol)
	}
	if !readable(endpoint, protocol == "grpc") {
		// The value may carry credentials and is not repeated.
		return nil, fmt.Errorf("%s is not a URL: write http://host:port, or https://host:port for TLS", name)
	}
	if protocol == "grpc" {
		return grpcExporter(ctx, nil)
	}
	return newEncodedExporter(ctx, otlptracehttp.NewClient())
}

// readable reports whether the exporters read an endpoint of the environment as
// it is meant. They use localhost instead of one that they cannot parse, and TLS
// if it has no scheme.
func readable(endpoint string, overGRPC bool) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	switch strings.ToLower(u.Scheme) {
	case "http", "https":
		return u.Hostname() != ""
	case "unix", "dns", "passthrough": // names of gRPC's own
		return overGRPC
	}
	// host:port is a name of gRPC's too, if another variable says whether to use TLS.
	_, insecure := firstEnv("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE")
	return overGRPC && insecure != "" && u.Opaque != ""
}

// grpcExporter returns an exporter over gRPC; endpoint may be nil.
func grpcExporter(
	ctx context.Context, endpoint otlptracegrpc.Option, dial ...grpc.DialOption,
) (sdktrace.SpanExporter, error) {
	delays := backoff.DefaultConfig
	delays.MaxDelay = reconnectDelay
	dial = append(dial,
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: delays, MinConnectTimeout: reconnectDelay}),
		// If the collector's host fails, keepalive closes the connection. Otherwise
		// exports would hang until TCP times out after about 15 minutes.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}))
	options := []otlptracegrpc.Option{otlptracegrpc.WithDialOption(dial...)} // a second WithDialOption would replace the first
	if endpoint != nil {
		options = append(options, endpoint)
	}
	return newEncodedExporter(ctx, otlptracegrpc.NewClient(options...))
}

// firstEnv returns the first of the variables that is set.
func firstEnv(names ...string) (name, value string) {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return name, value
		}
	}
	return "", ""
}
