package telemetry

import (
	"net/http"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"tyk_proxy/telemetry/names"
)

// client is the instrumented transport to the backend. It measures every call
// and sends the trace context to the backend.
type client struct {
	next     http.RoundTripper // otelhttp, which makes the spans of sampled requests
	off      bool              // no spans are exported
	duration metric.Float64Histogram
	series   *readyOptions[clientSeries]
}

// Transport instruments the transport to the backend. It sets headers of the
// request, so the caller must not share the request.
func (p *Providers) Transport(next http.RoundTripper) (http.RoundTripper, error) {
	duration, err := newHistogram(p.Meters.Meter(names.Scope), names.MetricClientDuration)
	if err != nil {
		return nil, err
	}
	traced := otelhttp.NewTransport(next,
		otelhttp.WithFilter(isSampled),
		otelhttp.WithTracerProvider(redactingTracers{p.Tracers}),
		otelhttp.WithMeterProvider(noop.NewMeterProvider()),
		otelhttp.WithPropagators(propagation.TraceContext{}),
	)
	return &client{next: traced, off: p.ratio == nil, duration: duration, series: newReadyOptions(clientLabels)}, nil
}

// RoundTrip implements [http.RoundTripper].
func (c *client) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	req := requestFrom(ctx)
	if req == nil {
		return c.next.RoundTrip(r)
	}
	noted := call{started: time.Now(), url: r.URL, method: r.Method}
	if !req.sampled {
		noted.spanID = newSpanID()
		c.inject(req, noted, r.Header)
	}
	response, err := c.next.RoundTrip(r)
	noted.elapsed, noted.err = time.Since(noted.started), err
	if err == nil {
		noted.status, noted.proto = response.StatusCode, response.Proto
	}
	key := clientSeries{method: metricMethod(r.Method), status: noted.status, errorType: errorTypeOf(err)}
	c.duration.Record(ctx, noted.elapsed.Seconds(), c.series.of(key)...)
	if !req.sampled {
		req.note(noted)
	}
	return response, err
}

// inject sets the trace context of a request without spans (W3C Trace Context).
// If no spans are exported, the gateway passes on the context of a trusted
// caller unchanged: a span of the gateway would be a missing parent, and its
// flag would end the caller's trace.
func (c *client) inject(req *requestState, noted call, h http.Header) {
	span, flags := noted.spanID, trace.TraceFlags(0)
	if c.off && req.parent.IsValid() {
		span, flags = req.parent.SpanID(), req.parent.TraceFlags()
	}
	h["Traceparent"] = []string{formatTraceparent(req.traceID, span, flags)}
	if state := req.parent.TraceState(); state.Len() > 0 {
		h["Tracestate"] = []string{state.String()}
	}
}
