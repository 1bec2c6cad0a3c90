package telemetry

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strconv"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"tyk_proxy/middleware"
)

// serverName replaces the client's Host on spans: what a client writes there
// could be anything.
const serverName = "gateway"

// Server instruments the public listener.
//
// A peer outside the trusted networks starts a trace of its own, with a link
// to the one it claims to continue: it can neither switch tracing on nor off,
// nor write into somebody else's trace.
func (p *Providers) Server(next http.Handler, port int, trusted []netip.Prefix) (http.Handler, error) {
	active, err := newActiveRequests(p.Meters.Meter(scope))
	if err != nil {
		return nil, err
	}
	inner := otelhttp.NewHandler(informed(next, trusted), "",
		otelhttp.WithTracerProvider(p.Tracers),
		otelhttp.WithMeterProvider(p.Meters),
		otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithServerName(net.JoinHostPort(serverName, strconv.Itoa(port))),
		otelhttp.WithPublicEndpointFn(func(r *http.Request) bool {
			return !middleware.Trusted(trusted, r.RemoteAddr)
		}),
	)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := &requestTrace{}
		if p.sampler == nil && middleware.Trusted(trusted, r.RemoteAddr) {
			t.caller = trace.SpanContextFromContext(propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header)))
		}
		ctx := withRequestTrace(r.Context(), t)
		if r.Header["Upgrade"] != nil {
			w = &upgradable{ResponseWriter: w, request: t}
		}
		options := active.options(r)
		active.counter.Add(ctx, 1, options...)
		defer active.counter.Add(ctx, -1, options...)
		inner.ServeHTTP(w, r.WithContext(ctx))
		if t.aborted {
			panic(http.ErrAbortHandler)
		}
	}), nil
}

// Transport instruments the way to the backend; the backend receives the
// span's traceparent.
func (p *Providers) Transport(next http.RoundTripper) http.RoundTripper {
	var propagator propagation.TextMapPropagator = propagation.TraceContext{}
	if p.sampler == nil {
		propagator = bystander{propagator}
	}
	return otelhttp.NewTransport(next,
		otelhttp.WithTracerProvider(discreetTracers{p.Tracers}),
		otelhttp.WithMeterProvider(p.Meters),
		otelhttp.WithPropagators(propagator),
	)
}

// bystander is the propagator of a gateway that exports no spans: it is no part
// of a trusted caller's trace, and hands its trace context on as it came. Named
// as the parent it would be missing, and its decision not to record would end
// the trace there.
type bystander struct{ propagation.TextMapPropagator }

// Inject implements propagation.TextMapPropagator.
func (b bystander) Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	if t := requestTraceFrom(ctx); t != nil && t.caller.IsValid() {
		ctx = trace.ContextWithSpanContext(ctx, t.caller)
	}
	b.TextMapPropagator.Inject(ctx, carrier)
}

// activeRequests counts the requests that are being served, which otelhttp does
// not.
type activeRequests struct {
	counter metric.Int64UpDownCounter
	labels  map[activeKey][]metric.AddOption
}

type activeKey struct {
	method string
	tls    bool
}

func newActiveRequests(meter metric.Meter) (*activeRequests, error) {
	m := metricNamed(metricServerActive)
	counter, err := meter.Int64UpDownCounter(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Meaning))
	if err != nil {
		return nil, err
	}
	a := &activeRequests{counter: counter, labels: make(map[activeKey][]metric.AddOption)}
	for _, method := range []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace, other,
	} {
		for tls, scheme := range map[bool]string{false: "http", true: "https"} {
			a.labels[activeKey{method, tls}] = []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(
				attrMethod.String(method), attrScheme.String(scheme)))}
		}
	}
	return a, nil
}

func (a *activeRequests) options(r *http.Request) []metric.AddOption {
	return a.labels[activeKey{methodLabel(r.Method), r.TLS != nil}]
}
