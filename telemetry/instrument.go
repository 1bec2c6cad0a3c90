package telemetry

import (
	"fmt"
	"net/http"
	"net/netip"

	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"

	"tyk_proxy/middleware"
)

// Server instruments the public listener. serverName is host:port and replaces
// the client's Host on spans and metrics: what a client writes there would be
// an unbounded label. A peer outside the trusted networks starts a trace of
// its own, linked to the one it claims to continue.
func (p *Providers) Server(next http.Handler, serverName string, trusted []netip.Prefix) http.Handler {
	return otelhttp.NewHandler(next, "",
		otelhttp.WithTracerProvider(p.Tracers),
		otelhttp.WithMeterProvider(p.Meters),
		otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithServerName(serverName),
		otelhttp.WithPublicEndpointFn(func(r *http.Request) bool {
			return !middleware.Trusted(trusted, r.RemoteAddr)
		}),
	)
}

// Transport instruments the way to the backend; the backend receives the
// span's traceparent.
func (p *Providers) Transport(next http.RoundTripper) http.RoundTripper {
	return otelhttp.NewTransport(next,
		otelhttp.WithTracerProvider(p.Tracers),
		otelhttp.WithMeterProvider(p.Meters),
		otelhttp.WithPropagators(propagation.TraceContext{}),
	)
}

// Redis instruments a client. Statements are off because they contain api
// keys; callers are off because walking the stack costs more than the rest.
func (p *Providers) Redis(client redis.UniversalClient) error {
	if err := redisotel.InstrumentTracing(client,
		redisotel.WithTracerProvider(p.Tracers),
		redisotel.WithDBStatement(false),
		redisotel.WithCallerEnabled(false),
		redisotel.WithDialFilter(true),
	); err != nil {
		return fmt.Errorf("tracing Redis: %w", err)
	}
	if err := redisotel.InstrumentMetrics(client,
		redisotel.WithMeterProvider(p.Meters),
		redisotel.WithSemConvCompliantMetrics(true),
	); err != nil {
		return fmt.Errorf("measuring Redis: %w", err)
	}
	return nil
}
